//! What has to be right before a cluster starts: its directories, its addresses, its settings. What is wrong is
//! named, and nothing is lost by trying.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use ozone_tests::cluster::binary;
use ozone_tests::refused::assert_refused;
use ozone_tests::{Cluster, ClusterOptions, Refused};

#[test]
fn a_cluster_whose_namespace_is_gone_refuses_to_start_until_it_is_back() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let path = cluster.bucket("vol", "bucket").join("f");
    fs::write(&path, "content").unwrap();
    cluster.stop();
    let data = cluster.dir().join("om/data");
    let aside = cluster.dir().join("om/aside");
    fs::rename(&data, &aside).unwrap();
    let logs = cluster.dir().join("om/ratis").display().to_string();
    let refused = cluster.try_start().expect_err("a refusal");
    assert_refused(&refused, &[data.to_str().unwrap(), &logs]);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&aside, &data).unwrap();
    cluster.restart();
    assert_eq!(fs::read_to_string(&path).unwrap(), "content");
    cluster.stop();
    let counted = fs::read_to_string(data.join("omMetrics")).unwrap();
    assert!(counted.starts_with(r#"{"numKeys":"#), "{counted}");
}

#[test]
fn http_is_served_to_this_machine_alone_without_security() {
    for key in ["ozone.om.http-address", "ozone.scm.http-address"] {
        let mut cluster = Cluster::new(ClusterOptions::default());
        cluster.set(&format!("{key}=0.0.0.0:0"));
        let refused = cluster.try_start().expect_err("a refusal");
        assert_refused(&refused, &[key, "0.0.0.0:0", "ozone.security.enabled"]);
    }
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // One of the well-known ones: whoever else has it, it is taken.
    let _taken = TcpListener::bind("127.0.0.1:9860");
    let output = Command::new(binary())
        .args(["up", "--dir", data.to_str().unwrap()])
        .env_remove("OZONE_CONF_DIR")
        .output()
        .unwrap();
    let words = ["cannot listen on 127.0.0.1", "--auto-ports"];
    assert_refused(&Refused::from(&output), &words);
    for made in ["scm", "om", "datanode-1"] {
        assert!(!data.join(made).exists(), "{made}");
    }
}

#[test]
fn a_mount_that_cannot_be_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (data, busy) = (dir.path().join("data"), dir.path().join("busy"));
    fs::create_dir_all(busy.join("precious")).unwrap();
    let (data, busy) = (data.to_str().unwrap(), busy.to_str().unwrap());
    let missing = format!("{busy}/missing");
    for (mount, option, words) in [
        (busy, "allow_other", "precious"),
        (missing.as_str(), "allow_other", "does not exist"),
        (busy, "nonsense", "nonsense"),
    ] {
        let up = ["up", "--auto-ports", "--dir", data, "--mount", mount];
        let output = Command::new(binary())
            .args([&up[..], &["-o", option]].concat())
            .env_remove("OZONE_CONF_DIR")
            .output()
            .unwrap();
        assert_refused(&Refused::from(&output), &[words]);
        for made in ["scm", "om", "datanode-1"] {
            assert!(!Path::new(data).join(made).exists(), "{made}");
        }
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    for words in [
        &["getconf", "confKey", "ozone.om.address"][..],
        &["getconf", "list"],
        &["version"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(binary())
            .args(words)
            .env_remove("OZONE_CONF_DIR")
            .stdout(full)
            .output()
            .unwrap();
        assert_refused(&Refused::from(&output), &["No space left on device"]);
    }
}
