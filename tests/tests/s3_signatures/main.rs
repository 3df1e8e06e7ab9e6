//! Every way around a signature that an object store was ever broken by: each is tried over a raw connection, and
//! leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bodies;
mod elsewhere;
mod promises;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ozone_tests::s3::{Answer, Request, S3, UNSIGNED};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};
use time::OffsetDateTime;

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

pub(crate) struct Vault {
    pub(crate) cluster: Cluster,
    pub(crate) s3: S3,
}

/// A bucket with a key that nobody gets at, or changes.
pub(crate) fn vault() -> Vault {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    assert_eq!(s3.ask("PUT", "/vault", b"").status, 200);
    assert_eq!(s3.ask("PUT", "/vault/secret", b"the ring").status, 200);
    Vault { cluster, s3 }
}

static SHARED: Mutex<Weak<Vault>> = Mutex::new(Weak::new());

/// One for all tests that change nothing: it lives as long as any of them uses it.
pub(crate) fn shared() -> Arc<Vault> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(vault) = shared.upgrade() {
        return vault;
    }
    let vault = Arc::new(vault());
    *shared = Arc::downgrade(&vault);
    vault
}

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) fn put(path: &str, body: &[u8]) -> Request {
    Request {
        method: "PUT",
        path: path.to_owned(),
        body: body.to_vec(),
        ..Request::default()
    }
}

pub(crate) fn get(path: &str) -> Request {
    Request {
        method: "GET",
        path: path.to_owned(),
        ..Request::default()
    }
}

pub(crate) fn header(request: &mut Request, name: &str, value: &str) {
    request.headers.push((name.to_owned(), value.to_owned()));
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
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
pub(crate) fn nothing_at(s3: &S3, path: &str) {
    refused(&s3.ask("GET", path, b""), 404, "NoSuchKey");
    assert_eq!(s3.ask("GET", "/vault/secret", b"").status, 200);
}

#[test]
fn nobody_is_served_without_a_signature() {
    let vault = shared();
    let s3 = &vault.s3;
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
    let vault = shared();
    let s3 = &vault.s3;
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
    let vault = shared();
    let s3 = &vault.s3;
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
    let vault = shared();
    let s3 = &vault.s3;
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
fn a_link_serves_its_request_until_its_end_and_nothing_else() {
    let vault = shared();
    let s3 = &vault.s3;
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

#[test]
fn other_ways_of_signing_are_refused() {
    let vault = shared();
    let s3 = &vault.s3;
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
    let vault = shared();
    let s3 = &vault.s3;
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
