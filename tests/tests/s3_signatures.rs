//! Every way around a signature that an object store was ever broken by: each is tried over a raw connection, and
//! leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::LazyLock;
use std::time::Duration;

use ozone_tests::s3::{Answer, Request, S3, UNSIGNED};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};
use time::OffsetDateTime;

const STREAMING: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const STREAMING_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
/// CRC-32 of "hello", in base64.
const CRC32: &str = "NhCmhg==";

/// Every way of asking for something: no operation is served to who has not signed.
const OPERATIONS: &[(&str, &str)] = &[
    ("GET", "/"),
    ("PUT", "/new-bucket"),
    ("HEAD", "/vault"),
    ("GET", "/vault"),
    ("DELETE", "/vault"),
    ("GET", "/vault?list-type=2"),
    ("GET", "/vault?location"),
    ("GET", "/vault?uploads"),
    ("GET", "/vault?policy"),
    ("POST", "/vault?delete"),
    ("GET", "/vault/secret"),
    ("HEAD", "/vault/secret"),
    ("PUT", "/vault/secret"),
    ("DELETE", "/vault/secret"),
    ("GET", "/vault/secret?tagging"),
    ("PUT", "/vault/secret?tagging"),
    ("DELETE", "/vault/secret?tagging"),
    ("GET", "/vault/secret?acl"),
    ("POST", "/vault/secret?uploads"),
    ("PUT", "/vault/secret?partNumber=1&uploadId=x"),
    ("POST", "/vault/secret?uploadId=x"),
    ("DELETE", "/vault/secret?uploadId=x"),
    ("GET", "/vault/secret?uploadId=x"),
    ("POST", "/vault/secret?select&select-type=2"),
    ("OPTIONS", "/vault/secret"),
];

struct Vault {
    _cluster: Cluster,
    s3: S3,
}

/// A bucket with a key that nobody gets at, or changes.
fn vault() -> Vault {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    assert_eq!(s3.ask("PUT", "/vault", b"").status, 200);
    assert_eq!(s3.ask("PUT", "/vault/secret", b"the ring").status, 200);
    Vault {
        _cluster: cluster,
        s3,
    }
}

/// One for all tests that change nothing.
static VAULT: LazyLock<Vault> = LazyLock::new(vault);

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn put(path: &str, body: &[u8]) -> Request {
    Request {
        method: "PUT",
        path: path.to_owned(),
        body: body.to_vec(),
        ..Request::default()
    }
}

fn get(path: &str) -> Request {
    Request {
        method: "GET",
        path: path.to_owned(),
        ..Request::default()
    }
}

fn header(request: &mut Request, name: &str, value: &str) {
    request.headers.push((name.to_owned(), value.to_owned()));
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.code()),
        (status, code),
        "{}",
        answer.text
    );
    assert!(!answer.text.contains("the ring"), "{}", answer.text);
}

/// What was refused has made no key.
#[track_caller]
fn nothing_at(s3: &S3, path: &str) {
    refused(&s3.ask("GET", path, b""), 404, "NoSuchKey");
    assert_eq!(s3.ask("GET", "/vault/secret", b"").status, 200);
}

#[test]
fn nobody_is_served_without_a_signature() {
    let s3 = &VAULT.s3;
    for (method, target) in OPERATIONS {
        let answer = s3.send(&Request {
            method,
            path: (*target).to_owned(),
            body: b"<x/>".to_vec(),
            ..Request::default()
        });
        assert_eq!(answer.status, 403, "{method} {target}: {}", answer.text);
        assert!(!answer.text.contains("the ring"), "{method} {target}");
        if *method != "HEAD" {
            assert_eq!(answer.code(), "AccessDenied", "{method} {target}");
        }
    }
}

#[test]
fn a_signature_by_another_secret_or_user_is_refused() {
    let s3 = &VAULT.s3;
    let forger = S3 {
        secret: "0".repeat(64),
        ..s3.clone()
    };
    refused(
        &forger.ask("GET", "/vault/secret", b""),
        403,
        "SignatureDoesNotMatch",
    );
    refused(
        &forger.ask("PUT", "/vault/forged", b"x"),
        403,
        "SignatureDoesNotMatch",
    );
    let nobody = S3 {
        id: "gollum".to_owned(),
        ..s3.clone()
    };
    refused(
        &nobody.ask("GET", "/vault/secret", b""),
        403,
        "InvalidAccessKeyId",
    );
    let empty = S3 {
        id: String::new(),
        ..s3.clone()
    };
    refused(
        &empty.ask("GET", "/vault/secret", b""),
        400,
        "AuthorizationHeaderMalformed",
    );
    nothing_at(s3, "/vault/forged");
}

#[test]
fn a_signature_is_good_for_its_method_path_query_and_time() {
    let s3 = &VAULT.s3;
    let mut signed = get("/vault/secret");
    s3.sign(&mut signed);
    assert_eq!(s3.send(&signed).status, 200);
    let changed: [fn(&mut Request); 3] = [
        |r| r.method = "DELETE",
        |r| r.path = "/vault/other".to_owned(),
        |r| r.query.push(("tagging".into(), String::new())),
    ];
    for change in changed {
        let mut request = signed.clone();
        change(&mut request);
        refused(&s3.send(&request), 403, "SignatureDoesNotMatch");
    }
    for minutes in [-16, 16] {
        let mut request = get("/vault/secret");
        let when = now() + Duration::from_secs(0) + time::Duration::minutes(minutes);
        s3.sign_at(&mut request, UNSIGNED, when);
        refused(&s3.send(&request), 403, "RequestTimeTooSkewed");
    }
    nothing_at(s3, "/vault/other");
}

#[test]
fn headers_of_amazons_that_are_not_signed_are_refused() {
    let s3 = &VAULT.s3;
    for name in [
        "x-amz-copy-source",
        "x-amz-meta-snowball-auto-extract",
        "x-amz-tagging",
        "x-amz-acl",
    ] {
        let mut request = put("/vault/smuggled", b"x");
        s3.sign(&mut request);
        header(&mut request, name, "/vault/secret");
        refused(&s3.send(&request), 403, "AccessDenied");
        let mut link = put("/vault/smuggled", b"");
        s3.presign_at(&mut link, 60, now());
        header(&mut link, name, "/vault/secret");
        refused(&s3.send(&link), 403, "AccessDenied");
    }
    nothing_at(s3, "/vault/smuggled");
}

#[test]
fn a_body_that_is_not_the_signed_one_is_refused() {
    let s3 = &VAULT.s3;
    let mut request = put("/vault/body", b"promised");
    s3.sign(&mut request);
    request.body = b"another!".to_vec();
    refused(&s3.send(&request), 400, "XAmzContentSHA256Mismatch");
    // Large enough to be on its way to the datanodes by then.
    let mut request = put("/vault/body", &vec![1; 3 << 20]);
    s3.sign(&mut request);
    request.body[2 << 20] = 2;
    refused(&s3.send(&request), 400, "XAmzContentSHA256Mismatch");
    nothing_at(s3, "/vault/body");
}

#[test]
fn a_link_serves_its_request_until_its_end_and_nothing_else() {
    let s3 = &VAULT.s3;
    let mut link = get("/vault/secret");
    s3.presign_at(&mut link, 60, now());
    assert!(s3.send(&link).text.ends_with("the ring"));
    let with = |change: fn(&mut Request)| {
        let mut request = link.clone();
        change(&mut request);
        s3.send(&request)
    };
    let mismatch = "SignatureDoesNotMatch";
    refused(&with(|r| r.method = "DELETE"), 403, mismatch);
    refused(&with(|r| r.path = "/vault".to_owned()), 403, mismatch);
    refused(
        &with(|r| r.query.push(("versionId".into(), "null".into()))),
        403,
        mismatch,
    );
    let longer: fn(&mut Request) = |r| {
        r.query
            .iter_mut()
            .filter(|q| q.0 == "X-Amz-Expires")
            .for_each(|q| q.1 = "600".into());
    };
    refused(&with(longer), 403, mismatch);
    let other: fn(&mut Request) = |r| {
        r.query
            .iter_mut()
            .filter(|q| q.0 == "X-Amz-Signature")
            .for_each(|q| q.1 = "0".repeat(64));
    };
    refused(&with(other), 403, mismatch);
    let unsigned: fn(&mut Request) = |r| r.query.retain(|q| q.0 != "X-Amz-Signature");
    refused(&with(unsigned), 403, "AccessDenied");
    let both: fn(&mut Request) = |r| header(r, "authorization", "AWS4-HMAC-SHA256 x");
    refused(&with(both), 400, "InvalidArgument");
    let mut old = get("/vault/secret");
    s3.presign_at(&mut old, 60, now() - time::Duration::minutes(2));
    refused(&s3.send(&old), 403, "AccessDenied");
    let mut endless = get("/vault/secret");
    s3.presign_at(&mut endless, 604_801, now());
    refused(&s3.send(&endless), 400, "AuthorizationQueryParametersError");
}

/// A streamed body: signed chunks of these pieces, behind the head's signature.
fn chunks(s3: &S3, mut before: String, pieces: &[&[u8]], when: OffsetDateTime) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in pieces {
        before = s3.sign_chunk(&before, piece, when);
        body.extend(format!("{:x};chunk-signature={before}\r\n", piece.len()).bytes());
        body.extend_from_slice(piece);
        body.extend(b"\r\n");
    }
    body
}

fn streamed(s3: &S3, path: &str, pieces: &[&[u8]]) -> Request {
    let mut request = put(path, b"");
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    header(
        &mut request,
        "x-amz-decoded-content-length",
        &length.to_string(),
    );
    header(&mut request, "content-encoding", "aws-chunked");
    let when = now();
    let seed = s3.sign_at(&mut request, STREAMING, when);
    request.body = chunks(s3, seed, pieces, when);
    request
}

#[test]
fn every_chunk_of_a_streamed_body_is_verified() {
    let s3 = &VAULT.s3;
    let good = streamed(s3, "/vault/streamed-well", &[b"hello ", b"world", b""]);
    assert_eq!(s3.send(&good).status, 200);
    assert!(
        s3.ask("GET", "/vault/streamed-well", b"")
            .text
            .ends_with("hello world")
    );

    let request = streamed(s3, "/vault/streamed", &[b"hello ", b"world", b""]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut request = request.clone();
        change(&mut request.body);
        s3.send(&request)
    };
    let at = |body: &[u8], text: &[u8]| body.windows(text.len()).position(|w| w == text).unwrap();
    let other_bytes = with(&|body| {
        let at = at(body, b"world");
        body[at] = b'W';
    });
    refused(&other_bytes, 403, "SignatureDoesNotMatch");
    let unsigned = with(&|body| *body = b"b\r\nhello world\r\n0\r\n\r\n".to_vec());
    refused(&unsigned, 400, "InvalidRequest");
    let swapped = with(&|body| *body = body.repeat(2));
    assert_ne!(swapped.status, 200);
    let cut = with(&|body| {
        let at = at(body, b"5;chunk-signature");
        body.truncate(at);
    });
    refused(&cut, 400, "IncompleteBody");
    nothing_at(s3, "/vault/streamed");
}

/// A body whose pieces are not signed, with trailers behind it.
fn trailed(s3: &S3, path: &str, payload: &str, trailers: &str) -> Answer {
    let mut request = put(path, b"");
    header(&mut request, "x-amz-decoded-content-length", "5");
    header(&mut request, "x-amz-trailer", "x-amz-checksum-crc32");
    s3.sign_at(&mut request, payload, now());
    request.body = format!("5\r\nhello\r\n0\r\n{trailers}\r\n").into_bytes();
    s3.send(&request)
}

#[test]
fn a_body_with_trailers_is_served_to_who_has_signed_its_head() {
    let s3 = &VAULT.s3;
    let right = format!("x-amz-checksum-crc32:{CRC32}\r\n");
    let good = trailed(s3, "/vault/trailed-well", UNSIGNED_TRAILER, &right);
    assert_eq!(good.status, 200, "{}", good.text);
    let forger = S3 {
        secret: "0".repeat(64),
        ..s3.clone()
    };
    let path = "/vault/trailed";
    let forged = trailed(&forger, path, UNSIGNED_TRAILER, &right);
    refused(&forged, 403, "SignatureDoesNotMatch");
    // Not signed at all, in the mode that signs no piece.
    let mut bare = put(path, b"5\r\nhello\r\n0\r\n\r\n");
    header(&mut bare, "x-amz-content-sha256", UNSIGNED_TRAILER);
    header(&mut bare, "x-amz-decoded-content-length", "5");
    refused(&s3.send(&bare), 403, "AccessDenied");
    let wrong = "x-amz-checksum-crc32:AAAAAA==\r\n";
    refused(
        &trailed(s3, path, UNSIGNED_TRAILER, wrong),
        400,
        "BadDigest",
    );
    refused(
        &trailed(s3, path, UNSIGNED_TRAILER, ""),
        400,
        "InvalidRequest",
    );
    // Pieces without signatures, where they are promised.
    refused(
        &trailed(s3, path, STREAMING_TRAILER, &right),
        400,
        "InvalidRequest",
    );
    refused(&trailed(s3, path, STREAMING, &right), 400, "InvalidRequest");
    nothing_at(s3, path);
}

#[test]
fn other_ways_of_signing_are_refused() {
    let s3 = &VAULT.s3;
    let mut second = get("/vault/secret");
    header(
        &mut second,
        "authorization",
        "AWS bilbo:frJIUN8DYpKDtOLCwo//yllqDzg=",
    );
    header(&mut second, "date", "Tue, 27 Mar 2007 19:36:42 +0000");
    refused(&s3.send(&second), 403, "AccessDenied");
    let mut link = get("/vault/secret");
    for (name, value) in [
        ("AWSAccessKeyId", "bilbo"),
        ("Expires", "9999999999"),
        ("Signature", "x"),
    ] {
        link.query.push((name.into(), value.into()));
    }
    refused(&s3.send(&link), 403, "AccessDenied");
    let mut form = Request {
        method: "POST",
        ..put(
            "/vault",
            b"--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--x--\r\n",
        )
    };
    header(&mut form, "content-type", "multipart/form-data; boundary=x");
    refused(&s3.send(&form), 501, "NotImplemented");
    let mut twice = get("/vault/secret");
    s3.sign(&mut twice);
    let again = twice.headers.last().unwrap().clone();
    twice.headers.push(again);
    refused(&s3.send(&twice), 400, "InvalidArgument");
    let mut sts = get("/vault/secret");
    s3.sign(&mut sts);
    let value = &mut sts.headers.last_mut().unwrap().1;
    *value = value.replace("/s3/", "/sts/");
    refused(&s3.send(&sts), 400, "AuthorizationHeaderMalformed");
}

#[test]
fn input_that_is_too_much_or_makes_no_sense_ends_with_an_error() {
    let s3 = &VAULT.s3;
    let mut large = get("/vault/secret");
    header(&mut large, "x-large", &"x".repeat(20 << 10));
    s3.sign(&mut large);
    refused(&s3.send(&large), 400, "RequestHeaderSectionTooLarge");
    let mut huge = get("/vault/secret");
    header(&mut huge, "x-huge", &"x".repeat(1 << 20));
    s3.sign(&mut huge);
    assert_eq!(s3.send(&huge).status, 431);
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><Delete><Object><Key>&b;</Key></Object></Delete>";
    let mut delete = Request {
        method: "POST",
        query: vec![("delete".into(), String::new())],
        ..put("/vault", bomb.as_bytes())
    };
    s3.sign(&mut delete);
    refused(&s3.send(&delete), 400, "MalformedXML");
    let mut nonsense = put("/vault/secret", b"x");
    header(&mut nonsense, "x-amz-decoded-content-length", "-1");
    s3.sign(&mut nonsense);
    assert!((400..500).contains(&s3.send(&nonsense).status));
    assert!(
        s3.ask("GET", "/vault/secret", b"")
            .text
            .ends_with("the ring")
    );
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let vault = vault();
    let s3 = &vault.s3;
    for (size, sent) in [(100, 50), (8 << 20, 6 << 20)] {
        let mut request = put("/vault/dropped", &vec![7; size]);
        s3.sign(&mut request);
        header(&mut request, "content-length", &size.to_string());
        request.body.truncate(sent);
        s3.drop_after(&request);
    }
    nothing_at(s3, "/vault/dropped");
    // A key of the same name is what is sent next, and nothing else.
    assert_eq!(s3.ask("PUT", "/vault/dropped", b"whole").status, 200);
    assert!(s3.ask("GET", "/vault/dropped", b"").text.ends_with("whole"));
}

#[test]
fn a_secret_that_was_revoked_serves_nobody_within_seconds() {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    assert_eq!(s3.ask("PUT", "/vault", b"").status, 200);
    let again = cluster.ozone(&["s3", "getsecret", "-u", "bilbo"]);
    assert_eq!(again.status.code(), Some(255));
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(told.starts_with("S3_SECRET_ALREADY_EXISTS"), "{told}");
    let revoke = cluster.ozone(&["s3", "revokesecret", "-u", "bilbo", "-y"]);
    assert_eq!(
        String::from_utf8_lossy(&revoke.stdout),
        "S3 secret revoked.\n"
    );
    wait_for(Duration::from_secs(30), || {
        match s3.ask("GET", "/vault", b"").code() {
            "InvalidAccessKeyId" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let set = cluster.ozone(&["s3", "setsecret", "-u", "bilbo", "-s", "a new secret"]);
    assert!(set.status.success());
    let anew = S3 {
        secret: "a new secret".to_owned(),
        ..s3.clone()
    };
    assert_eq!(anew.ask("GET", "/vault", b"").status, 200);
    refused(&s3.ask("GET", "/vault", b""), 403, "SignatureDoesNotMatch");
}

#[test]
fn a_chunk_of_any_size_is_taken_where_chunks_are_not_signed() {
    let s3 = &VAULT.s3;
    let bytes = ozone_tests::content::bytes(1, 5_000_000);
    let mut request = put("/vault/one-chunk", b"");
    let length = bytes.len().to_string();
    header(&mut request, "x-amz-decoded-content-length", &length);
    header(&mut request, "x-amz-trailer", "x-note");
    s3.sign_at(&mut request, UNSIGNED_TRAILER, now());
    let head = format!("{:x}\r\n", bytes.len());
    request.body = [head.as_bytes(), &bytes, b"\r\n0\r\nx-note:1\r\n\r\n"].concat();
    let put = s3.send(&request);
    assert_eq!(put.status, 200, "{}", put.text);
    assert!(s3.ask("GET", "/vault/one-chunk", b"").body == bytes);
    // Signed ones are held in memory until they are verified, and so are bounded.
    let mut request = streamed(s3, "/vault/huge-chunk", &[b"x", b""]);
    request.body = format!("7fffffff;chunk-signature={}\r\nx", "0".repeat(64)).into_bytes();
    refused(&s3.send(&request), 400, "InvalidRequest");
}
