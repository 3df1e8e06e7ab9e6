//! Who is let in: certificates from SCM, mutual TLS, block tokens; and the id by which one operation is
//! followed through the processes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use ozone_tests::blocks::Location;
use ozone_tests::content::bytes;
use ozone_tests::credentials::{assert_keys_and_certificates, own_certificates};
use ozone_tests::refused::{Refused, assert_refused};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions, Daemon, DaemonOptions, Daemons};

const SECURE: (&str, &str) = ("ozone.security.enabled", "true");
const CLIENT_FILE: &str = "ozone.security.client.certificate.file";
const JOIN_FILE: &str = "ozone.security.join.certificate.file";
/// Where OM's directories and the datanode's are, under the cluster's.
const OM: &str = "metadata/om";
const DATANODE: &str = "datanode-1/metadata";
/// Longest that anything may take that has to happen.
const LIMIT: Duration = Duration::from_secs(120);

/// A cluster of which nothing runs yet.
fn daemons(properties: &[(&'static str, &'static str)]) -> Daemons {
    Daemons::new(DaemonOptions {
        properties: properties.to_vec(),
        log_requests: true,
        ..DaemonOptions::one_copy()
    })
}

/// SCM runs, with security on.
fn secure_scm(more: &[(&'static str, &'static str)]) -> Daemons {
    let mut daemons = daemons(&[&[SECURE], more].concat());
    daemons.succeed(&["scm", "--init"]);
    daemons.start_one(Daemon::Scm);
    daemons
}

/// SCM, OM and datanode run; a client may ask.
fn secure_daemons(more: &[(&'static str, &'static str)]) -> Daemons {
    let mut daemons = secure_scm(more);
    let join = file(&daemons, "join.pem");
    daemons.succeed(&["admin", "cert", "join", &join]);
    daemons.set(JOIN_FILE, &join);
    daemons.succeed(&["om", "--init"]);
    daemons.start_one(Daemon::Om);
    daemons.start_one(Daemon::Datanode(1));
    certify(&daemons, "root", &file(&daemons, "client.pem"));
    daemons
}

/// Has a bundle made with which a client is `user`.
fn certify(daemons: &Daemons, user: &str, file: &str) {
    daemons.succeed(&["admin", "cert", "client", user, file]);
}

fn file(daemons: &Daemons, name: &str) -> String {
    daemons.dir().join(name).display().to_string()
}

fn with_client<'a>(file: &'a str, args: &[&'a str]) -> Vec<String> {
    let set = format!("{CLIENT_FILE}={file}");
    let start = ["--set".to_owned(), set];
    let args = args.iter().map(|arg| (*arg).to_owned());
    start.into_iter().chain(args).collect()
}

/// Asks with the certificate in `bundle`.
fn ask(daemons: &Daemons, bundle: &str, args: &[&str]) -> Output {
    let bundle = file(daemons, bundle);
    let args = with_client(&bundle, args);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    daemons.ozone(&args)
}

fn must_ask(daemons: &Daemons, args: &[&str]) {
    let output = ask(daemons, "client.pem", args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {text}");
}

fn assert_no(output: &Output, words: &[&str]) {
    assert_refused(&Refused::from(output), words);
}

#[test]
fn daemons_with_security_serve_those_whom_they_know_and_no_others() {
    let daemons = secure_daemons(&[]);
    must_ask(&daemons, &["sh", "volume", "create", "vol"]);
    must_ask(&daemons, &["sh", "bucket", "create", "vol/bucket"]);
    let (there, back) = (file(&daemons, "file"), file(&daemons, "back"));
    fs::write(&there, bytes(7, 3 << 20)).unwrap();
    must_ask(&daemons, &["sh", "key", "put", "vol/bucket/key", &there]);
    must_ask(&daemons, &["sh", "key", "get", "vol/bucket/key", &back]);
    assert_eq!(fs::read(there).unwrap(), fs::read(back).unwrap());

    // Keys and certificates lie where the documents say, and their numbers are written down.
    let (om, datanode) = (daemons.dir().join(OM), daemons.dir().join(DATANODE));
    assert_keys_and_certificates(&om);
    assert_keys_and_certificates(&datanode.join("dn"));
    let version = fs::read_to_string(om.join("current/VERSION")).unwrap();
    let own = own_certificates(&om);
    let serial = own[0].trim_end_matches(".crt");
    assert!(
        version.contains(&format!("omCertSerialId={serial}\n")),
        "{version}"
    );
    let id = fs::read_to_string(datanode.join("datanode.id")).unwrap();
    assert!(id.contains("certSerialId"), "{id}");

    // A client that names no file, one that speaks plaintext, and one of another cluster.
    certify(&secure_scm(&[]), "root", &file(&daemons, "stranger.pem"));
    let started = Instant::now();
    let nameless = daemons.ozone(&["sh", "volume", "info", "vol"]);
    assert_no(&nameless, &[CLIENT_FILE, "ozone admin cert client"]);
    let off = [
        "--set",
        "ozone.security.enabled=false",
        "sh",
        "volume",
        "list",
    ];
    let plaintext = daemons.ozone(&off);
    assert_no(&plaintext, &["speaks TLS", "ozone.security.enabled"]);
    let refused = ask(&daemons, "stranger.pem", &["sh", "volume", "list"]);
    assert_no(&refused, &["root certificate that this side trusts"]);
    assert!(
        started.elapsed() < Duration::from_secs(50),
        "refusals are quick"
    );

    // A user asks for nobody else, and a bundle for joining is good for nothing else.
    certify(&daemons, "bilbo", &file(&daemons, "bilbo.pem"));
    let refused = ask(&daemons, "bilbo.pem", &["sh", "volume", "create", "other"]);
    assert_no(&refused, &["PERMISSION_DENIED"]);
    let refused = ask(&daemons, "join.pem", &["sh", "volume", "list"]);
    assert_no(&refused, &["may not ask this"]);
}

#[test]
fn small_files_move_into_blocks_with_security_on_too() {
    let cluster = Cluster::start(ClusterOptions {
        sets: vec![format!("{}={}", SECURE.0, SECURE.1)],
        ..ClusterOptions::default()
    });
    let small = cluster.bucket("vol", "bucket").join("small");
    let content = bytes(7, 5000);
    fs::write(&small, &content).unwrap();
    let client = cluster.dir().join("client.pem").display().to_string();
    let info = with_client(&client, &["sh", "key", "info", "/vol/bucket/small"]);
    let on = [&format!("--set={}={}", SECURE.0, SECURE.1)];
    let info: Vec<_> = on.into_iter().chain(&info).map(String::as_str).collect();
    wait_for(LIMIT, || {
        let output = cluster.ozone(&info);
        assert!(output.status.success(), "{output:?}");
        let info = String::from_utf8(output.stdout).unwrap();
        match Location::all_of(&info).is_empty() {
            true => Err("it is in no block".to_owned()),
            false => Ok(()),
        }
    });
    assert_eq!(fs::read(&small).unwrap(), content);
}

#[test]
fn one_request_id_is_found_in_the_logs_of_every_process_that_took_part() {
    let daemons = secure_daemons(&[]);
    must_ask(&daemons, &["sh", "volume", "create", "vol"]);
    must_ask(&daemons, &["sh", "bucket", "create", "vol/bucket"]);
    let there = file(&daemons, "file");
    fs::write(&there, bytes(7, 3 << 20)).unwrap();
    must_ask(&daemons, &["sh", "key", "put", "vol/bucket/key", &there]);
    let committed = daemons.request_ids(Daemon::Om, "CommitKey");
    assert_eq!(committed.len(), 1, "{committed:?}");
    for (server, op) in [
        (Daemon::Om, "CreateKey"),
        (Daemon::Om, "AllocateBlocks"),
        (Daemon::Scm, "AllocateScmBlock"),
        (Daemon::Datanode(1), "WriteChunk"),
        (Daemon::Datanode(1), "PutBlock"),
    ] {
        let ids = daemons.request_ids(server, op);
        assert!(
            ids.contains(&committed[0]),
            "{server} {op}: {ids:?}, not {committed:?}"
        );
    }
}

#[test]
fn certificates_are_renewed_while_the_cluster_runs() {
    let mut daemons = secure_daemons(&[("hdds.x509.default.duration", "40s")]);
    must_ask(&daemons, &["sh", "volume", "create", "vol"]);
    let dirs = [OM.into(), format!("{DATANODE}/dn")].map(|dir| daemons.dir().join(dir));
    let certificates = || dirs.each_ref().map(|dir| own_certificates(dir));
    let first = certificates();
    let born = Instant::now();
    // Until the first ones are over, and the client's as well: certificates count in seconds.
    wait_for(LIMIT, || {
        daemons.assert_running();
        let now = certificates();
        let renewed = now.iter().zip(&first).all(|(now, first)| now != first);
        match renewed && born.elapsed() > Duration::from_secs(42) {
            true => Ok(()),
            false => Err(format!("{now:?} after {first:?}")),
        }
    });
    let refused = ask(&daemons, "client.pem", &["sh", "volume", "list"]);
    assert_no(&refused, &["does not accept this side's certificate"]);
    certify(&daemons, "root", &file(&daemons, "client.pem"));
    must_ask(&daemons, &["sh", "volume", "info", "vol"]);
    must_ask(&daemons, &["sh", "bucket", "create", "vol/bucket"]);
    let there = file(&daemons, "file");
    fs::write(&there, bytes(7, 1 << 20)).unwrap();
    must_ask(&daemons, &["sh", "key", "put", "vol/bucket/key", &there]);
}

#[test]
fn a_server_that_cannot_prove_anything_is_told_what_it_lacks() {
    let mut daemons = secure_scm(&[]);
    for refused in [
        Refused::from(&daemons.ozone(&["om", "--init"])),
        daemons.refused(Daemon::Datanode(1)),
    ] {
        assert_refused(&refused, &[JOIN_FILE, "ozone admin cert join"]);
    }
    // A bundle for datanodes makes no OM.
    let join = file(&daemons, "join.pem");
    daemons.succeed(&["admin", "cert", "join", &join, "--as", "datanode"]);
    daemons.set(JOIN_FILE, &join);
    let refused = daemons.ozone(&["om", "--init"]);
    assert_no(&refused, &["may not ask for a certificate of OM"]);
    let own = own_certificates(&daemons.dir().join(OM));
    assert_eq!(own, Vec::<String>::new());
}

#[test]
fn without_security_nothing_but_loopback_is_served() {
    let daemons = daemons(&[]);
    daemons.succeed(&["scm", "--init"]);
    let open = ["--set", "ozone.scm.client.address=0.0.0.0:0", "scm"];
    let refused = daemons.ozone(&open);
    assert_no(&refused, &["0.0.0.0", "ozone.security.enabled"]);
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
