//! What waits for another server says for whom, and what the servers tell of themselves is to be read
//! by people.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions, Daemon, DaemonOptions, Daemons, http};

/// How long a process may take to say what it waits for.
const WORD: Duration = Duration::from_secs(30);

fn wait_for_words(cluster: &Daemons, daemon: Daemon, words: &[&str]) {
    wait_for(WORD, || {
        let log = cluster.log(daemon);
        let said = |line: &str| words.iter().all(|word| line.contains(word));
        match log.lines().any(said) {
            true => Ok(()),
            false => Err(format!("no line with {words:?} in: {log}")),
        }
    });
}

#[test]
fn a_datanode_without_scm_and_a_mount_without_om_say_whom_they_wait_for() {
    let mut cluster = Daemons::new(DaemonOptions::one_copy());
    cluster.spawn(Daemon::Datanode(1));
    cluster.spawn(Daemon::Mount);
    let key = "ozone.scm.datanode.address";
    let scm = cluster.property(key).to_owned();
    wait_for_words(&cluster, Daemon::Datanode(1), &["WARN", key, &scm]);
    let om = cluster.property("ozone.om.address").to_owned();
    wait_for_words(&cluster, Daemon::Mount, &["waiting for an OM", &om]);
}

#[test]
fn health_of_the_om_is_fields_and_a_clean_stop_complains_about_nothing() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    cluster.bucket("vol", "bucket");
    let (code, body) = http::get(cluster.om_http(), "/health").unwrap();
    assert_eq!(code, 200, "{body}");
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    let details = &health["details"];
    assert_eq!(details["role"], "LEADER", "{body}");
    for number in ["term", "lastLog", "committed", "applied"] {
        assert!(details[number].is_u64(), "{number} in {body}");
    }
    let before = cluster.log().len();
    cluster.stop();
    let log = cluster.log();
    let complaint = |line: &&str| line.contains("ERROR") || line.contains("fuser::mnt");
    let complaints: Vec<_> = log[before..].lines().filter(complaint).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
