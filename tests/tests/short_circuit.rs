//! Long streams on the machine of their only datanode go straight into the files of blocks, and are read from them:
//! the same promises hold as for bytes that go through the datanode.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use ozone_tests::power::PowerDisk;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions, content, corrupt};

const MIB: usize = 1 << 20;
/// What a datanode stores by itself of a block.
const BEGINNING: usize = 32 * MIB;
/// No whole number of pages.
const LENGTH: usize = 100 * MIB + 1234;
/// A datanode that is slow to lend a file is passed by, and the next attempt finds it faster.
const LIMIT: Duration = Duration::from_secs(120);

fn placed(cluster: &Cluster) -> u64 {
    cluster.metric("datanode_placed_bytes_total", &[])
}

fn read_in_place(cluster: &Cluster) -> u64 {
    cluster.metric("datanode_read_in_place_bytes_total", &[])
}

/// Repeats `work` until the count that `counted` gives has grown by `least`.
fn until_grown<T>(counted: impl Fn() -> u64, least: usize, mut work: impl FnMut() -> T) -> T {
    wait_for(LIMIT, || {
        let before = counted();
        let done = work();
        match (counted() - before) as usize {
            grown if grown >= least => Ok(done),
            grown => Err(format!("{grown} bytes of at least {least}")),
        }
    })
}

/// Writes as programs do, a piece at a time.
fn write(file: &mut File, bytes: &[u8]) {
    for piece in bytes.chunks(MIB) {
        file.write_all(piece).unwrap();
    }
}

fn written(path: &Path, seed: u64) -> Vec<u8> {
    let bytes = content::bytes(seed, LENGTH);
    let mut file = File::create(path).unwrap();
    write(&mut file, &bytes);
    file.sync_all().unwrap();
    bytes
}

/// Without megabytes of output when they differ.
fn same(left: &[u8], right: &[u8]) {
    let differs = left.iter().zip(right).position(|(a, b)| a != b);
    assert_eq!((left.len(), differs), (right.len(), None));
}

fn is_block(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "block")
}

#[test]
fn a_long_stream_goes_into_the_file_of_its_block_and_is_read_from_there() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let path = cluster.bucket("vol", "bucket").join("f");
    let expected = LENGTH - BEGINNING;
    let write_it = || written(&path, 1);
    let bytes = until_grown(|| placed(&cluster), expected * 3 / 4, write_it);
    wait_for(LIMIT, || {
        cluster.kill9();
        cluster.restart();
        same(&fs::read(&path).unwrap(), &bytes);
        match read_in_place(&cluster) as usize {
            read if read >= LENGTH / 2 => Ok(()),
            read => Err(format!("{read} bytes")),
        }
    });
    // It goes on where it ended, and again.
    for round in 0..3 {
        let more = content::bytes(100 + round, 40 * MIB + 77);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        write(&mut file, &more);
        drop(file);
        let read = fs::read(&path).unwrap();
        same(&read[read.len() - more.len()..], &more);
    }
    same(&fs::read(&path).unwrap()[..LENGTH], &bytes);
}

#[test]
fn a_stream_goes_in_place_whatever_its_writes_are_cut_into() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    for piece in [10 << 10, 100_000, MIB - 48, 3 * MIB + 1] {
        let path = bucket.join(format!("f{piece}"));
        // More than a mount holds in memory: it is committed on the way.
        let bytes = content::bytes(piece as u64, 2 * LENGTH);
        let expected = bytes.len() - BEGINNING;
        until_grown(
            || placed(&cluster),
            expected / 2,
            || {
                let mut file = File::create(&path).unwrap();
                for (n, part) in bytes.chunks(piece).enumerate() {
                    file.write_all(part).unwrap();
                    // As when another thread of a program starts a process: a descriptor is closed, and the stream goes on.
                    if n == bytes.len() / piece / 2 {
                        drop(file.try_clone().unwrap());
                    }
                }
                file.sync_all().unwrap();
            },
        );
        same(&fs::read(&path).unwrap(), &bytes);
    }
}

#[test]
fn bytes_that_were_fsynced_in_place_survive_power_cuts() {
    let disk = PowerDisk::new();
    let mut cluster = Cluster::start(ClusterOptions {
        dir: Some(disk.path().join("data")),
        ..ClusterOptions::default()
    });
    let bucket = cluster.bucket("vol", "bucket");
    let bytes = content::bytes(2, 2 * LENGTH);
    for round in 0..3 {
        let path = bucket.join(format!("f-{round}"));
        let mut file = until_grown(
            || placed(&cluster),
            1,
            || {
                let mut file = File::create(&path).unwrap();
                write(&mut file, &bytes[..LENGTH]);
                file.sync_all().unwrap();
                file
            },
        );
        write(&mut file, &bytes[LENGTH..][..(round + 1) * 30 * MIB]);
        disk.power_cut(&mut cluster);
        drop(file);
        cluster.restart();
        let read = fs::read(&path).unwrap();
        assert!(read.len() >= LENGTH, "{} bytes are left", read.len());
        same(&read, &bytes[..read.len()]);
        // What was not committed is written over by what comes now.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        write(&mut file, &bytes[read.len()..]);
        drop(file);
        same(&fs::read(&path).unwrap(), &bytes);
    }
    // Before the disk under it goes away.
    cluster.stop();
}

#[test]
fn damage_is_never_read_in_place() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let path = cluster.bucket("vol", "bucket").join("f");
    let bytes = written(&path, 3);
    cluster.stop();
    let blocks = corrupt::find(cluster.dir(), &is_block);
    let longest = blocks
        .iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len());
    corrupt::flip(longest.unwrap(), 50 * MIB as u64);
    cluster.restart();
    let mut file = File::open(&path).unwrap();
    let (mut read, mut piece) = (0, vec![0; MIB]);
    let error = loop {
        match file.read(&mut piece) {
            Ok(0) => panic!("the damage was read"),
            Ok(length) => {
                same(&piece[..length], &bytes[read..read + length]);
                read += length;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(nix::libc::EIO), "{error}");
}

#[test]
fn a_disk_that_fills_up_under_a_stream_keeps_what_was_fsynced() {
    let disk = PowerDisk::sized(700 << 20);
    let mut cluster = Cluster::start(ClusterOptions {
        dir: Some(disk.path().join("data")),
        sets: vec!["hdds.datanode.volume.min.free.space=96MB".to_owned()],
        ..ClusterOptions::default()
    });
    let path = cluster.bucket("vol", "bucket").join("f");
    let bytes = written(&path, 4);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    let more = content::bytes(5, MIB);
    let filled = (0..700).try_for_each(|n| {
        file.write_all(&more)?;
        if n % 16 == 15 {
            file.sync_all()
        } else {
            Ok(())
        }
    });
    let error = filled
        .and_then(|()| file.sync_all())
        .expect_err("a full disk");
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    drop(file);
    same(&fs::read(&path).unwrap()[..LENGTH], &bytes);
    cluster.kill9();
    cluster.restart();
    let read = fs::read(&path).unwrap();
    same(&read[..LENGTH], &bytes);
    for piece in read[LENGTH..].chunks(MIB) {
        same(piece, &more[..piece.len()]);
    }
    // Before the disk under it goes away.
    cluster.stop();
}
