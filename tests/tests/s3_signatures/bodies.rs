//! Bodies: whatever is signed of them is verified before a key appears.

use ozone_tests::s3::{Answer, Request, S3};
use time::OffsetDateTime;

use crate::{header, nothing_at, now, put, refused, shared, vault};

const STREAMING: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const STREAMING_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
/// CRC-32 of "hello", in base64.
const CRC32: &str = "NhCmhg==";

#[test]
fn a_body_that_is_not_the_signed_one_is_refused() {
    let vault = shared();
    let s3 = &vault.s3;
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
    let vault = shared();
    let s3 = &vault.s3;
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
    let vault = shared();
    let s3 = &vault.s3;
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
fn a_chunk_of_any_size_is_taken_where_chunks_are_not_signed() {
    let vault = shared();
    let s3 = &vault.s3;
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
