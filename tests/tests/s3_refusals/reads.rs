//! Ranges and conditions of reads, as HTTP has them.

use ozone_tests::s3::Answer;

use crate::{Pairs, Store, refused, store};

fn read(store: &Store, method: &'static str, path: &str, headers: Pairs<'_>) -> Answer {
    store.ask((method, path, &[]), headers, b"")
}

#[test]
fn of_no_bytes_there_is_no_range() {
    let store = store("empty");
    store.put("/empty/key", b"");
    store.put("/empty/dir/", b"");
    for key in ["/empty/key", "/empty/dir/"] {
        for range in ["bytes=-5", "bytes=0-", "bytes=0-0"] {
            let got = read(&store, "GET", key, &[("range", range)]);
            refused(&got, 416, "InvalidRange");
            let head = read(&store, "HEAD", key, &[("range", range)]);
            assert_eq!(head.status, 416, "{key} {range}");
        }
        assert_eq!(read(&store, "GET", key, &[]).status, 200);
    }
}

#[test]
fn a_range_that_makes_no_sense_is_left_out() {
    let store = store("ranges");
    store.put("/ranges/key", b"0123456789");
    for range in ["bytes=5-2", "bytes=0-1,3-4", "items=0-1", "bytes=abc"] {
        let got = read(&store, "GET", "/ranges/key", &[("range", range)]);
        assert_eq!(
            (got.status, &*got.body),
            (200, &b"0123456789"[..]),
            "{range}"
        );
        assert_eq!(got.header("content-range"), None, "{range}");
    }
    for (range, bytes, told) in [
        ("bytes=2-4", &b"234"[..], "bytes 2-4/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ] {
        let got = read(&store, "GET", "/ranges/key", &[("range", range)]);
        assert_eq!((got.status, &*got.body), (206, bytes), "{range}");
        let head = read(&store, "HEAD", "/ranges/key", &[("range", range)]);
        for answer in [&got, &head] {
            assert_eq!(answer.status, 206, "{range}");
            assert_eq!(answer.header("content-range"), Some(told));
            let length = bytes.len().to_string();
            assert_eq!(answer.header("content-length"), Some(&*length));
        }
    }
    let beyond = read(&store, "GET", "/ranges/key", &[("range", "bytes=10-")]);
    refused(&beyond, 416, "InvalidRange");
    let etag = etag_of(&store);
    for (of, status) in [(etag.as_str(), 206), ("\"abc\"", 200), ("garbage", 200)] {
        let headers = [("range", "bytes=0-1"), ("if-range", of)];
        assert_eq!(read(&store, "GET", "/ranges/key", &headers).status, status);
    }
}

fn etag_of(store: &Store) -> String {
    let head = read(store, "HEAD", "/ranges/key", &[]);
    head.header("etag").unwrap().to_owned()
}

#[test]
fn conditions_are_lists_and_times_that_make_no_sense_are_none() {
    let store = store("weighed");
    store.put("/weighed/key", b"hello");
    let of = |name, value| read(&store, "GET", "/weighed/key", &[(name, value)]).status;
    // MD5 of "hello".
    let list = "\"abc\", \"5d41402abc4b2a76b9719d911017c592\"";
    assert_eq!(of("if-match", list), 200);
    assert_eq!(of("if-match", "\"abc\", \"abd\""), 412);
    assert_eq!(of("if-none-match", list), 304);
    assert_eq!(of("if-none-match", "\"abc\",W/\"abd\""), 200);
    assert_eq!(of("if-modified-since", "garbage"), 200);
    assert_eq!(of("if-unmodified-since", "garbage"), 200);
    assert_eq!(
        of("if-unmodified-since", "Thu, 01 Jan 2015 00:00:00 GMT"),
        412
    );
}

#[test]
fn a_head_tells_what_the_answer_to_a_get_would() {
    let store = store("told");
    let headers = [
        ("content-type", "text/plain"),
        ("cache-control", "max-age=3"),
        ("expires", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("x-amz-meta-colour", "=?UTF-8?B?Z3LDvG4=?="),
        ("x-amz-tagging", "a=b"),
    ];
    let put = store.ask(("PUT", "/told/key", &[]), &headers, b"hello");
    assert_eq!(put.status, 200, "{}", put.text);
    let replaced = [("response-content-type", "a/b")];
    for method in ["GET", "HEAD"] {
        let answer = read(&store, method, "/told/key", &[]);
        for (name, value) in &headers[..4] {
            assert_eq!(answer.header(name), Some(*value), "{method}");
        }
        assert_eq!(answer.header("content-length"), Some("5"));
        assert_eq!(answer.header("x-amz-tagging-count"), Some("1"));
        assert!(answer.header("last-modified").unwrap().ends_with(" GMT"));
        let answer = store.ask((method, "/told/key", &replaced), &[], b"");
        assert_eq!(answer.header("content-type"), Some("a/b"), "{method}");
    }
}
