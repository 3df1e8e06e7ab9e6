//! Who is let in: certificates from SCM, mutual TLS, block tokens; and the id by which one operation is
//! followed through the processes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod daemons;

use std::fs;
use std::time::{Duration, Instant};

use ozone_tests::content::bytes;
use ozone_tests::credentials::{assert_keys_and_certificates, own_certificates};
use ozone_tests::refused::FAILED;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};

use daemons::{Daemons, text_of};

const SECURE: (&str, &str) = ("ozone.security.enabled", "true");
const CLIENT_FILE: &str = "ozone.security.client.certificate.file";
const JOIN_FILE: &str = "ozone.security.join.certificate.file";
/// Longest that anything may take that has to happen.
const LIMIT: Duration = Duration::from_secs(120);

/// SCM, OM and datanode run; a client may ask.
fn secure_daemons(more: &[(&str, &str)]) -> Daemons {
    let mut daemons = Daemons::new(&[&[SECURE], more].concat());
    daemons.must("scm", &["scm", "--init"]);
    daemons.start("scm");
    let join = daemons.path("join.pem").display().to_string();
    daemons.must("scm", &["admin", "cert", "join", &join]);
    daemons.set(JOIN_FILE, &join);
    daemons.must("om", &["om", "--init"]);
    daemons.start("om");
    daemons.start("datanode");
    let client = daemons.path("client.pem").display().to_string();
    daemons.must("scm", &["admin", "cert", "client", "root", &client]);
    daemons
}

fn with_client<'a>(file: &'a str, args: &[&'a str]) -> Vec<String> {
    let set = format!("{CLIENT_FILE}={file}");
    let start = ["--set".to_owned(), set];
    let args = args.iter().map(|arg| (*arg).to_owned());
    start.into_iter().chain(args).collect()
}

/// Asks with the certificate in `file`.
fn ask(daemons: &Daemons, file: &str, args: &[&str]) -> std::process::Output {
    let file = daemons.path(file).display().to_string();
    let args = with_client(&file, args);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    daemons.run("client", &args)
}

fn must_ask(daemons: &Daemons, args: &[&str]) -> String {
    let output = ask(daemons, "client.pem", args);
    let text = text_of(&output);
    assert!(output.status.success(), "{args:?}: {text}");
    text
}

fn assert_refused(output: &std::process::Output, words: &[&str]) {
    let text = text_of(output);
    assert_eq!(output.status.code(), FAILED, "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

#[test]
fn daemons_with_security_serve_those_whom_they_know_and_no_others() {
    let daemons = secure_daemons(&[]);
    must_ask(&daemons, &["sh", "volume", "create", "vol"]);
    must_ask(&daemons, &["sh", "bucket", "create", "vol/bucket"]);
    let (file, back) = (daemons.path("file"), daemons.path("back"));
    fs::write(&file, bytes(7, 3 << 20)).unwrap();
    let (file, back) = (file.to_str().unwrap(), back.to_str().unwrap());
    must_ask(&daemons, &["sh", "key", "put", "vol/bucket/key", file]);
    must_ask(&daemons, &["sh", "key", "get", "vol/bucket/key", back]);
    assert_eq!(fs::read(file).unwrap(), fs::read(back).unwrap());

    // Keys and certificates lie where the documents say, and their numbers are written down.
    assert_keys_and_certificates(&daemons.path("om/ozone-metadata/om"));
    assert_keys_and_certificates(&daemons.path("datanode/ozone-metadata/dn"));
    let version = fs::read_to_string(daemons.path("om/data/om/current/VERSION")).unwrap();
    let own = own_certificates(&daemons.path("om/ozone-metadata/om"));
    let serial = own[0].trim_end_matches(".crt");
    assert!(
        version.contains(&format!("omCertSerialId={serial}\n")),
        "{version}"
    );
    let id = fs::read_to_string(daemons.path("datanode/ozone-metadata/datanode.id")).unwrap();
    assert!(id.contains("certSerialId"), "{id}");

    // A client that names no file, one that speaks plaintext, and one of another cluster.
    let started = Instant::now();
    let nameless = daemons.run("client", &["sh", "volume", "info", "vol"]);
    assert_refused(&nameless, &[CLIENT_FILE, "ozone admin cert client"]);
    let off = [
        "--set",
        "ozone.security.enabled=false",
        "sh",
        "volume",
        "list",
    ];
    let plaintext = daemons.run("client", &off);
    assert_refused(&plaintext, &["speaks TLS", "ozone.security.enabled"]);
    let mut other = Daemons::new(&[SECURE]);
    other.must("scm", &["scm", "--init"]);
    other.start("scm");
    let stranger = daemons.path("stranger.pem").display().to_string();
    other.must("scm", &["admin", "cert", "client", "root", &stranger]);
    let refused = ask(&daemons, "stranger.pem", &["sh", "volume", "list"]);
    assert_refused(&refused, &["root certificate that this side trusts"]);
    assert!(
        started.elapsed() < Duration::from_secs(50),
        "refusals are quick"
    );

    // A user asks for nobody else, and a bundle for joining is good for nothing else.
    let bilbo = daemons.path("bilbo.pem").display().to_string();
    daemons.must("scm", &["admin", "cert", "client", "bilbo", &bilbo]);
    let refused = ask(&daemons, "bilbo.pem", &["sh", "volume", "create", "other"]);
    assert_refused(&refused, &["PERMISSION_DENIED"]);
    let refused = ask(&daemons, "join.pem", &["sh", "volume", "list"]);
    assert_refused(&refused, &["may not ask this"]);
}

#[test]
fn one_request_id_is_found_in_the_logs_of_every_process_that_took_part() {
    let daemons = secure_daemons(&[]);
    must_ask(&daemons, &["sh", "volume", "create", "vol"]);
    must_ask(&daemons, &["sh", "bucket", "create", "vol/bucket"]);
    let file = daemons.path("file");
    fs::write(&file, bytes(7, 3 << 20)).unwrap();
    must_ask(
        &daemons,
        &["sh", "key", "put", "vol/bucket/key", file.to_str().unwrap()],
    );
    let committed = daemons.request_ids("om", "CommitKey");
    assert_eq!(committed.len(), 1, "{committed:?}");
    for (role, op) in [
        ("om", "CreateKey"),
        ("om", "AllocateBlocks"),
        ("scm", "AllocateScmBlock"),
        ("datanode", "WriteChunk"),
        ("datanode", "PutBlock"),
    ] {
        let ids = daemons.request_ids(role, op);
        assert!(
            ids.contains(&committed[0]),
            "{role} {op}: {ids:?}, not {committed:?}"
        );
    }
}

#[test]
fn certificates_are_renewed_while_the_cluster_runs() {
    let daemons = secure_daemons(&[("hdds.x509.default.duration", "40s")]);
    must_ask(&daemons, &["sh", "volume", "create", "vol"]);
    let dirs = ["om/ozone-metadata/om", "datanode/ozone-metadata/dn"];
    let first = dirs.map(|dir| own_certificates(&daemons.path(dir)));
    let born = Instant::now();
    // Until the first ones are over, and the client's as well: certificates count in seconds.
    wait_for(LIMIT, || {
        let now = dirs.map(|dir| own_certificates(&daemons.path(dir)));
        let renewed = now.iter().zip(&first).all(|(now, first)| now != first);
        match renewed && born.elapsed() > Duration::from_secs(42) {
            true => Ok(()),
            false => Err(format!("{now:?} after {first:?}")),
        }
    });
    let refused = ask(&daemons, "client.pem", &["sh", "volume", "list"]);
    assert_refused(&refused, &["does not accept this side's certificate"]);
    let client = daemons.path("client.pem").display().to_string();
    daemons.must("scm", &["admin", "cert", "client", "root", &client]);
    must_ask(&daemons, &["sh", "volume", "info", "vol"]);
    must_ask(&daemons, &["sh", "bucket", "create", "vol/bucket"]);
    let file = daemons.path("file");
    fs::write(&file, bytes(7, 1 << 20)).unwrap();
    must_ask(
        &daemons,
        &["sh", "key", "put", "vol/bucket/key", file.to_str().unwrap()],
    );
}

#[test]
fn a_server_that_cannot_prove_anything_is_told_what_it_lacks() {
    let mut daemons = Daemons::new(&[SECURE]);
    daemons.must("scm", &["scm", "--init"]);
    daemons.start("scm");
    for (role, args) in [
        ("om", &["om", "--init"][..]),
        ("datanode", &["datanode"][..]),
    ] {
        let refused = daemons.run(role, args);
        assert_refused(&refused, &[JOIN_FILE, "ozone admin cert join"]);
    }
    // A bundle for datanodes makes no OM.
    let join = daemons.path("join.pem").display().to_string();
    daemons.must("scm", &["admin", "cert", "join", &join, "--as", "datanode"]);
    daemons.set(JOIN_FILE, &join);
    let refused = daemons.run("om", &["om", "--init"]);
    assert_refused(&refused, &["may not ask for a certificate of OM"]);
    assert_eq!(
        own_certificates(&daemons.path("om/ozone-metadata/om")),
        Vec::<String>::new()
    );
}

#[test]
fn without_security_nothing_but_loopback_is_served() {
    let daemons = Daemons::new(&[]);
    daemons.must("scm", &["scm", "--init"]);
    let open = ["--set", "ozone.scm.client.address=0.0.0.0:0", "scm"];
    let refused = daemons.run("scm", &open);
    assert_refused(&refused, &["0.0.0.0", "ozone.security.enabled"]);
}

#[test]
fn security_can_be_switched_on_and_off_for_a_cluster_that_has_data() {
    let mut cluster = Cluster::start(ClusterOptions {
        datanodes: 3,
        ..ClusterOptions::default()
    });
    let om = cluster.dir().join("om/ozone-metadata/om");
    let datanode = cluster.dir().join("datanode-1/ozone-metadata/dn");
    // Without security the trees are there all the same.
    wait_for(LIMIT, || {
        match [&om, &datanode].map(|dir| own_certificates(dir).len()) {
            [1, 1] => Ok(()),
            found => Err(format!("{found:?} certificates")),
        }
    });
    assert_keys_and_certificates(&om);
    let unproven = own_certificates(&om);
    let content = bytes(9, 1 << 20);
    fs::write(cluster.bucket("vol", "bucket").join("f"), &content).unwrap();
    cluster.stop();
    cluster.set("ozone.security.enabled=true");
    cluster.restart();
    assert_ne!(
        own_certificates(&om),
        unproven,
        "what proved nothing is replaced"
    );
    let file = cluster.mountpoint().join("vol/bucket/f");
    assert_eq!(fs::read(&file).unwrap(), content);
    let client = cluster.dir().join("client.pem").display().to_string();
    let secure = ["--set", "ozone.security.enabled=true"];
    let args = with_client(
        &client,
        &[&secure[..], &["sh", "key", "cat", "vol/bucket/f"]].concat(),
    );
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    assert_eq!(cluster.ozone(&args).stdout, content);
    assert!(!cluster.ozone(&["sh", "volume", "list"]).status.success());
    fs::write(&file, b"written with security on").unwrap();
    cluster.stop();
    cluster.set("ozone.security.enabled=false");
    cluster.restart();
    assert_eq!(fs::read(&file).unwrap(), b"written with security on");
}
