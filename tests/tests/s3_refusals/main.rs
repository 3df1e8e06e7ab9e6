//! What S3 does not do, it says, and nothing is changed by it; what it is asked to verify, it verifies.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod copies;
mod digests;
mod reads;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use ozone_tests::s3::{Answer, Request, S3};
use ozone_tests::{Cluster, ClusterOptions};
use time::OffsetDateTime;

pub(crate) struct Store {
    pub(crate) cluster: Cluster,
    pub(crate) s3: S3,
}

static SHARED: Mutex<Weak<Store>> = Mutex::new(Weak::new());

/// A cluster for all tests, with a bucket for one of them, which is a tree.
pub(crate) fn store(bucket: &str) -> Arc<Store> {
    let store = shared();
    let made = store.s3.ask("PUT", &format!("/{bucket}"), b"");
    assert_eq!(made.status, 200, "{}", made.text);
    store
}

fn shared() -> Arc<Store> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = shared.upgrade() {
        return store;
    }
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    let store = Arc::new(Store { cluster, s3 });
    *shared = Arc::downgrade(&store);
    store
}

/// Names and values.
pub(crate) type Pairs<'a> = &'a [(&'a str, &'a str)];

impl Store {
    /// Signs and sends a request with a query and headers.
    pub(crate) fn ask(
        &self,
        target: (&'static str, &str, Pairs<'_>),
        headers: Pairs<'_>,
        body: &[u8],
    ) -> Answer {
        self.s3.ask_for(target, headers, body)
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &[u8]) {
        let answer = self.s3.ask("PUT", path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }

    /// The key has these bytes.
    #[track_caller]
    pub(crate) fn has(&self, path: &str, body: &[u8]) {
        let answer = self.s3.ask("GET", path, b"");
        assert_eq!((answer.status, &*answer.body), (200, body), "{path}");
    }

    #[track_caller]
    pub(crate) fn has_not(&self, path: &str) {
        refused(&self.s3.ask("GET", path, b""), 404, "NoSuchKey");
    }

    #[track_caller]
    pub(crate) fn sh(&self, words: &[&str]) {
        let output = self.cluster.ozone(&[&["sh"], words].concat());
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    /// Begins an upload in parts; gives its id.
    pub(crate) fn begin(&self, path: &str) -> String {
        let begun = self.ask(("POST", path, &[("uploads", "")]), &[], b"");
        begun.element("UploadId").to_owned()
    }
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
    let found = (answer.status, answer.code());
    assert_eq!(found, (status, code), "{}", answer.text);
    assert!(!answer.element("Message").is_empty(), "{}", answer.text);
}

#[test]
fn what_an_operation_does_not_understand_is_refused_and_changes_nothing() {
    let store = store("parameters");
    let (bucket, key) = ("/parameters", "/parameters/key");
    store.put(key, b"then");
    for (method, path, query) in [
        ("PUT", key, &[("partNumber", "1")][..]),
        ("PUT", key, &[("uploadId", "zz")]),
        ("PUT", key, &[("torrent", "")]),
        ("PUT", key, &[("encryption", "")]),
        ("PUT", key, &[("append", ""), ("position", "0")]),
        ("PUT", key, &[("versionId", "abc")]),
        ("PUT", key, &[("renameObject", "")]),
        ("PUT", key, &[("x-amz-meta-a", "b")]),
        ("DELETE", key, &[("annotation", "")]),
        ("DELETE", key, &[("acl", "")]),
        ("GET", key, &[("annotation", "")]),
        ("HEAD", key, &[("tagging", "")]),
        ("DELETE", bucket, &[("metadataConfiguration", "")]),
        ("GET", bucket, &[("inventory-table", "")]),
        ("PUT", bucket, &[("abac", "")]),
        ("POST", key, &[("append", "")]),
        ("GET", bucket, &[("acl", "")]),
        ("PUT", bucket, &[("versioning", "")]),
    ] {
        let answer = store.ask((method, path, query), &[], b"now");
        assert_eq!(answer.status, 501, "{method} {query:?}: {}", answer.text);
        if method != "HEAD" {
            refused(&answer, 501, "NotImplemented");
        }
    }
    let answer = store.ask(("PUT", key, &[("append", "")]), &[], b"now");
    assert!(answer.element("Message").contains("append"));
    store.has(key, b"then");
    // Notes for a log are Amazon's way of saying nothing.
    let noted = store.ask(("GET", key, &[("x-id", "GetObject")]), &[], b"");
    assert_eq!(noted.body, b"then");
    let forger = S3 {
        secret: "0".repeat(64),
        ..store.s3.clone()
    };
    let forged = forger.ask_with("PUT", (key, &[("append", "")]), b"now");
    refused(&forged, 403, "SignatureDoesNotMatch");
}

#[test]
fn nothing_is_stored_that_is_asked_for_in_a_way_that_there_is_not() {
    let store = store("asked");
    store.put("/asked/key", b"then");
    let copy = ("x-amz-copy-source", "/asked/key");
    for header in [
        ("x-amz-write-offset-bytes", "4"),
        ("x-amz-acl", "public-read"),
        ("x-amz-grant-full-control", "id=frodo"),
        ("x-amz-website-redirect-location", "/elsewhere"),
        ("x-amz-checksum-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
        ("x-amz-checksum-xxhash64", "AAAAAAAAAAA="),
        ("x-amz-sdk-checksum-algorithm", "BLAKE"),
    ] {
        for path in ["/asked/key", "/asked/new"] {
            let answer = store.ask(("PUT", path, &[]), &[header], b"now");
            refused(&answer, 501, "NotImplemented");
        }
        let answer = store.ask(("PUT", "/asked/new", &[]), &[copy, header], b"");
        refused(&answer, 501, "NotImplemented");
        let begun = store.ask(("POST", "/asked/new", &[("uploads", "")]), &[header], b"");
        refused(&begun, 501, "NotImplemented");
    }
    let open = store.ask(
        ("PUT", "/opened", &[]),
        &[("x-amz-acl", "public-read")],
        b"",
    );
    refused(&open, 501, "NotImplemented");
    assert_eq!(store.s3.ask("HEAD", "/opened", b"").status, 404);
    let private = store.ask(
        ("PUT", "/asked/own", &[]),
        &[("x-amz-acl", "private")],
        b"x",
    );
    assert_eq!(private.status, 200, "{}", private.text);
    store.has("/asked/key", b"then");
    store.has_not("/asked/new");
}

#[test]
fn a_deletion_under_a_condition_that_is_not_looked_at_deletes_nothing() {
    let store = store("deletions");
    store.put("/deletions/key", b"then");
    for header in [
        ("x-amz-if-match-size", "4"),
        (
            "x-amz-if-match-last-modified-time",
            "Thu, 01 Jan 2026 00:00:00 GMT",
        ),
    ] {
        let answer = store.ask(("DELETE", "/deletions/key", &[]), &[header], b"");
        refused(&answer, 501, "NotImplemented");
    }
    for condition in [
        "<Size>3</Size>",
        "<LastModifiedTime>Thu, 01 Jan 2026 00:00:00 GMT</LastModifiedTime>",
    ] {
        let body = format!("<Delete><Object><Key>key</Key>{condition}</Object></Delete>");
        let answer = store.ask(
            ("POST", "/deletions", &[("delete", "")]),
            &[],
            body.as_bytes(),
        );
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.code(), "NotImplemented", "{}", answer.text);
    }
    let other = b"<Delete><Object><Key>key</Key><ETag>abc</ETag></Object></Delete>";
    let answer = store.ask(("POST", "/deletions", &[("delete", "")]), &[], other);
    assert_eq!(answer.code(), "PreconditionFailed", "{}", answer.text);
    store.has("/deletions/key", b"then");
}

#[test]
fn what_s3_does_not_show_it_does_not_delete() {
    let store = store("links");
    let root = store.cluster.mountpoint().join("s3v/links");
    std::os::unix::fs::symlink("nowhere", root.join("ln")).unwrap();
    store.has_not("/links/ln");
    store.has_not("/links/ln/");
    assert_eq!(store.s3.ask("DELETE", "/links/ln", b"").status, 204);
    assert!(root.join("ln").is_symlink());
}

#[test]
fn a_page_of_no_parts_has_none_and_ends_the_list() {
    let store = store("pages");
    let id = store.begin("/pages/key");
    let part = [("partNumber", "1"), ("uploadId", id.as_str())];
    let put = store.ask(("PUT", "/pages/key", &part), &[], b"part");
    assert_eq!(put.status, 200, "{}", put.text);
    let none = [("max-parts", "0"), ("uploadId", id.as_str())];
    let parts = store.ask(("GET", "/pages/key", &none), &[], b"");
    let uploads = store.ask(
        ("GET", "/pages", &[("uploads", ""), ("max-uploads", "0")]),
        &[],
        b"",
    );
    for page in [parts, uploads] {
        assert_eq!(page.element("IsTruncated"), "false", "{}", page.text);
        assert!(!page.text.contains("<Part>") && !page.text.contains("<Upload>"));
    }
}

#[test]
fn an_error_says_what_is_wrong() {
    let store = store("errors");
    let broken = store.ask(("POST", "/errors", &[("delete", "")]), &[], b"<Delete>");
    refused(&broken, 400, "MalformedXML");
    let nothing = store.ask(("POST", "/errors", &[("delete", "")]), &[], b"");
    assert!(!nothing.element("Message").is_empty(), "{}", nothing.text);
    let tagged = store.ask(
        ("PUT", "/errors/key", &[]),
        &[("x-amz-tagging", "a=%01")],
        b"x",
    );
    refused(&tagged, 400, "InvalidTag");
    store.has_not("/errors/key");
}

#[test]
fn headers_that_a_link_has_among_its_parameters_are_kept_to() {
    let store = store("signed");
    let link = |path: &str, name: &str, value: &str| {
        let mut request = Request {
            method: "PUT",
            path: path.to_owned(),
            query: vec![(name.to_owned(), value.to_owned())],
            body: b"hello".to_vec(),
            ..Request::default()
        };
        store
            .s3
            .presign_at(&mut request, 60, OffsetDateTime::now_utc());
        store.s3.send(&request)
    };
    assert_eq!(
        link("/signed/key", "x-amz-meta-colour", "green").status,
        200
    );
    let head = store.s3.ask("HEAD", "/signed/key", b"");
    assert_eq!(head.header("x-amz-meta-colour"), Some("green"));
    let right = link("/signed/summed", "x-amz-checksum-crc32", "NhCmhg==");
    assert_eq!(right.status, 200, "{}", right.text);
    let wrong = link("/signed/wrong", "x-amz-checksum-crc32", "AAAAAA==");
    refused(&wrong, 400, "BadDigest");
    refused(
        &link("/signed/wrong", "X-Amz-Acl", "public-read"),
        501,
        "NotImplemented",
    );
    store.has_not("/signed/wrong");
}
