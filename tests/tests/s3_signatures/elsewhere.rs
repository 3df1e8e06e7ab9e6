//! What object stores were broken by beside their signatures: pages that they serve to anybody, secrets that they
//! ship with, methods and headers of proxies, what they say of themselves; and input that is nothing at all.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use ozone_tests::cluster::binary;
use ozone_tests::content::{number, rng};
use ozone_tests::s3::{Request, S3};
use rand::Rng;

use crate::{get, header, nothing_at, put, refused, shared, vault};

/// Pages that one store or another has served to who has not signed.
const PAGES: [&str; 18] = [
    "/minio/bootstrap/v1/verify",
    "/minio/health/live",
    "/minio/admin/v3/info",
    "/minio/v2/metrics/cluster",
    "/rustfs/admin/v3/info",
    "/rustfs/rpc/read_file_stream",
    "/metrics",
    "/prom",
    "/health",
    "/conf",
    "/logs",
    "/jmx",
    "/stacks",
    "/debug/pprof/heap",
    "/dbCheckpoint",
    "/secret",
    "/secret/bilbo",
    "/crossdomain.xml",
];

/// How long a connection may stay on which no request comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An unsigned request.
fn bare(method: &'static str, path: &str) -> Request {
    Request {
        method,
        path: path.to_owned(),
        ..Request::default()
    }
}

#[test]
fn no_page_is_served_to_who_has_not_signed() {
    let vault = shared();
    let s3 = &vault.s3;
    for path in PAGES {
        for method in ["GET", "POST", "PUT"] {
            refused(&s3.send(&bare(method, path)), 403, "AccessDenied");
        }
        // To who has, they are buckets that there are not.
        let answer = s3.ask("GET", path, b"");
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {}",
            answer.text
        );
        for inside in [s3.secret.as_str(), "PATH=", "HOME=", "ozone."] {
            assert!(!answer.text.contains(inside), "{path}: {}", answer.text);
        }
    }
}

#[test]
fn credentials_that_stores_ship_with_are_nobodys() {
    let vault = shared();
    for (id, secret) in [
        ("minioadmin", "minioadmin"),
        ("rustfsadmin", "rustfsadmin"),
        ("admin", "admin"),
        ("any", "any"),
        ("root", "root"),
        ("root", ""),
        ("ozone", "ozone"),
        ("hadoop", "hadoop"),
        (
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
    ] {
        let guess = S3 {
            id: id.to_owned(),
            secret: secret.to_owned(),
            ..vault.s3.clone()
        };
        refused(
            &guess.ask("GET", "/vault/secret", b""),
            403,
            "InvalidAccessKeyId",
        );
    }
}

#[test]
fn no_user_gets_sets_or_revokes_the_secret_of_another() {
    let vault = vault();
    let scratch = vault.cluster.scratch();
    std::fs::set_permissions(scratch, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Where any user may run it.
    let program = scratch.join("ozone");
    std::fs::copy(binary(), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let om = format!("ozone.om.address={}", vault.cluster.om_address());
    for arguments in [
        &["getsecret", "-u", "bilbo"][..],
        &["getsecret", "-u", "frodo"],
        &["setsecret", "-u", "bilbo", "-s", "a known secret"],
        &["revokesecret", "-u", "bilbo", "-y"],
    ] {
        let output = Command::new(&program)
            .args(["--set", &om, "s3"])
            .args(arguments)
            .current_dir("/")
            .uid(65_534)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(255), "{arguments:?}: {told}");
        assert!(told.starts_with("PERMISSION_DENIED"), "{told}");
    }
    assert_eq!(vault.s3.ask("GET", "/vault/secret", b"").status, 200);
}

#[test]
fn methods_that_are_none_of_s3s_do_nothing() {
    let vault = shared();
    let s3 = &vault.s3;
    for method in [
        "PATCH", "TRACE", "PROPFIND", "MOVE", "COPY", "get", "OPTIONS",
    ] {
        refused(
            &s3.send(&bare(method, "/vault/secret")),
            403,
            "AccessDenied",
        );
        let mut signed = bare(method, "/vault/secret");
        s3.sign(&mut signed);
        let answer = s3.send(&signed);
        assert!(answer.status >= 400, "{method}: {}", answer.text);
        assert!(!answer.text.contains("the ring"), "{method}");
    }
    nothing_at(s3, "/vault/none");
}

#[test]
fn headers_of_proxies_change_nothing() {
    let vault = shared();
    let s3 = &vault.s3;
    let headers = [
        ("x-http-method-override", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-original-url", "/vault/other"),
        ("x-rewrite-url", "/vault/other"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "elsewhere"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;host=elsewhere"),
        ("x-remote-user", "root"),
    ];
    for (name, value) in headers {
        let mut bare = bare("GET", "/vault/secret");
        header(&mut bare, name, value);
        refused(&s3.send(&bare), 403, "AccessDenied");
        let mut signed = get("/vault/secret");
        s3.sign(&mut signed);
        header(&mut signed, name, value);
        assert!(s3.send(&signed).text.ends_with("the ring"), "{name}");
    }
    // What was signed for this host is not for another.
    let mut signed = get("/vault/secret");
    s3.sign(&mut signed);
    let host = signed.headers.iter_mut().find(|(name, _)| name == "host");
    host.unwrap().1 = "elsewhere".to_owned();
    refused(&s3.send(&signed), 403, "SignatureDoesNotMatch");
    assert!(
        s3.ask("GET", "/vault/secret", b"")
            .text
            .ends_with("the ring")
    );
}

#[test]
fn a_page_of_another_origin_is_told_nothing() {
    let vault = shared();
    let s3 = &vault.s3;
    let mut asked = get("/vault/secret");
    header(&mut asked, "origin", "http://evil.example");
    s3.sign(&mut asked);
    let mut before = bare("OPTIONS", "/vault/secret");
    header(&mut before, "origin", "http://evil.example");
    header(&mut before, "access-control-request-method", "PUT");
    for request in [asked, before] {
        let answer = s3.send(&request).text.to_lowercase();
        assert!(!answer.contains("access-control-allow"), "{answer}");
    }
}

#[test]
fn an_error_is_xml_in_which_nothing_runs() {
    let vault = shared();
    let s3 = &vault.s3;
    let path = "/vault/%3Cscript%3Ealert%281%29";
    let answer = s3.ask("GET", path, b"");
    refused(&answer, 404, "NoSuchKey");
    assert_eq!(answer.header("content-type"), Some("application/xml"));
    assert!(!answer.text.contains("<script>"), "{}", answer.text);
    let bucket = s3.ask("GET", "/%3Cscript%3E/key", b"");
    assert!(!bucket.text.contains("<script>"), "{}", bucket.text);
}

#[test]
fn what_is_logged_holds_neither_secrets_nor_signatures() {
    let vault = vault();
    let s3 = &vault.s3;
    let mut signed = get("/vault/secret");
    let mut signatures = vec![s3.sign(&mut signed)];
    assert_eq!(s3.send(&signed).status, 200);
    signed.method = "PUT";
    assert_eq!(s3.send(&signed).status, 403);
    let mut link = get("/vault/nothing");
    s3.presign_at(&mut link, 60, crate::now());
    signatures.push(link.query.last().unwrap().1.clone());
    assert_eq!(s3.send(&link).status, 404);
    let log = vault.cluster.log() + &vault.cluster.errors();
    assert!(!log.contains(&s3.secret), "{log}");
    for signature in signatures {
        assert!(!log.contains(&signature), "{log}");
    }
}

#[test]
fn clients_that_say_nothing_are_let_go_and_keep_nobody_out() {
    let vault = shared();
    let s3 = &vault.s3;
    let half = b"GET /vault/secret HTTP/1.1\r\nhost: h\r\nx-slow";
    let mut silent: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut stream = TcpStream::connect(&s3.endpoint).unwrap();
            let sent = if n % 2 == 0 { &half[..] } else { b"" };
            stream.write_all(sent).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        })
        .collect();
    assert!(
        s3.ask("GET", "/vault/secret", b"")
            .text
            .ends_with("the ring")
    );
    for stream in &mut silent {
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(ended.is_ok(), "still open: {ended:?}");
        assert!(text.is_empty() || text.contains(" 408 "), "{text}");
    }
}

/// Sends bytes, whatever they are; what came back until the other side has closed, or said nothing for a while.
fn raw(s3: &S3, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(&s3.endpoint).expect("the gateway listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // It may have closed already.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn bytes_of(request: &Request) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.target());
    text.push_str("connection: close\r\n");
    text.push_str(&format!("content-length: {}\r\n", request.body.len()));
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    [text.as_bytes(), &request.body].concat()
}

/// `ROUNDS` of the environment.
#[test]
fn input_at_random_is_answered_with_a_refusal_and_ends_nothing() {
    let vault = vault();
    let s3 = &vault.s3;
    let mut rng = rng();
    let forger = S3 {
        secret: "0".repeat(64),
        ..s3.clone()
    };
    let xml = b"<Delete><Object><Key>secret</Key></Object></Delete>";
    for _ in 0..number("ROUNDS", 300) {
        let mut request = match rng.random_range(0..4) {
            0 => get("/vault/secret"),
            1 => put("/vault/random", b"5\r\nhello\r\n0\r\n\r\n"),
            2 => Request {
                method: "POST",
                query: vec![("delete".into(), String::new())],
                ..put("/vault", xml)
            },
            _ => Request {
                query: vec![("tagging".into(), String::new())],
                ..put("/vault/secret", b"<Tagging><TagSet/></Tagging>")
            },
        };
        let payload = ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"];
        let payload = payload[rng.random_range(0..2)];
        match rng.random_bool(0.3) {
            true => forger.presign_at(&mut request, 60, crate::now()),
            false => drop(forger.sign_at(&mut request, payload, crate::now())),
        }
        let mut bytes = bytes_of(&request);
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] = rng.random(),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, rng.random()),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let answer = raw(s3, &bytes);
        let shown = String::from_utf8_lossy(&bytes);
        assert!(!answer.contains("the ring"), "{shown}");
        for served in ["HTTP/1.1 2", "HTTP/1.1 5"] {
            let missing = answer.starts_with("HTTP/1.1 501");
            assert!(missing || !answer.starts_with(served), "{shown}\\n{answer}");
        }
    }
    nothing_at(s3, "/vault/random");
    assert!(
        s3.ask("GET", "/vault/secret", b"")
            .text
            .ends_with("the ring")
    );
    assert!(
        !vault.cluster.errors().contains("panicked"),
        "{}",
        vault.cluster.errors()
    );
    assert!(
        !vault.cluster.log().contains("panicked"),
        "{}",
        vault.cluster.log()
    );
}
