//! Digests of documents, and what is said of an upload in parts as a whole.

use ozone_tests::s3::Answer;

use crate::{Pairs, Store, refused, store};

const DELETE: &[u8] = b"<Delete><Object><Key>doomed</Key></Object></Delete>";
const DELETE_MD5: &str = "/mLslOmKzUzVpbe/MU5glg==";
const DELETE_CRC32: &str = "HTpg1A==";
const TAGS: &[u8] = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
const TAGS_CRC32: &str = "5y4GWw==";

#[test]
fn a_document_that_is_not_the_promised_one_does_nothing() {
    let store = store("documents");
    store.put("/documents/doomed", b"then");
    let delete = |name, value| {
        let target = ("POST", "/documents", &[("delete", "")][..]);
        store.ask(target, &[(name, value)], DELETE)
    };
    let tag = |name, value| {
        let target = ("PUT", "/documents/doomed", &[("tagging", "")][..]);
        store.ask(target, &[(name, value)], TAGS)
    };
    for (name, value) in [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ] {
        refused(&delete(name, value), 400, "BadDigest");
        refused(&tag(name, value), 400, "BadDigest");
    }
    refused(&delete("content-md5", "x"), 400, "InvalidDigest");
    store.has("/documents/doomed", b"then");
    let head = store.s3.ask("HEAD", "/documents/doomed", b"");
    assert_eq!(head.header("x-amz-tagging-count"), None);
    let made = store.ask(
        ("PUT", "/undocumented", &[]),
        &[("content-md5", DELETE_MD5)],
        b"",
    );
    refused(&made, 400, "BadDigest");
    assert_eq!(store.s3.ask("HEAD", "/undocumented", b"").status, 404);

    assert_eq!(tag("x-amz-checksum-crc32", TAGS_CRC32).status, 200);
    let head = store.s3.ask("HEAD", "/documents/doomed", b"");
    assert_eq!(head.header("x-amz-tagging-count"), Some("1"));
    let right = [
        ("content-md5", DELETE_MD5),
        ("x-amz-checksum-crc32", DELETE_CRC32),
    ];
    let deleted = store.ask(("POST", "/documents", &[("delete", "")]), &right, DELETE);
    assert_eq!(deleted.element("Key"), "doomed", "{}", deleted.text);
    store.has_not("/documents/doomed");
}

/// An upload of one part, `hello`.
struct Upload<'a> {
    store: &'a Store,
    id: String,
    etag: String,
}

impl<'a> Upload<'a> {
    fn new(store: &'a Store) -> Self {
        let id = store.begin("/whole/key");
        let query = [("partNumber", "1"), ("uploadId", id.as_str())];
        let sum = [("x-amz-checksum-crc32", "NhCmhg==")];
        let part = store.ask(("PUT", "/whole/key", &query), &sum, b"hello");
        let etag = part.header("etag").unwrap().replace('"', "");
        Self { store, id, etag }
    }

    /// Completes it with a list that has a checksum, as Amazon's clients make it.
    fn complete(&self, headers: Pairs<'_>) -> Answer {
        let etag = &self.etag;
        let list = format!(
            "<CompleteMultipartUpload><Part><ETag>{etag}</ETag><ChecksumCRC32>NhCmhg==</ChecksumCRC32>\
             <PartNumber>1</PartNumber></Part></CompleteMultipartUpload>"
        );
        let query = [("uploadId", self.id.as_str())];
        let target = ("POST", "/whole/key", &query[..]);
        self.store.ask(target, headers, list.as_bytes())
    }
}

#[test]
fn what_is_said_of_an_upload_as_a_whole_is_verified_or_refused() {
    let store = store("whole");
    let upload = Upload::new(&store);
    let size = |size| upload.complete(&[("x-amz-mp-object-size", size)]);
    refused(&size("4"), 400, "InvalidRequest");
    let sum = upload.complete(&[("x-amz-checksum-crc32", "NhCmhg==")]);
    refused(&sum, 501, "NotImplemented");
    let document = upload.complete(&[("content-md5", DELETE_MD5)]);
    refused(&document, 400, "BadDigest");
    store.has_not("/whole/key");
    let done = size("5");
    assert_eq!(done.status, 200, "{}", done.text);
    store.has("/whole/key", b"hello");
    // The list has checksums of parts, and that is no reason to refuse it.
    let again = Upload::new(&store).complete(&[]);
    assert_eq!(again.status, 200, "{}", again.text);
}
