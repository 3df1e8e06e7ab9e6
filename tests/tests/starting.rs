//! Starting: what users have made does not stop a cluster, a start that fails says why and leaves
//! nothing that makes the next one fail, and what cannot work is told before anybody waits for it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ozone_tests::cluster::binary;
use ozone_tests::corrupt::{find, flip};
use ozone_tests::ports::free_ports;
use ozone_tests::refused::assert_refused;
use ozone_tests::{Cluster, ClusterOptions, Refused};

fn assert_failed(output: &Output, words: &[&str]) {
    assert_refused(&Refused::from(output), words);
}

fn ozone(args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).env_remove("OZONE_CONF_DIR");
    command.output().expect("the binary starts")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn volumes_of_users_never_stop_a_cluster_and_what_a_killed_probe_left_goes() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    assert!(names(&cluster.mountpoint()).is_empty());
    let kept = ["ozone-up-probe", "ozone-up-probe-00112233445566ff"];
    for volume in kept {
        fs::write(cluster.bucket(volume, "mine").join("file"), "content").unwrap();
    }
    // As a probe makes them, and as far as it may get.
    cluster.bucket("ozone-up-probe-00112233445566aa", "probe");
    let written = cluster.bucket("ozone-up-probe-00112233445566bb", "probe");
    fs::write(written.join("probe"), vec![1; 64 << 10]).unwrap();
    fs::create_dir(cluster.mountpoint().join("ozone-up-probe-00112233445566cc")).unwrap();
    cluster.stop();
    cluster.restart();
    assert_eq!(names(&cluster.mountpoint()), kept);
    for volume in kept {
        let file = cluster.mountpoint().join(volume).join("mine/file");
        assert_eq!(fs::read(file).unwrap(), b"content");
    }
    cluster.stop();
}

#[test]
fn a_start_that_fails_records_no_ports() {
    let address = ("127.0.0.1", free_ports(1)[0]);
    let taken = TcpListener::bind(address).unwrap();
    let mut cluster = Cluster::new(ClusterOptions {
        sets: vec![format!("ozone.om.address={}:{}", address.0, address.1)],
        ..ClusterOptions::default()
    });
    let refused = cluster.try_start().expect_err("a refusal");
    assert_refused(&refused, &["ozone.om.address", "--auto-ports"]);
    let ports = cluster.dir().join("ports.properties");
    assert!(!ports.exists(), "{:?}", fs::read_to_string(&ports));
    drop(taken);
    cluster.restart();
    assert!(ports.exists());
    cluster.stop();
}

#[test]
fn auto_ports_replaces_the_ports_that_are_taken_by_now() {
    let mut cluster = Cluster::start(ClusterOptions {
        datanodes: 3,
        ..ClusterOptions::default()
    });
    let file = cluster.bucket("vol", "bucket").join("file");
    fs::write(&file, vec![7; 1 << 20]).unwrap();
    cluster.stop();
    let ports = fs::read_to_string(cluster.dir().join("ports.properties")).unwrap();
    let of = |key: &str| {
        let line = ports.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap()
            .trim_start_matches('=')
            .parse::<u16>()
            .unwrap()
    };
    let taken = [
        "ozone.om.address",
        "0/hdds.container.ipc.port",
        "1/hdds.container.ratis.server.port",
    ];
    let _taken = taken.map(|key| TcpListener::bind(("127.0.0.1", of(key))).unwrap());
    cluster.restart();
    assert!(fs::read(&file).unwrap() == [7; 1 << 20], "other bytes");
    fs::write(file.with_file_name("new"), vec![8; 1 << 20]).unwrap();
    cluster.stop();
}

#[test]
fn fewer_datanodes_than_hold_the_data_are_refused() {
    let mut cluster = Cluster::start(ClusterOptions {
        datanodes: 3,
        ..ClusterOptions::default()
    });
    cluster.stop();
    let dir = cluster.dir().to_str().unwrap();
    let output = ozone(&["up", "--auto-ports", "--dir", dir, "--datanodes", "1"]);
    assert_failed(&output, &[dir, "3 datanodes", "--datanodes 1"]);
}

#[test]
fn a_datanode_whose_directory_is_gone_is_not_begun_anew_without_a_word() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let file = cluster.bucket("vol", "bucket").join("f");
    fs::write(&file, vec![7; 1 << 20]).unwrap();
    cluster.stop();
    let (here, away) = (
        cluster.dir().join("datanode-1"),
        cluster.dir().join("elsewhere"),
    );
    fs::rename(&here, &away).unwrap();
    let refused = cluster.try_start().expect_err("a refusal");
    let name = here.display().to_string();
    assert_refused(&refused, &[&name, "is missing", "mkdir"]);
    assert!(!here.exists());
    fs::rename(&away, &here).unwrap();
    cluster.restart();
    assert!(fs::read(&file).unwrap() == vec![7; 1 << 20], "other bytes");
    cluster.stop();
}

fn pipeline_log(cluster: &Cluster) -> PathBuf {
    let is_log = |path: &Path| {
        path.file_name()
            .is_some_and(|n| n.to_str().unwrap().starts_with("log_"))
    };
    let logs = find(&cluster.dir().join("datanode-1/ratis"), &is_log);
    logs.into_iter().next().expect("the log of a pipeline")
}

#[test]
fn a_damaged_pipeline_is_the_reason_that_is_told() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    for n in 0..5 {
        let file = cluster.bucket("vol", "bucket").join(format!("f{n}"));
        let file = fs::File::create(file).unwrap();
        std::io::Write::write_all(&mut &file, &vec![7; 1 << 20]).unwrap();
        file.sync_all().unwrap();
    }
    cluster.kill9();
    let log = pipeline_log(&cluster);
    flip(&log, 16 + 40);
    let refused = cluster.try_start().expect_err("a refusal");
    let name = log.display().to_string();
    assert_refused(&refused, &["datanode 1", &name, "offset 16", "backup"]);
}

#[test]
fn a_damaged_pipeline_on_one_of_three_is_told_and_the_others_carry_on() {
    let mut cluster = Cluster::start(ClusterOptions {
        datanodes: 3,
        ..ClusterOptions::default()
    });
    let file = cluster.bucket("vol", "bucket").join("file");
    let write = |name: &str| {
        let mut file = fs::File::create(file.with_file_name(name)).unwrap();
        std::io::Write::write_all(&mut file, &vec![7; 1 << 20]).unwrap();
        file.sync_all().unwrap();
    };
    write("file");
    cluster.kill9();
    let log = pipeline_log(&cluster);
    flip(&log, 16 + 40);
    cluster.restart();
    let name = log.display().to_string();
    let text = cluster.log();
    let told = |line: &str| {
        ["ERROR", &name, "offset 16"]
            .iter()
            .all(|word| line.contains(word))
    };
    assert!(text.lines().any(told), "no error in {text}");
    write("other");
    for name in ["file", "other"] {
        let read = fs::read(file.with_file_name(name)).unwrap();
        assert!(read == vec![7; 1 << 20], "other bytes in {name}");
    }
    cluster.stop();
}

#[test]
fn what_is_not_enforced_is_refused_and_what_has_no_effect_is_told_once() {
    let mut cluster = Cluster::new(ClusterOptions {
        sets: vec!["ozone.acl.enabled=true".to_owned()],
        ..ClusterOptions::default()
    });
    let refused = cluster.try_start().expect_err("a refusal");
    assert_refused(&refused, &["ozone.acl.enabled", "not enforced"]);
    let idle = [
        "ozone.client.checksum.type=MD5",
        "ozone.recon.db.dir=/r",
        "hdds.block.token.enabled=false",
    ];
    let set = idle.map(|pair| format!("--set={pair}"));
    let output = ozone(&[
        "getconf",
        "confKey",
        "ozone.om.address",
        &set[0],
        &set[1],
        &set[2],
    ]);
    assert_eq!(output.stdout, b"127.0.0.1:9862\n");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    for pair in idle {
        let key = pair.split('=').next().unwrap();
        assert!(text.contains(key), "{text}");
    }
}

#[test]
fn a_cluster_that_is_not_there_is_told_with_its_address() {
    let host = ["--set", "ozone.om.address=no.such.host.invalid:9862"];
    let list = ["sh", "volume", "list"];
    let output = ozone(&[&host[..], &list].concat());
    assert_failed(&output, &["no.such.host.invalid:9862", "ozone.om.address"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let pair = format!("ozone.om.address={address}");
    let output = ozone(&[&["--set", &pair], &list[..]].concat());
    let address = address.to_string();
    assert_failed(&output, &[&address, "ozone.om.address", "running"]);
}

#[test]
fn a_directory_that_cannot_be_used_is_named_with_its_key() {
    let dirs = ["--set", "ozone.metadata.dirs=/proc/no/such"];
    for server in [&["scm", "--init"][..], &["om", "--init"]] {
        let output = ozone(&[&dirs[..], server].concat());
        assert_failed(&output, &["ozone.metadata.dirs", "/proc/no/such"]);
    }
}

#[test]
fn a_log_that_is_not_where_it_was_is_refused_and_nothing_is_lost() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let file = cluster.bucket("vol", "bucket").join("file");
    let written = fs::File::create(&file).unwrap();
    std::io::Write::write_all(&mut &written, &vec![7; 1 << 20]).unwrap();
    written.sync_all().unwrap();
    // Before anything of the state was ever durable, and after.
    for round in 0..2 {
        match round {
            0 => cluster.kill9(),
            _ => cluster.stop(),
        }
        for (log, key) in [
            ("om/ratis", "ozone.om.ratis.storage.dir"),
            ("scm/scm-ha", "ozone.scm.ratis.storage.dir"),
        ] {
            let (log, aside) = (cluster.dir().join(log), cluster.scratch().join("aside"));
            fs::rename(&log, &aside).unwrap();
            for _ in 0..2 {
                let refused = cluster.try_start().expect_err("a refusal");
                assert_refused(&refused, &[key, log.to_str().unwrap(), "disk"]);
            }
            fs::remove_dir_all(&log).unwrap();
            fs::rename(&aside, &log).unwrap();
        }
        cluster.restart();
        assert!(fs::read(&file).unwrap() == [7; 1 << 20], "other bytes");
    }
    cluster.stop();
}

#[test]
fn a_log_without_its_segments_is_refused_at_once() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    cluster.bucket("vol", "bucket");
    cluster.kill9();
    let is_segment = |path: &Path| {
        path.file_name()
            .is_some_and(|n| n.to_str().unwrap().starts_with("log_"))
    };
    for segment in find(&cluster.dir().join("om/ratis"), &is_segment) {
        fs::remove_file(segment).unwrap();
    }
    let refused = cluster.try_start().expect_err("a refusal");
    assert_refused(&refused, &["ozone.om.ratis.storage.dir", "no entry"]);
}

#[test]
fn a_file_that_is_no_configuration_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ozone-site.xml");
    let slip = "<configuration>\n<propertie><name>ozone.om.address</name><value>h:1</value></propertie></configuration>";
    for (content, word) in [
        ("", "<configuration>"),
        ("hello", "hello"),
        ("{\"json\": true}", "json"),
        (slip, "line 2"),
    ] {
        fs::write(&file, content).unwrap();
        let path = file.to_str().unwrap();
        let output = ozone(&["--conf", path, "getconf", "confKey", "ozone.om.address"]);
        assert_failed(&output, &[path, word]);
    }
}

#[test]
fn a_server_that_is_no_om_is_named_when_it_is_mounted() {
    let cluster = Cluster::start(ClusterOptions::default());
    let ports = fs::read_to_string(cluster.dir().join("ports.properties")).unwrap();
    let port = ports
        .lines()
        .find_map(|line| line.strip_prefix("ozone.scm.block.client.address="));
    let scm = format!("127.0.0.1:{}", port.unwrap());
    let output = ozone(&["mount", &scm, "/no/such/directory"]);
    assert_failed(&output, &[&scm, "ozone.om.address"]);
}

#[test]
fn make_up_leaves_what_a_killed_cluster_left_to_the_binary() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    cluster.kill9();
    let set = |key: &str, value: &Path| format!("{key}={}", value.display());
    let made = Command::new("make")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        // Without building anything, and with `true` as the binary.
        .args(["--old-file=build", "up", "BIN=true"])
        .arg(set("DIR", cluster.dir()))
        .arg(set("MOUNT", &cluster.mountpoint()))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    cluster.restart();
    cluster.stop();
}

#[test]
fn a_start_that_is_refused_late_ends_in_order() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    cluster.stop();
    let before = cluster.log().len();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    cluster.set(&format!(
        "ozone.om.http-address={}",
        taken.local_addr().unwrap()
    ));
    let refused = cluster.try_start().expect_err("a refusal");
    assert_refused(&refused, &["ozone.om.http-address"]);
    let log = cluster.log();
    assert!(!log[before..].contains("ERROR"), "{}", &log[before..]);
}

#[test]
fn om_init_says_that_it_waits_for_scm_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let scm = closed.local_addr().unwrap().to_string();
    drop(closed);
    let dirs = format!("--set=ozone.metadata.dirs={}", dir.path().display());
    let address = format!("--set=ozone.scm.block.client.address={scm}");
    let output = ozone(&[&dirs, &address, "om", "--init"]);
    let words = [
        "waiting for SCM",
        &scm,
        "ozone.scm.block.client.address",
        "start `ozone scm`",
    ];
    assert_failed(&output, &words);
}

#[test]
fn a_bare_ozone_shows_its_commands_and_a_version_its_revision() {
    let bare = ozone(&[]);
    assert_eq!(bare.status.code(), Some(1));
    assert!(String::from_utf8(bare.stderr).unwrap().contains("datanode"));
    let version = String::from_utf8(ozone(&["version"]).stdout).unwrap();
    assert!(version.contains("Revision: "), "{version}");
}
