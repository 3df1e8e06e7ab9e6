//! Stopping while programs use the mount: it waits for them, and for them alone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;
use ozone_tests::power::PowerDisk;
use ozone_tests::refused::assert_refused;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};

/// Longest that the first attempt to unmount may take.
const STOP_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_cluster_that_was_told_to_stop_ends_once_the_last_program_has_left_its_mount() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let path = cluster.bucket("vol", "bucket").join("f");
    fs::write(&path, "content").unwrap();
    let used = File::open(&path).unwrap();
    cluster.signal(Signal::SIGTERM);
    wait_for(STOP_LIMIT, || {
        match cluster.errors().contains("stopping once more") {
            true => Ok(()),
            false => Err(format!("no word about the mount: {}", cluster.errors())),
        }
    });
    drop(used);
    cluster.wait_for_end();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(cluster.mountpoint().to_str().unwrap()));
    cluster.restart();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mountpoint = cluster.mountpoint();
    let mount = mounts
        .lines()
        .find(|line| line.contains(mountpoint.to_str().unwrap()))
        .unwrap();
    assert!(mount.contains("noatime"), "{mount}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "content");
    cluster.stop();
}

#[test]
fn a_cluster_whose_disk_fails_ends_with_the_reason_and_is_whole_once_the_disk_is_back() {
    let disk = PowerDisk::new();
    let mut cluster = Cluster::start(ClusterOptions {
        dir: Some(disk.path().join("data")),
        ..ClusterOptions::default()
    });
    let bucket = cluster.bucket("vol", "bucket");
    let write = |name: &str| {
        let mut file = File::create(bucket.join(name))?;
        file.write_all(b"content")?;
        file.sync_all()
    };
    write("kept").unwrap();
    disk.fail();
    write("lost").expect_err("a disk that does nothing");
    let ended = cluster.wait_for_failure();
    // Whichever of its servers comes to write first.
    assert_refused(&ended, &["has stopped", "disk", "start again"]);
    disk.mend();
    cluster.restart();
    assert_eq!(fs::read(bucket.join("kept")).unwrap(), b"content");
    write("more").unwrap();
    cluster.stop();
}
