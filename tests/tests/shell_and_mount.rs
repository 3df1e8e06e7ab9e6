//! What the shell and the mount say of the same things: owners, and room. And deleting with all that
//! is inside.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::statvfs::statvfs;
use ozone_common::caller::user_name;
use ozone_tests::cluster::binary;
use ozone_tests::{Cluster, ClusterOptions};

fn succeed(cluster: &Cluster, args: &[&str]) -> String {
    let output = cluster.ozone(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the shell with an answer for what it asks.
fn answering(cluster: &Cluster, args: &[&str], answer: &str) -> Output {
    let mut child = Command::new(binary())
        .arg("--set")
        .arg(format!("ozone.om.address={}", cluster.om_address()))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(answer.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().expect("the end of the process")
}

#[test]
fn chown_changes_the_owner_that_the_shell_shows() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let file = bucket.join("file");
    fs::write(&file, "content").unwrap();
    // One that the system has a name for, and one that is nobody's.
    for uid in [1, 61_001] {
        for path in [&file, &bucket, &cluster.mountpoint().join("vol")] {
            chown(path, Some(uid), None).unwrap();
        }
        fs::File::open(&bucket).unwrap().sync_all().unwrap();
        let owner = format!("\"owner\" : {:?}", user_name(uid));
        for args in [
            ["sh", "volume", "info", "vol"],
            ["sh", "bucket", "info", "vol/bucket"],
            ["sh", "key", "info", "vol/bucket/file"],
        ] {
            let told = succeed(&cluster, &args);
            assert!(told.contains(&owner), "no {owner} in {args:?}: {told}");
        }
    }
}

/// Bytes in all and available, where `path` is.
fn room(path: &Path) -> (u64, u64) {
    let found = statvfs(path).unwrap();
    let unit = found.fragment_size();
    (found.blocks() * unit, found.blocks_available() * unit)
}

#[test]
fn df_promises_what_fits_with_all_copies_on_one_disk() {
    let cluster = Cluster::start(ClusterOptions {
        datanodes: 3,
        ..ClusterOptions::default()
    });
    let three = cluster.bucket("vol", "three");
    succeed(
        &cluster,
        &["sh", "bucket", "create", "vol/one", "-r", "ONE"],
    );
    let one = cluster.mountpoint().join("vol/one");
    let (disk, _) = room(cluster.dir());
    for (path, copies) in [(cluster.mountpoint(), 3), (three, 3), (one, 1)] {
        let (all, available) = room(&path);
        let (_, left) = room(cluster.dir());
        let path = path.display();
        assert!(all <= disk / copies, "{path}: {all} of {disk}");
        assert!(all > disk / copies / 2, "{path}: {all} of {disk}");
        // Tests beside this one use the disk too.
        let slack = 2 << 30;
        assert!(
            available <= (left + slack) / copies,
            "{path}: {available} of {left}"
        );
    }
}

#[test]
fn buckets_and_volumes_are_deleted_with_all_that_they_hold() {
    let cluster = Cluster::start(ClusterOptions::default());
    for bucket in ["one", "two"] {
        let bucket = cluster.bucket("vol", bucket);
        for dir in ["a", "a/b", "a.c", "d"] {
            fs::create_dir(bucket.join(dir)).unwrap();
            for n in 0..3 {
                fs::write(bucket.join(dir).join(format!("f{n}")), "content").unwrap();
            }
        }
        fs::write(bucket.join("a-file"), "content").unwrap();
        fs::File::open(&bucket).unwrap().sync_all().unwrap();
    }
    let delete = ["sh", "bucket", "delete", "vol/one"];
    assert_eq!(cluster.ozone(&delete).status.code(), Some(255));
    let recursive = [&delete[..], &["-r"]].concat();
    for answer in ["", "no\n"] {
        let output = answering(&cluster, &recursive, answer);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Enter 'yes' to proceed"), "{text}");
        assert!(text.ends_with("Operation cancelled.\n"), "{text}");
        assert!(cluster.mountpoint().join("vol/one/a/b/f0").exists());
    }
    let output = answering(&cluster, &recursive, "yes\n");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("Bucket one is deleted\n"), "{text}");
    let told = succeed(&cluster, &["sh", "volume", "delete", "-r", "--yes", "vol"]);
    assert_eq!(told, "Volume vol is deleted\n");
    assert!(!cluster.mountpoint().join("vol").exists());
}
