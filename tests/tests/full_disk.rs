//! A full disk is an error that says so. Nothing that was acknowledged is lost, and when there is
//! room again, writing goes on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ozone_tests::content::bytes;
use ozone_tests::power::PowerDisk;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};

const MIB: u64 = 1 << 20;
/// Of a disk that holds a cluster and little more.
const DISK: u64 = 400 * MIB;
/// What datanodes leave free on it.
const RESERVE: &str = "hdds.datanode.volume.min.free.space=96MB";
/// How long what is deleted stays on it.
const GRACE: &str = "ozone.om.freed.block.grace=1s";
/// Left free where a cluster can be started and cannot be written to.
const NEARLY_FULL: u64 = 48 * MIB;
/// Of one file.
const FILE: usize = 4 << 20;
/// How long a cluster may take to see that there is room again.
const RECOVERY: Duration = Duration::from_secs(60);

fn on_disk(disk: &PowerDisk) -> ClusterOptions {
    ClusterOptions {
        dir: Some(disk.path().join("data")),
        sets: vec![RESERVE.to_owned(), GRACE.to_owned()],
        ..ClusterOptions::default()
    }
}

fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Files that were acknowledged, with their seeds.
#[derive(Default)]
struct Acked(Vec<(PathBuf, u64)>);

impl Acked {
    fn write(&mut self, dir: &Path) -> io::Result<()> {
        let seed = self.0.len() as u64;
        let path = dir.join(format!("file-{seed}"));
        write_durably(&path, &bytes(seed, FILE))?;
        self.0.push((path, seed));
        Ok(())
    }

    /// Writes until an error comes, which has to come while there is room for no more files than
    /// the disk has.
    fn fill(&mut self, dir: &Path) -> io::Error {
        let most = DISK / FILE as u64;
        (0..most)
            .find_map(|_| self.write(dir).err())
            .expect("a disk that is full")
    }

    fn check(&self) {
        for (path, seed) in &self.0 {
            let found = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(found == bytes(*seed, FILE), "{} differs", path.display());
        }
    }
}

fn assert_put_says_that_the_disk_is_full(cluster: &Cluster) {
    let local = cluster.scratch().join("local");
    fs::write(&local, bytes(1, FILE)).unwrap();
    let output = cluster.ozone(&[
        "sh",
        "key",
        "put",
        "vol/bucket/put",
        local.to_str().unwrap(),
    ]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{error}");
    assert!(error.contains("space"), "{error}");
    let output = cluster.ozone(&["sh", "key", "cat", "vol/bucket/put"]);
    assert!(
        !output.status.success(),
        "a key that was never acknowledged"
    );
}

#[test]
fn a_full_disk_is_enospc_and_writing_goes_on_when_there_is_room() {
    let disk = PowerDisk::sized(DISK);
    disk.take(150 * MIB);
    let mut cluster = Cluster::start(on_disk(&disk));
    let bucket = cluster.bucket("vol", "bucket");
    let mut acked = Acked::default();
    let error = acked.fill(&bucket);
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(!acked.0.is_empty(), "no file fitted");
    assert_put_says_that_the_disk_is_full(&cluster);
    acked.check();
    disk.free();
    wait_for(RECOVERY, || acked.write(&bucket).map_err(|e| e.to_string()));
    cluster.stop();
    cluster.restart();
    acked.check();
    acked.write(&bucket).unwrap();
    // Before the disk under it goes away.
    cluster.stop();
}

#[test]
fn a_disk_that_others_fill_stops_writes_and_loses_nothing() {
    let disk = PowerDisk::sized(DISK);
    let mut cluster = Cluster::start(on_disk(&disk));
    let bucket = cluster.bucket("vol", "bucket");
    let mut acked = Acked::default();
    acked.write(&bucket).unwrap();
    disk.take(DISK);
    // Small files need no datanode, but a log.
    let small = |n| write_durably(&bucket.join(format!("small-{n}")), &bytes(n, 4 << 10));
    let error = (0..10_000).find_map(|n| small(n).err());
    let error = error.expect("a disk that is full");
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    acked.check();
    // What gives room back goes on.
    fs::rename(bucket.join("file-0"), bucket.join("moved")).unwrap();
    fs::remove_file(bucket.join("moved")).unwrap();
    acked.0.clear();
    disk.free();
    wait_for(RECOVERY, || acked.write(&bucket).map_err(|e| e.to_string()));
    cluster.kill9();
    cluster.restart();
    acked.check();
    cluster.stop();
}

#[test]
fn a_cluster_that_finds_its_disk_nearly_full_starts_and_deleting_makes_room() {
    let disk = PowerDisk::sized(DISK);
    let mut cluster = Cluster::start(on_disk(&disk));
    let bucket = cluster.bucket("vol", "bucket");
    let mut acked = Acked::default();
    for _ in 0..40 {
        acked.write(&bucket).unwrap();
    }
    cluster.stop();
    disk.leave(NEARLY_FULL);
    cluster.restart();
    let summary = cluster.summary().join("\n");
    let first = "Ozone is up for reading and deleting in ";
    assert!(summary.starts_with(first), "{summary}");
    assert!(summary.contains("nearly full"), "{summary}");
    assert!(summary.contains("MiB are freed"), "{summary}");
    acked.check();
    let full = write_durably(&bucket.join("more"), &bytes(1, FILE)).expect_err("a full disk");
    assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    for (path, _) in acked.0.drain(..) {
        fs::remove_file(path).unwrap();
    }
    let mut attempts = 0;
    let written = wait_for(RECOVERY, || {
        attempts += 1;
        let file = bucket.join(format!("after-{attempts}"));
        let written = write_durably(&file, &bytes(attempts, FILE));
        written.map(|()| file).map_err(|e| e.to_string())
    });
    assert!(fs::read(written).unwrap() == bytes(attempts, FILE));
    cluster.stop();
}

#[test]
fn a_new_cluster_on_a_full_disk_is_refused_with_the_disk_that_is_full() {
    let disk = PowerDisk::sized(DISK);
    let mut cluster = Cluster::new(on_disk(&disk));
    for left in [0, NEARLY_FULL] {
        disk.leave(left);
        let refused = cluster.try_start().expect_err("a refusal");
        assert_eq!(refused.code, Some(255), "{}", refused.text);
        let text = refused.text.to_lowercase();
        assert!(text.contains("no space left"), "{}", refused.text);
        assert!(text.contains("free"), "{}", refused.text);
        let dir = cluster.dir().display().to_string();
        assert!(refused.text.contains(&dir), "{}", refused.text);
        disk.free();
    }
    cluster.restart();
    let bucket = cluster.bucket("vol", "bucket");
    write_durably(&bucket.join("f"), b"content").unwrap();
    cluster.stop();
}
