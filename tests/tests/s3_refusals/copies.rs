//! Copies: conditions on what is copied onto, names that a tree cannot have, and the past.

use crate::{refused, store};

#[test]
fn a_copy_keeps_to_conditions_on_what_it_replaces() {
    let store = store("conditions");
    store.put("/conditions/source", b"new");
    store.put("/conditions/key", b"then");
    let copy = |to: &str, name: &str, value: &str| {
        let headers = [("x-amz-copy-source", "/conditions/source"), (name, value)];
        store.ask(("PUT", to, &[]), &headers, b"")
    };
    let (key, none) = ("/conditions/key", "/conditions/none");
    refused(&copy(key, "if-none-match", "*"), 412, "PreconditionFailed");
    refused(&copy(key, "if-match", "\"abc\""), 412, "PreconditionFailed");
    refused(&copy(none, "if-match", "*"), 412, "PreconditionFailed");
    store.has(key, b"then");
    store.has_not(none);
    assert_eq!(copy(none, "if-none-match", "*").status, 200);
    store.has(none, b"new");
    let head = store.s3.ask("HEAD", key, b"");
    assert_eq!(
        copy(key, "if-match", head.header("etag").unwrap()).status,
        200
    );
    store.has(key, b"new");
}

#[test]
fn a_copy_makes_no_file_of_the_name_of_a_directory() {
    let store = store("slashes");
    store.put("/slashes/source", b"new");
    store.put("/slashes/file", b"then");
    let from = [("x-amz-copy-source", "/slashes/source")];
    for to in ["/slashes/file/", "/slashes/dir/"] {
        refused(
            &store.ask(("PUT", to, &[]), &from, b""),
            400,
            "InvalidArgument",
        );
        let begun = store.ask(("POST", to, &[("uploads", "")]), &[], b"");
        refused(&begun, 400, "InvalidArgument");
    }
    store.has("/slashes/file", b"then");
    store.has_not("/slashes/dir");
    // Neither is there a key `file/`.
    for method in ["GET", "HEAD"] {
        assert_eq!(store.s3.ask(method, "/slashes/file/", b"").status, 404);
    }
    let from = [("x-amz-copy-source", "/slashes/file/")];
    let copied = store.ask(("PUT", "/slashes/copy", &[]), &from, b"");
    refused(&copied, 404, "NoSuchKey");
    store.has_not("/slashes/copy");
}

#[test]
fn a_slash_in_an_object_store_is_a_letter_as_others_are() {
    // The volume is made with its first bucket.
    let store = store("beside-letters");
    store.sh(&["bucket", "create", "--layout", "obs", "s3v/letters"]);
    store.put("/letters/key/", b"content");
    store.has("/letters/key/", b"content");
    store.has_not("/letters/key");
    let from = [("x-amz-copy-source", "/letters/key/")];
    let copied = store.ask(("PUT", "/letters/copy/", &[]), &from, b"");
    assert_eq!(copied.status, 200, "{}", copied.text);
    store.has("/letters/copy/", b"content");
}

#[test]
fn what_is_not_there_of_a_snapshot_is_not_there() {
    let store = store("past");
    store.put("/past/dir/key", b"then");
    store.sh(&["snapshot", "create", "s3v/past", "snap1"]);
    store.has("/past/.snapshot/snap1/dir/key", b"then");
    let from = [("x-amz-copy-source", "/past/.snapshot/snap1/dir/key")];
    let copied = store.ask(("PUT", "/past/copy", &[]), &from, b"");
    refused(&copied, 501, "NotImplemented");
    assert!(copied.element("Message").contains("snapshot"));
    store.has_not("/past/.snapshot/snap1");
    store.has_not("/past/.snapshot/none/key");
    for (prefix, keys) in [(".snapshot/sna", 0), (".snapshot/snap1/", 1)] {
        for query in [
            &[("prefix", prefix)][..],
            &[("list-type", "2"), ("prefix", prefix)],
        ] {
            let listed = store.ask(("GET", "/past", query), &[], b"");
            assert_eq!(listed.status, 200, "{}", listed.text);
            assert_eq!(listed.text.matches("<Contents>").count(), keys, "{prefix}");
        }
    }
    let none = store.ask(("GET", "/nothing", &[("prefix", ".snapshot/x")]), &[], b"");
    refused(&none, 404, "NoSuchBucket");
}
