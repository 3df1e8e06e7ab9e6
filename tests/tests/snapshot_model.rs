//! Random changes of a tree, snapshots and deletions of snapshots, kills and power cuts: every snapshot
//! shows what was recorded when it was taken, and when everything is deleted, nothing is left on disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ozone_tests::content::{number, rng};
use ozone_tests::corrupt::find;
use ozone_tests::power::PowerDisk;
use ozone_tests::tree::{Change, Seen, look, same};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};
use rand::Rng;
use rand::rngs::StdRng;

/// How long it may take until bytes are freed.
const FREED_LIMIT: Duration = Duration::from_secs(60);
/// What a cluster wrote to find out that it is ready, and may keep as long as it runs.
const PROBE: u64 = 64 << 10;

struct World {
    disk: PowerDisk,
    cluster: Cluster,
    bucket: PathBuf,
    rng: StdRng,
    recorded: BTreeMap<String, BTreeMap<PathBuf, Seen>>,
    taken: u32,
}

impl World {
    fn new() -> Self {
        let disk = PowerDisk::new();
        let sets = [
            "ozone.block.deleting.service.interval=300ms",
            "ozone.snapshot.deleting.service.interval=300ms",
            "ozone.om.freed.block.grace=500ms",
        ];
        let cluster = Cluster::start(ClusterOptions {
            dir: Some(disk.path().join("data")),
            sets: sets.map(str::to_owned).to_vec(),
            ..Default::default()
        });
        let bucket = cluster.bucket("vol", "bucket");
        Self {
            disk,
            cluster,
            bucket,
            rng: rng(),
            recorded: BTreeMap::new(),
            taken: 0,
        }
    }

    fn sh(&self, args: &[&str]) {
        let output = self.cluster.ozone(&[&["sh", "snapshot"], args].concat());
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    fn change(&mut self) {
        // Many changes fail, as they should: names are missing or taken.
        let _ = Change::any(&mut self.rng).make(&self.bucket);
    }

    /// What is not closed and committed is no part of a snapshot.
    fn take(&mut self) {
        let root = File::open(&self.bucket).unwrap();
        nix::unistd::syncfs(&root).unwrap();
        let seen = look(&self.bucket);
        let name = format!("snap{}", self.taken);
        self.taken += 1;
        self.sh(&["create", "vol/bucket", &name]);
        self.recorded.insert(name, seen);
    }

    fn delete(&mut self) {
        let at = self.rng.random_range(0..self.recorded.len().max(1));
        let Some(name) = self.recorded.keys().nth(at).cloned() else {
            return;
        };
        self.recorded.remove(&name);
        self.sh(&["delete", "vol/bucket", &name]);
    }

    fn interrupt(&mut self) {
        match self.rng.random_range(0..3) {
            0 => self.cluster.stop(),
            1 => self.cluster.kill9(),
            _ => self.disk.power_cut(&mut self.cluster),
        }
        self.cluster.restart();
    }

    fn check(&self, when: &str) {
        let past = self.bucket.join(".snapshot");
        let mut names: Vec<_> = fs::read_dir(&past)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert!(names.iter().eq(self.recorded.keys()), "{when}: {names:?}");
        for (name, seen) in &self.recorded {
            same(seen, &look(&past.join(name)), &format!("{when}: {name}"));
        }
    }
}

/// Bytes that blocks take on the datanode's disk.
fn used(dir: &Path) -> u64 {
    let is_block = |path: &Path| path.extension().is_some_and(|e| e == "block");
    let files = find(&dir.join("datanode-1/data"), &is_block);
    let sizes = files
        .iter()
        .filter_map(|file| Some(file.metadata().ok()?.blocks() * 512));
    sizes.sum()
}

#[test]
fn snapshots_stay_what_they_were_over_changes_kills_and_power_cuts() {
    let mut world = World::new();
    for round in 0..number("ROUNDS", 6) {
        for _ in 0..5 {
            (0..40).for_each(|_| world.change());
            match world.rng.random_range(0..4) {
                0 => world.delete(),
                _ => world.take(),
            }
        }
        world.check(&format!("round {round}, before"));
        world.interrupt();
        world.check(&format!("round {round}, after"));
    }
    while !world.recorded.is_empty() {
        world.delete();
    }
    for entry in fs::read_dir(&world.bucket).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() && !path.is_symlink() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }
    wait_for(FREED_LIMIT, || match used(world.cluster.dir()) {
        used if used <= PROBE => Ok(()),
        used => Err(format!("blocks take {used} bytes")),
    });
}
