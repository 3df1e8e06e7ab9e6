//! fsync means on disk: whatever was acknowledged is there after a kill and after a power cut.
//! `ROUNDS=500` or `MINUTES=60` makes a soak of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ozone_tests::content::{bytes, rng, rounds};
use ozone_tests::power::PowerDisk;
use ozone_tests::{Cluster, ClusterOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Files that grow at once, each by a writer of its own.
const FILES: u64 = 3;
/// The longest time from the first acknowledgement to the kill, in milliseconds.
const LATEST_KILL: u64 = 700;
/// How long the first acknowledgement may take.
const FIRST_ACK_LIMIT: Duration = Duration::from_secs(30);

/// A record whose fsync returned.
#[derive(Debug, Clone, Copy)]
struct Acked {
    file: u64,
    seed: u64,
    len: usize,
}

/// What one round wrote.
struct Round {
    dir: PathBuf,
    acked: Vec<Acked>,
}

impl Round {
    /// Writes into a new directory, and ends the cluster with `end` at a random moment.
    fn run(
        cluster: &mut Cluster,
        name: &str,
        rng: &mut StdRng,
        end: impl FnOnce(&mut Cluster),
    ) -> Self {
        let dir = cluster.bucket("vol", "durable").join(name);
        fs::create_dir(&dir).unwrap();
        let (sender, acks) = mpsc::channel();
        let writers: Vec<_> = (0..FILES)
            .map(|file| start_writer(&dir, file, rng.random(), sender.clone()))
            .collect();
        drop(sender);
        let lifetime = Duration::from_millis(rng.random_range(0..LATEST_KILL));
        let mut acked = receive_for(&acks, lifetime);
        end(cluster);
        for writer in writers {
            writer.join().expect("a writer that ended");
        }
        acked.extend(acks.try_iter());
        Self { dir, acked }
    }

    fn bytes(&self) -> usize {
        self.acked.iter().map(|acked| acked.len).sum()
    }

    /// Every acknowledged byte is there.
    fn check(&self) {
        for file in 0..FILES {
            let expected: Vec<u8> = self
                .acked
                .iter()
                .filter(|acked| acked.file == file)
                .flat_map(|acked| bytes(acked.seed, acked.len))
                .collect();
            if expected.is_empty() {
                continue;
            }
            let path = path(&self.dir, file);
            let found = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let path = path.display();
            assert!(
                found.len() >= expected.len(),
                "{path}: {} bytes were acknowledged, {} are left",
                expected.len(),
                found.len()
            );
            let differs = expected.iter().zip(&found).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{path}: first byte that differs");
        }
    }
}

fn path(dir: &Path, file: u64) -> PathBuf {
    dir.join(format!("file-{file}"))
}

/// Appends records with fsync until the cluster is gone.
fn start_writer(dir: &Path, file: u64, seed: u64, acks: Sender<Acked>) -> JoinHandle<()> {
    let path = path(dir, file);
    std::thread::spawn(move || {
        let mut rng = StdRng::seed_from_u64(seed);
        // Fails when the cluster ended before the first record.
        let Ok(mut output) = File::create_new(path) else {
            return;
        };
        loop {
            let len = match rng.random_range(0..4) {
                0 => 4 << 10,
                1 => 1 << 20,
                2 => rng.random_range(1..4 << 10),
                _ => rng.random_range(4 << 10..300 << 10),
            };
            let acked = Acked {
                file,
                seed: rng.random(),
                len,
            };
            let written = output.write_all(&bytes(acked.seed, len));
            if written.and_then(|()| output.sync_data()).is_err() {
                return;
            }
            acks.send(acked).expect("the test listens");
        }
    })
}

/// Waits for the first acknowledgement, and goes on for `lifetime`.
fn receive_for(acks: &Receiver<Acked>, lifetime: Duration) -> Vec<Acked> {
    let first = acks.recv_timeout(FIRST_ACK_LIMIT);
    let mut acked = vec![first.expect("an fsync that returns")];
    let deadline = Instant::now() + lifetime;
    while let Ok(next) = acks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        acked.push(next);
    }
    acked
}

fn survive(cluster: &mut Cluster, rounds: impl Iterator<Item = usize>, end: impl Fn(&mut Cluster)) {
    let mut rng = rng();
    let mut done = Vec::new();
    for n in rounds {
        let round = Round::run(cluster, &format!("round-{n}"), &mut rng, &end);
        let start = Instant::now();
        cluster.restart();
        let ready = start.elapsed().as_secs_f64();
        round.check();
        let (records, bytes) = (round.acked.len(), round.bytes());
        println!("round {n}: {records} records, {bytes} bytes are there, ready in {ready:.1} s");
        done.push(round);
    }
    // What survived once survives what follows.
    done.iter().for_each(Round::check);
}

#[test]
fn fsynced_data_survives_kill() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    survive(&mut cluster, rounds(10), Cluster::kill9);
}

#[test]
fn fsynced_data_survives_power_cut() {
    let disk = PowerDisk::new();
    let mut cluster = Cluster::start(ClusterOptions {
        dir: Some(disk.path().join("data")),
        ..ClusterOptions::default()
    });
    survive(&mut cluster, rounds(5), |cluster| disk.power_cut(cluster));
    // Before the disk under it goes away.
    cluster.stop();
}

#[test]
fn a_power_cut_loses_what_was_not_fsynced() {
    let disk = PowerDisk::new();
    let write = |name| {
        let mut file = File::create_new(disk.path().join(name)).unwrap();
        file.write_all(b"content").unwrap();
        file
    };
    write("fsynced").sync_all().unwrap();
    write("cached");
    disk.cut();
    assert_eq!(fs::read(disk.path().join("fsynced")).unwrap(), b"content");
    assert_ne!(
        fs::read(disk.path().join("cached")).ok().as_deref(),
        Some(&b"content"[..])
    );
}
