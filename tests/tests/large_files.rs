//! A file larger than any buffer: the same through the mount and through `ozone sh`, in little memory;
//! and changing a little of it writes a little.
//! `MIB=2048` makes a soak of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use ozone_tests::content::{bytes, number, rng};
use ozone_tests::memory::{peak_kib, reset_peak, resident_kib};
use ozone_tests::power::PowerDisk;
use ozone_tests::shell::run;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};
use rand::Rng;

const MIB: usize = 1 << 20;
/// What a cluster in one process may hold while nobody uses it, and what a copy may add to it: less than the file has.
const MEMORY_KIB: u64 = 300 << 10;
/// Size of one random write, and how many are made.
const PIECE: usize = 4 << 10;
const PIECES: usize = 256;
/// How long what rides in the OM's log may take to its block.
const FOLD_LIMIT: Duration = Duration::from_secs(120);

/// Makes a file whose every mebibyte is another.
fn make(path: &Path, len: usize) {
    let mut file = BufWriter::new(File::create_new(path).unwrap());
    for at in (0..len).step_by(MIB) {
        let piece = bytes(at as u64, MIB.min(len - at));
        file.write_all(&piece).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
}

fn same(a: &Path, b: &Path) {
    let [a, b] = [a, b].map(|path| path.to_str().unwrap());
    run(Path::new("/"), "cmp", &[a, b]);
}

fn shell(cluster: &Cluster, args: &[&str]) {
    let output = cluster.ozone(&[&["sh", "key"], args].concat());
    assert!(output.status.success(), "{output:?}");
}

/// Runs `copy`, which must not make the cluster hold much more than before.
fn in_little_memory(cluster: &Cluster, what: &str, copy: impl FnOnce()) {
    let pid = cluster.pid();
    reset_peak(pid);
    let before = resident_kib(pid);
    copy();
    let grown = peak_kib(pid).saturating_sub(before);
    println!("{what}: {before} KiB before, {grown} KiB more at most");
    assert!(
        grown < MEMORY_KIB,
        "{what} took {grown} KiB on top of {before} KiB"
    );
}

/// A cluster as `ozone up` starts it, which nobody uses.
fn idle_cluster() -> Cluster {
    let cluster = Cluster::start(ClusterOptions {
        datanodes: 3,
        ..ClusterOptions::default()
    });
    let idle = resident_kib(cluster.pid());
    println!("idle: {idle} KiB");
    assert!(idle < MEMORY_KIB, "{idle} KiB while nobody uses it");
    cluster
}

/// Takes `source` in through the mount and out through the shell.
fn mount_to_shell(source: &Path) {
    let cluster = idle_cluster();
    let bucket = cluster.bucket("vol", "large");
    let got = cluster.scratch().join("got");
    let [local, fetched] = [source, &got].map(|path| path.to_str().unwrap());
    in_little_memory(&cluster, "cp onto the mount", || {
        run(&bucket, "cp", &[local, "file"]);
        File::open(bucket.join("file")).unwrap().sync_all().unwrap();
    });
    in_little_memory(&cluster, "ozone sh key get", || {
        shell(&cluster, &["get", "/vol/large/file", fetched]);
    });
    same(source, &got);
}

/// Takes `source` in through the shell and out through the mount.
fn shell_to_mount(source: &Path) {
    let cluster = idle_cluster();
    let bucket = cluster.bucket("vol", "large");
    let local = source.to_str().unwrap();
    in_little_memory(&cluster, "ozone sh key put", || {
        shell(&cluster, &["put", "/vol/large/file", local]);
    });
    in_little_memory(&cluster, "reading on the mount", || {
        same(source, &bucket.join("file"));
    });
}

/// Each way in a cluster of its own, so that the disk holds three copies at a time and no more.
#[test]
fn a_large_file_is_the_same_both_ways_and_takes_little_memory() {
    let scratch = tempfile::tempdir().unwrap();
    for len in [4 << 10, number("MIB", 512) * MIB] {
        let source = scratch.path().join(format!("source-{len}"));
        make(&source, len);
        mount_to_shell(&source);
        shell_to_mount(&source);
    }
}

#[test]
fn a_random_write_costs_what_it_writes() {
    let disk = PowerDisk::new();
    let mut cluster = Cluster::start(ClusterOptions {
        dir: Some(disk.path().join("data")),
        ..ClusterOptions::default()
    });
    let path = cluster.bucket("vol", "random").join("file");
    let len = 128 * MIB;
    make(&path, len);
    let in_blocks = || cluster.metric("datanode_write_bytes_total", &[]);
    let before = (in_blocks(), disk.written());
    assert!(before.0 >= len as u64, "{} bytes", before.0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let mut rng = rng();
    for n in 0..PIECES {
        let at = rng.random_range(0..len / PIECE) * PIECE;
        file.write_all_at(&bytes(n as u64, PIECE), at as u64)
            .unwrap();
        file.sync_data().unwrap();
    }
    // Stopping waits for those who have files open.
    drop(file);
    let wrote = (PIECES * PIECE) as u64;
    // At the latest now all of it is in blocks; pieces that were overwritten are not.
    let moved = wait_for(FOLD_LIMIT, || {
        let moved = in_blocks() - before.0;
        match moved > wrote / 2 {
            true => Ok(moved),
            false => Err(format!("{moved} of {wrote} bytes are in blocks")),
        }
    });
    assert!(moved <= 2 * wrote, "{moved} bytes of blocks for {wrote}");
    let on_disk = disk.written() - before.1;
    println!("{wrote} bytes: {moved} in blocks, {on_disk} on disk");
    assert!(on_disk < 16 * wrote, "{on_disk} bytes on disk for {wrote}");
    // Before the disk under it goes away.
    cluster.stop();
}
