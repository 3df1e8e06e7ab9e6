//! What a request may not be believed to say: that its bytes are protected, that they are an archive, where a copy
//! comes from.

use ozone_tests::s3::{Answer, Request, S3};

use crate::{get, header, nothing_at, put, refused, shared, vault};

/// Headers that ask for what there is not.
const PROTECTION: [(&str, &str); 8] = [
    ("x-amz-object-lock-mode", "COMPLIANCE"),
    (
        "x-amz-object-lock-retain-until-date",
        "2099-01-01T00:00:00Z",
    ),
    ("x-amz-object-lock-legal-hold", "ON"),
    ("x-amz-server-side-encryption", "AES256"),
    ("x-amz-server-side-encryption", "aws:kms"),
    ("x-amz-server-side-encryption-aws-kms-key-id", "key"),
    ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
    ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
];

fn with(s3: &S3, mut request: Request, extra: &[(&str, &str)]) -> Answer {
    for (name, value) in extra {
        header(&mut request, name, value);
    }
    s3.sign(&mut request);
    s3.send(&request)
}

#[test]
fn nothing_is_stored_under_a_promise_that_is_not_kept() {
    let vault = shared();
    let s3 = &vault.s3;
    let begin = Request {
        method: "POST",
        query: vec![("uploads".into(), String::new())],
        ..put("/vault/promised", b"")
    };
    for asked in PROTECTION {
        let answer = with(s3, put("/vault/promised", b"x"), &[asked]);
        refused(&answer, 501, "NotImplemented");
        let copy = ("x-amz-copy-source", "/vault/secret");
        let answer = with(s3, put("/vault/promised", b""), &[copy, asked]);
        refused(&answer, 501, "NotImplemented");
        refused(&with(s3, begin.clone(), &[asked]), 501, "NotImplemented");
    }
    for what in [
        "retention",
        "legal-hold",
        "acl",
        "object-lock",
        "encryption",
        "policy",
    ] {
        let path = match what {
            "retention" | "legal-hold" | "acl" => "/vault/secret",
            _ => "/vault",
        };
        let answer = s3.ask_with("PUT", (path, &[(what, "")]), b"<x/>");
        // Some bodies are looked at before it is known that nothing is done with them.
        assert!(
            matches!(answer.status, 400 | 501),
            "{what}: {}",
            answer.text
        );
    }
    // What has a lock only in a link is no different.
    let mut link = put("/vault/promised", b"x");
    link.query
        .push(("X-Amz-Object-Lock-Mode".into(), "COMPLIANCE".into()));
    s3.presign_at(&mut link, 60, crate::now());
    refused(&s3.send(&link), 501, "NotImplemented");
    nothing_at(s3, "/vault/promised");
}

#[test]
fn an_archive_is_stored_as_it_is_and_never_unpacked() {
    let vault = shared();
    let s3 = &vault.s3;
    let mut archive = vec![0; 512];
    archive[..24].copy_from_slice(b"../vault/unpacked-entry\0");
    archive[124..135].copy_from_slice(b"00000000005");
    archive.extend(b"entry");
    archive.resize(2048, 0);
    for (name, value) in [
        ("x-amz-meta-snowball-auto-extract", "true"),
        ("x-amz-meta-minio-snowball-prefix", "../.."),
        ("x-minio-extract", "true"),
        ("x-rustfs-snowball-auto-extract", "true"),
    ] {
        let answer = with(s3, put("/vault/archive.tar", &archive), &[(name, value)]);
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(s3.ask("GET", "/vault/archive.tar", b"").body == archive);
    }
    nothing_at(s3, "/vault/unpacked-entry");
}

#[test]
fn a_copy_comes_from_a_bucket_that_s3_shows_and_from_nowhere_else() {
    let vault = vault();
    let s3 = &vault.s3;
    let hidden = vault.cluster.bucket("vol", "hidden");
    std::fs::write(hidden.join("key"), "the ring").unwrap();
    let begun = s3.ask_with("POST", ("/vault/parts", &[("uploads", "")]), b"");
    let id = begun.element("UploadId").to_owned();
    for source in [
        "/vol/hidden/key",
        "vol/hidden/key",
        "/hidden/key",
        "/vault/../../vol/hidden/key",
        "../vol/hidden/key",
        "/vault/%2e%2e/%2e%2e/vol/hidden/key",
        "/..%2fvol%2fhidden/key",
        "/vault%2f..%2f..%2fvol/hidden/key",
        "/vault/secret/../../../vol/hidden/key",
        "//vol/hidden/key",
        "/vault/",
        "/",
        "",
        "arn:aws:s3:::vol/hidden/key",
        "/vault/secret?versionId=1",
        "/vault/.snapshot/x/secret",
    ] {
        let from = ("x-amz-copy-source", source);
        let answer = with(s3, put("/vault/copied", b""), &[from]);
        assert!(
            matches!(answer.status, 400..=499 | 501),
            "{source:?}: {}",
            answer.text
        );
        let part = Request {
            query: vec![
                ("partNumber".into(), "1".into()),
                ("uploadId".into(), id.clone()),
            ],
            ..put("/vault/parts", b"")
        };
        let answer = with(s3, part, &[from]);
        assert!(
            matches!(answer.status, 400..=499 | 501),
            "{source:?}: {}",
            answer.text
        );
    }
    let parts = s3.ask_with("GET", ("/vault/parts", &[("uploadId", id.as_str())]), b"");
    assert!(!parts.text.contains("<Part>"), "{}", parts.text);
    nothing_at(s3, "/vault/copied");
}

#[test]
fn an_address_leads_to_a_bucket_that_s3_shows_and_nowhere_else() {
    let vault = vault();
    let s3 = &vault.s3;
    let hidden = vault.cluster.bucket("vol", "hidden");
    std::fs::write(hidden.join("key"), "the ring").unwrap();
    for path in [
        "/vol/hidden/key",
        "/hidden/key",
        "/../vol/hidden/key",
        "/vault/../../vol/hidden/key",
        "/vault/%2E%2E/%2E%2E/vol/hidden/key",
        "/..%2Fvol%2Fhidden/key",
        "/vault%2F..%2F..%2Fvol%2Fhidden/key",
        "/./vol/hidden/key",
        "//vol/hidden/key",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = s3.ask(method, path, b"");
            let refused = (400..500).contains(&answer.status);
            assert!(refused, "{method} {path}: {}", answer.text);
            assert!(!answer.text.contains("the ring"), "{}", answer.text);
        }
    }
    assert_eq!(std::fs::read(hidden.join("key")).unwrap(), b"the ring");
    assert_eq!(std::fs::read_dir(&hidden).unwrap().count(), 1);
}

#[test]
fn names_of_buckets_that_ozone_refuses_are_refused_with_the_rule_that_they_break() {
    let vault = shared();
    let s3 = &vault.s3;
    let long = "x".repeat(64);
    for (name, rule) in [
        ("ab", "3"),
        (long.as_str(), "63"),
        ("Upper", "upper-case"),
        ("under_score", "_"),
        ("-dash", "start or end"),
        ("dash-", "start or end"),
        ("two..dots", ".."),
        ("192.168.1.1", "IP"),
        ("a%20b", "unsupported character"),
        ("%C3%BCmlaut", "ü"),
    ] {
        let answer = s3.ask("PUT", &format!("/{name}"), b"");
        refused(&answer, 400, "InvalidBucketName");
        let message = answer.element("Message");
        assert!(
            message.to_lowercase().contains(&rule.to_lowercase()),
            "{name}: {message}"
        );
        // And is no bucket that is not there, either.
        let listed = s3.ask("GET", "/", b"");
        assert!(!listed.text.contains(&format!("<Name>{name}</Name>")));
    }
    let mut signed = get("/vault/secret");
    s3.sign(&mut signed);
    assert!(s3.send(&signed).text.ends_with("the ring"));
}
