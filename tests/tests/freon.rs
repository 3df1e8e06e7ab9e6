//! `ozone freon` against a cluster.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::process::Output;

use ozone_tests::{Cluster, ClusterOptions};

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a generator on the keys of `prefix` and gives what it printed, whether it did well or not.
fn freon(cluster: &Cluster, generator: &str, prefix: &str, more: &[&str]) -> Output {
    let place = ["-v", "load", "-b", "keys", "-p", prefix];
    cluster.ozone(&[&["freon", generator], &place[..], more].concat())
}

#[test]
fn generated_keys_are_there_and_have_one_digest() {
    let cluster = Cluster::start(ClusterOptions::default());
    // Inline keys, and keys of blocks that end within a chunk.
    for (prefix, size, bytes) in [("small", "10KB", 10 << 10), ("large", "1500KB", 1500 << 10)] {
        let made = freon(
            &cluster,
            "ockg",
            prefix,
            &["-n", "40", "-t", "4", "-s", size],
        );
        assert!(made.status.success(), "{}", errors(&made));
        for line in ["key-create", "Failures: 0", "Successful executions: 40"] {
            assert!(text(&made).lines().any(|l| l == line), "{}", text(&made));
        }
        let dir = cluster.mountpoint().join("load/keys").join(prefix);
        let first = fs::read(dir.join("0")).unwrap();
        assert_eq!(first.len(), bytes, "{prefix}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 40);
        for n in 1..40 {
            let key = fs::read(dir.join(n.to_string())).unwrap();
            assert!(key == first, "{prefix}/{n} differs from {prefix}/0");
        }
        let checked = freon(&cluster, "ockv", prefix, &["-n", "40"]);
        assert!(checked.status.success(), "{}", errors(&checked));
        assert!(text(&checked).contains("Successful executions: 40"));
    }
}

#[test]
fn a_key_of_other_content_and_a_missing_key_are_found() {
    let cluster = Cluster::start(ClusterOptions::default());
    let options = ["-n", "8", "-t", "2", "-s", "100KB"];
    let made = freon(&cluster, "ozone-client-key-generator", "p", &options);
    assert!(made.status.success(), "{}", errors(&made));
    let dir = cluster.mountpoint().join("load/keys/p");
    let mut content = fs::read(dir.join("5")).unwrap();
    content[60_000] ^= 1;
    fs::write(dir.join("5"), content).unwrap();
    let checked = freon(&cluster, "ockv", "p", &["-n", "9", "-f"]);
    assert_eq!(checked.status.code(), Some(255));
    let said = errors(&checked);
    assert!(said.contains("digest of p/5"), "{said}");
    assert!(
        said.contains("key-validate 8 failed: KEY_NOT_FOUND"),
        "{said}"
    );
    assert!(said.contains("One or more freon test is failed."), "{said}");
    assert!(text(&checked).contains("Failures: 2\nSuccessful executions: 7"));
}
