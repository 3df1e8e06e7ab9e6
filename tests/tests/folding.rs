//! Small durable writes ride in the OM's log and move into blocks later: nobody notices, whatever is
//! killed in between.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ozone_tests::content::{bytes, rng, rounds};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};
use rand::Rng;

/// Bytes of one append.
const RECORD: usize = 300;
/// How long the background may take.
const FOLD_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of the key that are in blocks.
fn in_blocks(cluster: &Cluster, key: &str) -> u64 {
    let output = cluster.ozone(&["sh", "key", "info", key]);
    assert!(output.status.success(), "{output:?}");
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let locations = info["ozoneKeyLocations"].as_array().unwrap();
    locations
        .iter()
        .map(|l| l["length"].as_u64().unwrap())
        .sum()
}

fn wait_until_folded(cluster: &Cluster, key: &str, size: u64) {
    wait_for(FOLD_LIMIT, || match in_blocks(cluster, key) {
        folded if folded == size => Ok(()),
        folded => Err(format!("{folded} of {size} bytes are in blocks")),
    });
}

/// Appends records with fsync.
fn append(path: &Path, seed: u64, records: usize) -> Vec<u8> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    let data = bytes(seed, records * RECORD);
    for record in data.chunks(RECORD) {
        file.write_all(record).unwrap();
        file.sync_data().unwrap();
    }
    data
}

#[test]
fn small_fsynced_writes_move_into_blocks_and_survive_kills_meanwhile() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let dir = cluster.bucket("vol", "small");
    let log = dir.join("log");
    let mut rng = rng();
    let mut expected = Vec::new();
    for _ in rounds(3) {
        // Folding begins after some tens of appends and goes on beside them.
        let records = rng.random_range(70..400);
        expected.extend(append(&log, rng.random(), records));
        cluster.kill9();
        cluster.restart();
        assert!(
            fs::read(&log).unwrap() == expected,
            "the log is not what was written"
        );
    }
    fs::write(dir.join("one"), bytes(1, 5000)).unwrap();
    File::open(dir.join("one")).unwrap().sync_all().unwrap();
    fs::rename(dir.join("one"), dir.join("moved")).unwrap();
    wait_until_folded(&cluster, "/vol/small/log", expected.len() as u64);
    wait_until_folded(&cluster, "/vol/small/moved", 5000);
    cluster.kill9();
    cluster.restart();
    assert!(
        fs::read(&log).unwrap() == expected,
        "the log is not what was written"
    );
    assert!(fs::read(dir.join("moved")).unwrap() == bytes(1, 5000));
    cluster.stop();
}
