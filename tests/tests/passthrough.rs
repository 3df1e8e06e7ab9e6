//! Large files that the kernel reads without the mount: the same promises hold for whoever has them open.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use ozone_tests::s3::S3;
use ozone_tests::shell::run;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions, content, corrupt};

const SIZE: usize = 3 << 20;
/// Longest that a file may take until it can be passed.
const LIMIT: Duration = Duration::from_secs(30);

/// A cluster and a bucket, with one copy, so that what is read is the copy that is lent.
fn one_copy() -> (Cluster, PathBuf) {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    (cluster, bucket)
}

fn passed(cluster: &Cluster) -> u64 {
    cluster.metric("fs_passed_through_total", &[])
}

/// Makes a file, and reads it as a whole, so that it is verified.
fn verified(path: &Path, seed: u64) -> Vec<u8> {
    let bytes = content::bytes(seed, SIZE);
    let mut file = File::create(path).unwrap();
    file.write_all(&bytes).unwrap();
    file.sync_all().unwrap();
    drop(file);
    cool(path);
    same(&fs::read(path).unwrap(), &bytes);
    bytes
}

/// Opens a file that the kernel then reads by itself. A handle that was closed just before may not be
/// let go of yet.
fn open_passed(cluster: &Cluster, path: &Path) -> File {
    wait_for(LIMIT, || {
        let before = passed(cluster);
        let file = File::open(path).unwrap();
        match passed(cluster) - before {
            1 => Ok(file),
            _ => Err(format!(
                "{} is not passed to the kernel, which takes Linux 6.9, CAP_SYS_ADMIN, and a temporary directory that \
                 is not on overlayfs: set TMPDIR to one",
                path.display()
            )),
        }
    })
}

fn seen(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read_at(&mut piece, at).unwrap();
        if read == 0 {
            return bytes;
        }
        bytes.extend_from_slice(&piece[..read]);
        at += read as u64;
    }
}

/// Has the kernel forget what it has cached of a file: the next read is the datanode's.
fn cool(path: &Path) {
    let file = File::open(path).unwrap();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

/// What both have, without megabytes of output when they differ.
fn same(left: &[u8], right: &[u8]) {
    let differs = left.iter().zip(right).position(|(a, b)| a != b);
    assert_eq!((left.len(), differs), (right.len(), None));
}

#[test]
fn a_file_that_was_verified_as_a_whole_is_read_by_the_kernel() {
    let (cluster, bucket) = one_copy();
    let path = bucket.join("f");
    let bytes = verified(&path, 1);
    assert_eq!(passed(&cluster), 0, "nobody had verified it before");
    let file = open_passed(&cluster, &path);
    same(&seen(&file), &bytes);
    let other = File::open(&path).unwrap();
    assert_eq!(
        other.metadata().unwrap().ino(),
        file.metadata().unwrap().ino()
    );
    same(&seen(&other), &bytes);
    same(&fs::read(&path).unwrap(), &bytes);
}

#[test]
fn a_file_that_is_read_again_at_once_is_passed() {
    let (cluster, bucket) = one_copy();
    let path = bucket.join("f");
    let bytes = verified(&path, 14);
    // Now and then the kernel lets go of the last handle a moment late.
    for _ in 0..20 {
        same(&fs::read(&path).unwrap(), &bytes);
    }
    assert!(passed(&cluster) >= 10, "{}", passed(&cluster));
}

#[test]
fn small_files_and_those_of_several_blocks_are_read_through_the_mount() {
    let (cluster, bucket) = one_copy();
    fs::write(bucket.join("small"), vec![1; 100_000]).unwrap();
    let path = bucket.join("two");
    let mut bytes = verified(&path, 2);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[7; 5000], 1 << 20).unwrap();
    drop(file);
    bytes[1 << 20..][..5000].fill(7);
    for _ in 0..3 {
        cool(&path);
        same(&fs::read(&path).unwrap(), &bytes);
        assert_eq!(fs::read(bucket.join("small")).unwrap(), vec![1; 100_000]);
    }
    assert_eq!(passed(&cluster), 0);
}

#[test]
fn who_reads_sees_what_is_written_afterwards_through_the_same_mount() {
    let (cluster, bucket) = one_copy();
    let path = bucket.join("f");
    let mut bytes = verified(&path, 3);
    let reader = open_passed(&cluster, &path);
    let number = reader.metadata().unwrap().ino();
    let mut writer = OpenOptions::new()
        .read(true)
        .append(true)
        .open(&path)
        .unwrap();
    assert_eq!(writer.metadata().unwrap().ino(), number);
    assert_eq!(fs::metadata(&path).unwrap().ino(), number);

    writer.write_all(b"a line").unwrap();
    bytes.extend_from_slice(b"a line");
    same(&seen(&reader), &bytes);
    writer.sync_all().unwrap();
    same(&seen(&reader), &bytes);

    let over = OpenOptions::new().write(true).open(&path).unwrap();
    over.write_all_at(b"OVER", 4094).unwrap();
    bytes[4094..4098].copy_from_slice(b"OVER");
    same(&seen(&reader), &bytes);
    same(&seen(&writer), &bytes);

    over.set_len(2_000_000).unwrap();
    bytes.truncate(2_000_000);
    same(&seen(&reader), &bytes);
    assert_eq!(reader.metadata().unwrap().len(), 2_000_000);
    fs::File::options()
        .write(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    assert_eq!(seen(&reader), b"");
    writer.write_all(b"anew").unwrap();
    assert_eq!(seen(&reader), b"anew");

    drop((reader, writer, over));
    assert_eq!(fs::read(&path).unwrap(), b"anew");
    let again = fs::metadata(&path).unwrap();
    assert_eq!((again.ino(), again.len()), (number, 4));
}

#[test]
fn what_was_written_beside_readers_is_durable_and_its_blocks_are_whole() {
    let (mut cluster, bucket) = one_copy();
    let path = bucket.join("f");
    let mut bytes = verified(&path, 4);
    let reader = open_passed(&cluster, &path);
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    for round in 0..20u8 {
        let at = usize::from(round) * 140_000;
        writer.write_all_at(&[round; 3000], at as u64).unwrap();
        bytes[at..at + 3000].fill(round);
        same(&seen(&reader), &bytes);
    }
    writer.sync_all().unwrap();
    cluster.kill9();
    drop((reader, writer));
    cluster.restart();
    same(&fs::read(&path).unwrap(), &bytes);
    let got = cluster.scratch().join("got");
    let out = cluster.ozone(&["sh", "key", "get", "vol/bucket/f", got.to_str().unwrap()]);
    assert!(out.status.success(), "{out:?}");
    same(&fs::read(got).unwrap(), &bytes);
}

#[test]
fn who_reads_sees_what_another_mount_writes() {
    let (cluster, bucket) = one_copy();
    let second = cluster.mount_again();
    let there = second.path().join("vol/bucket/f");
    let path = bucket.join("f");
    let mut bytes = verified(&path, 5);
    let reader = open_passed(&cluster, &path);
    let mut writer = OpenOptions::new().append(true).open(&there).unwrap();
    for round in 0..10 {
        let line = format!("line {round}\n");
        writer.write_all(line.as_bytes()).unwrap();
        writer.sync_all().unwrap();
        bytes.extend_from_slice(line.as_bytes());
        same(&seen(&reader), &bytes);
    }
    let over = OpenOptions::new().write(true).open(&there).unwrap();
    over.write_all_at(&[9; 100_000], 1_234_567).unwrap();
    over.sync_all().unwrap();
    bytes[1_234_567..][..100_000].fill(9);
    same(&seen(&reader), &bytes);
    over.set_len(1000).unwrap();
    same(&seen(&reader), &bytes[..1000]);
    same(&fs::read(&path).unwrap(), &bytes[..1000]);
}

#[test]
fn who_reads_keeps_a_file_that_is_replaced_or_removed() {
    let (cluster, bucket) = one_copy();
    let path = bucket.join("f");
    let old = verified(&path, 6);
    let reader = open_passed(&cluster, &path);
    let new = content::bytes(7, SIZE);
    fs::write(bucket.join("new"), &new).unwrap();
    fs::rename(bucket.join("new"), &path).unwrap();
    same(&seen(&reader), &old);
    same(&fs::read(&path).unwrap(), &new);
    fs::remove_file(&path).unwrap();
    same(&seen(&reader), &old);
}

#[test]
fn a_mapping_of_a_writer_works_beside_readers() {
    let (cluster, bucket) = one_copy();
    let path = bucket.join("f");
    let mut bytes = verified(&path, 8);
    let reader = open_passed(&cluster, &path);
    let script = "import mmap, sys\n\
        f = open(sys.argv[1], 'r+b')\n\
        m = mmap.mmap(f.fileno(), 0)\n\
        m[5000:5004] = b'MMAP'\n\
        m.flush()\n";
    run(&bucket, "python3", &["-c", script, path.to_str().unwrap()]);
    bytes[5000..5004].copy_from_slice(b"MMAP");
    same(&seen(&reader), &bytes);
    same(&fs::read(&path).unwrap(), &bytes);
}

#[test]
fn a_block_that_was_damaged_is_never_passed() {
    let (mut cluster, bucket) = one_copy();
    let path = bucket.join("f");
    verified(&path, 9);
    cluster.stop();
    damage(&cluster);
    cluster.restart();
    for _ in 0..3 {
        assert_damaged(&path);
    }
    assert_eq!(passed(&cluster), 0);
}

/// Changes a byte of the one large block.
fn damage(cluster: &Cluster) {
    let is_block = |path: &Path| path.extension().is_some_and(|e| e == "block");
    let large = |path: &PathBuf| fs::metadata(path).unwrap().len() >= SIZE as u64;
    let blocks = corrupt::find(cluster.dir(), &is_block);
    let block = blocks
        .into_iter()
        .find(large)
        .expect("the block of the file");
    corrupt::flip(&block, 2_000_000);
}

fn assert_damaged(path: &Path) {
    let error = fs::read(path).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
}

#[test]
fn a_mount_that_always_verifies_is_lent_nothing_and_sees_damage_that_comes_late() {
    let (cluster, bucket) = one_copy();
    let bytes = content::bytes(15, SIZE);
    fs::write(bucket.join("f"), &bytes).unwrap();
    let mount = cluster.mount_again_with("verify=always");
    let path = mount.path().join("vol/bucket/f");
    for _ in 0..4 {
        same(&fs::read(&path).unwrap(), &bytes);
        cool(&path);
    }
    assert_eq!(cluster.metric("datanode_blocks_lent_total", &[]), 0);
    damage(&cluster);
    assert_damaged(&path);
}

#[test]
fn who_reads_sees_holes_and_lengths_that_are_made_beside_him() {
    let (cluster, bucket) = one_copy();
    let path = bucket.join("f");
    let mut bytes = verified(&path, 10);
    let reader = open_passed(&cluster, &path);
    run(
        &bucket,
        "fallocate",
        &["-p", "-o", "8192", "-l", "70000", "f"],
    );
    bytes[8192..78_192].fill(0);
    same(&seen(&reader), &bytes);
    run(&bucket, "fallocate", &["-l", "4000000", "f"]);
    bytes.resize(4_000_000, 0);
    same(&seen(&reader), &bytes);
    same(&fs::read(&path).unwrap(), &bytes);
}

#[test]
fn a_key_that_shares_its_block_with_a_copy_changes_alone() {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    assert_eq!(s3.ask("PUT", "/bucket", b"").status, 200);
    let bucket = cluster.mountpoint().join("s3v/bucket");
    let bytes = verified(&bucket.join("one"), 11);
    s3.aws(&[
        "s3api",
        "copy-object",
        "--bucket",
        "bucket",
        "--key",
        "two",
        "--copy-source",
        "bucket/one",
    ]);
    let one = open_passed(&cluster, &bucket.join("one"));
    let two = File::open(bucket.join("two")).unwrap();
    same(&seen(&two), &bytes);
    let writer = OpenOptions::new()
        .write(true)
        .open(bucket.join("one"))
        .unwrap();
    writer.write_all_at(b"changed", 100).unwrap();
    writer.sync_all().unwrap();
    assert_eq!(&seen(&one)[100..107], b"changed");
    same(&seen(&two), &bytes);
    drop(one);
    same(&fs::read(bucket.join("two")).unwrap(), &bytes);
}

#[test]
fn who_looks_at_a_file_all_the_time_misses_no_change_of_another_mount() {
    let (cluster, bucket) = one_copy();
    let second = cluster.mount_again();
    let path = bucket.join("f");
    let mut bytes = verified(&path, 12);
    let reader = open_passed(&cluster, &path);
    let writer = OpenOptions::new()
        .write(true)
        .open(second.path().join("vol/bucket/f"))
        .unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::metadata(&path).unwrap();
            }
        });
        for round in 0..30u8 {
            let at = usize::from(round) * 50_000;
            writer.write_all_at(&[round; 20_000], at as u64).unwrap();
            writer.sync_all().unwrap();
            bytes[at..at + 20_000].fill(round);
            same(&seen(&reader), &bytes);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_writer_that_goes_on_in_a_lent_block_is_seen_and_hurts_no_replica() {
    let cluster = Cluster::start(ClusterOptions {
        datanodes: 3,
        ..ClusterOptions::default()
    });
    let bucket = cluster.bucket("vol", "bucket");
    let second = cluster.mount_again();
    let there = second.path().join("vol/bucket/f");
    let mut bytes = content::bytes(13, SIZE);
    let mut writer = File::create(&there).unwrap();
    writer.write_all(&bytes).unwrap();
    writer.sync_all().unwrap();
    let path = bucket.join("f");
    same(&fs::read(&path).unwrap(), &bytes);
    let reader = open_passed(&cluster, &path);
    for round in 1..6u8 {
        writer.write_all_at(&[round; 300_000], 777).unwrap();
        writer.sync_all().unwrap();
        bytes[777..300_777].fill(round);
        same(&seen(&reader), &bytes);
    }
    drop((reader, writer));
    same(&fs::read(&path).unwrap(), &bytes);
    same(&fs::read(&there).unwrap(), &bytes);
}
