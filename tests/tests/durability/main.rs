//! fsync means on disk: whatever was acknowledged is there after a kill and after a power cut, and
//! nothing is there that was never written.
//! `ROUNDS=500` or `MINUTES=60` makes a soak of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod appends;
mod replaces;

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ozone_tests::content::{bytes, rng, rounds};
use ozone_tests::power::PowerDisk;
use ozone_tests::{Cluster, ClusterOptions};
use rand::Rng;
use rand::rngs::StdRng;

use appends::Appends;
use replaces::Replaces;

/// Files that grow at once, each by a writer of its own.
const FILES: u64 = 3;
/// Directories whose names are replaced and removed, each by a writer of its own.
const DIRS: u64 = 2;
/// The longest time from the first acknowledgement to the kill, in milliseconds.
const LATEST_KILL: u64 = 700;
/// How long the first acknowledgement may take.
const FIRST_ACK_LIMIT: Duration = Duration::from_secs(30);

/// Bytes that a seed gives again.
#[derive(Debug, Clone, Copy)]
struct Content {
    seed: u64,
    len: usize,
}

impl Content {
    fn random(rng: &mut StdRng) -> Self {
        let len = match rng.random_range(0..4) {
            0 => 4 << 10,
            1 => 1 << 20,
            2 => rng.random_range(1..4 << 10),
            _ => rng.random_range(4 << 10..300 << 10),
        };
        let seed = rng.random();
        Self { seed, len }
    }

    fn bytes(self) -> Vec<u8> {
        bytes(self.seed, self.len)
    }
}

/// What a writer did until the cluster was gone.
trait Written {
    /// How many of its changes were acknowledged.
    fn acked(&self) -> usize;

    /// Panics unless all of them are there, and nothing but what it wrote.
    fn check(&self);
}

/// A writer at work. It tells of each acknowledgement.
type Writer = JoinHandle<Box<dyn Written + Send>>;

fn start<W: Written + Send + 'static>(work: impl FnOnce() -> W + Send + 'static) -> Writer {
    std::thread::spawn(move || -> Box<dyn Written + Send> { Box::new(work()) })
}

fn start_writers(dir: &Path, rng: &mut StdRng, acks: &Sender<()>) -> Vec<Writer> {
    let mut writers = Vec::new();
    for n in 0..FILES {
        let (path, seed, acks) = (dir.join(format!("file-{n}")), rng.random(), acks.clone());
        writers.push(start(move || Appends::run(&path, seed, &acks)));
    }
    for n in 0..DIRS {
        let (path, seed, acks) = (dir.join(format!("dir-{n}")), rng.random(), acks.clone());
        writers.push(start(move || Replaces::run(&path, seed, &acks)));
    }
    writers
}

/// What one round wrote.
struct Round(Vec<Box<dyn Written + Send>>);

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
        let writers = start_writers(&dir, rng, &sender);
        drop(sender);
        let lifetime = Duration::from_millis(rng.random_range(0..LATEST_KILL));
        live(&acks, lifetime);
        end(cluster);
        let join = |writer: Writer| writer.join().expect("a writer that ended");
        Self(writers.into_iter().map(join).collect())
    }

    fn acked(&self) -> usize {
        self.0.iter().map(|written| written.acked()).sum()
    }

    fn check(&self) {
        self.0.iter().for_each(|written| written.check());
    }
}

/// Waits for the first acknowledgement, and goes on for `lifetime`.
fn live(acks: &Receiver<()>, lifetime: Duration) {
    acks.recv_timeout(FIRST_ACK_LIMIT)
        .expect("an fsync that returns");
    let deadline = Instant::now() + lifetime;
    while acks
        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        .is_ok()
    {}
}

/// How a round ends: what is said of it, and what is done.
type End<'a> = (&'a str, &'a dyn Fn(&mut Cluster));

fn survive(cluster: &mut Cluster, rounds: impl Iterator<Item = usize>, (name, end): End<'_>) {
    let mut rng = rng();
    let mut done = Vec::new();
    for n in rounds {
        let round = Round::run(cluster, &format!("round-{n}"), &mut rng, end);
        let start = Instant::now();
        cluster.restart();
        let ready = start.elapsed().as_secs_f64();
        round.check();
        let acked = round.acked();
        println!(
            "round {n}, {name}: {acked} acknowledged changes are there, ready in {ready:.1} s"
        );
        done.push(round);
    }
    // What survived once survives what follows.
    done.iter().for_each(Round::check);
    let acked: usize = done.iter().map(Round::acked).sum();
    println!(
        "{} rounds, each ended by {name}: {acked} acknowledged changes are there",
        done.len()
    );
}

fn three_copies() -> ClusterOptions {
    ClusterOptions {
        datanodes: 3,
        replication: Some("THREE"),
        ..ClusterOptions::default()
    }
}

const KILL: End<'static> = ("kill -9", &Cluster::kill9);

#[test]
fn fsynced_data_survives_kill() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    survive(&mut cluster, rounds(8), KILL);
}

#[test]
fn fsynced_data_in_three_copies_survives_kill() {
    let mut cluster = Cluster::start(three_copies());
    survive(&mut cluster, rounds(3), KILL);
}

#[test]
fn fsynced_data_survives_kills_during_start() {
    let start = Instant::now();
    let mut cluster = Cluster::start(ClusterOptions::default());
    let ready = start.elapsed();
    let rng = RefCell::new(rng());
    let end = |cluster: &mut Cluster| {
        cluster.kill9();
        for _ in 0..3 {
            let moment = ready.mul_f64(rng.borrow_mut().random_range(0.0..1.0));
            cluster.kill_during_start(moment);
        }
    };
    survive(
        &mut cluster,
        rounds(4),
        ("kill -9, and three during the start", &end),
    );
}

/// Every server of the cluster is on the one disk that loses power.
fn survive_power_cuts(options: ClusterOptions, rounds: impl Iterator<Item = usize>) {
    let disk = PowerDisk::new();
    let mut cluster = Cluster::start(ClusterOptions {
        dir: Some(disk.path().join("data")),
        ..options
    });
    let cut = |cluster: &mut Cluster| disk.power_cut(cluster);
    survive(&mut cluster, rounds, ("power cut", &cut));
    // Before the disk under it goes away.
    cluster.stop();
}

#[test]
fn fsynced_data_survives_power_cuts() {
    survive_power_cuts(ClusterOptions::default(), rounds(6));
}

/// No copy is left that kept its power, so each has to be on disk before it counts.
#[test]
fn fsynced_data_in_three_copies_survives_power_cuts() {
    survive_power_cuts(three_copies(), rounds(3));
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
