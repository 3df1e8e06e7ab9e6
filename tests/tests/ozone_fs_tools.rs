//! The rest of `ozone fs`: trash, sums, attributes, appending, merging, finding, and what is printed of each.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use ozone_common::checksum::crc32c;
use ozone_tests::content::bytes;
use ozone_tests::ozone_fs::{code, fs_with, ok, refused};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};

/// Switches the trash on.
const TRASH: [&str; 2] = ["-D", "fs.trash.interval=60"];

fn with_trash<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [TRASH.as_slice(), words].concat()
}

#[test]
fn what_is_thrown_away_is_in_the_trash_until_it_is_expunged() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let user = ok(&cluster, &["-stat", "%u", "/vol/bucket"]);
    let trash = format!(".Trash/{}", user.trim());
    let current = bucket.join(&trash).join("Current");
    fs::create_dir_all(bucket.join("a/b")).unwrap();
    fs::write(bucket.join("a/b/file"), "first").unwrap();
    let om = format!("ofs://{}/vol/bucket", cluster.om_address());
    let file = format!("{om}/a/b/file");
    let moved = refused(&cluster, 0, &with_trash(&["-rm", &file]));
    assert_eq!(
        moved,
        format!("Moved: '{file}' to trash at: {om}/{trash}/Current/a/b/file\n")
    );
    assert_eq!(fs::read(current.join("a/b/file")).unwrap(), b"first");
    // The name is taken there now.
    fs::write(bucket.join("a/b/file"), "second").unwrap();
    ok(&cluster, &with_trash(&["-rm", "/vol/bucket/a/b/file"]));
    assert_eq!(fs::read(current.join("a/b/file")).unwrap(), b"first");
    assert_eq!(fs::read_dir(current.join("a/b")).unwrap().count(), 2);
    ok(&cluster, &with_trash(&["-rm", "-r", "/vol/bucket/a"]));
    assert!(!bucket.join("a").exists());

    // Expunging names what was thrown away by the time, and removes nothing that is younger than an hour.
    let made = refused(&cluster, 0, &with_trash(&["-expunge"]));
    assert!(made.starts_with("Created trash checkpoint: "), "{made}");
    assert!(!current.exists());
    let checkpoints: Vec<_> = fs::read_dir(bucket.join(&trash)).unwrap().collect();
    assert_eq!(checkpoints.len(), 1);
    let name = checkpoints[0].as_ref().unwrap().file_name();
    assert!(name.len() == 12 && name.to_str().unwrap().bytes().all(|b| b.is_ascii_digit()));
    assert_eq!(refused(&cluster, 0, &with_trash(&["-expunge"])), "");
    fs::rename(
        bucket.join(&trash).join(name),
        bucket.join(&trash).join("200101000000"),
    )
    .unwrap();
    let removed = refused(&cluster, 0, &with_trash(&["-expunge"]));
    assert!(
        removed.starts_with("Deleted trash checkpoint: "),
        "{removed}"
    );
    assert_eq!(fs::read_dir(bucket.join(&trash)).unwrap().count(), 0);

    fs::write(bucket.join("key"), "third").unwrap();
    let delete = |key: &str| {
        let set = ["--set", "fs.trash.interval=60"];
        let output = cluster.ozone(&[&set[..], &["sh", "key", "delete", key]].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let moved = format!("Key moved inside Trash: /{trash}/Current/key\n");
    assert_eq!(delete("/vol/bucket/key"), (true, moved));
    assert!(!bucket.join("key").exists());
    assert_eq!(fs::read(current.join("key")).unwrap(), b"third");
    let (done, why) = delete(&format!("/vol/bucket/{trash}/Current/key"));
    assert!(!done && why.contains("Use fs command"), "{why}");
    assert_eq!(fs::read(current.join("key")).unwrap(), b"third");
    let (done, why) = delete("/vol/bucket/key");
    assert!(!done && why.contains("KEY_NOT_FOUND"), "{why}");
    fs::remove_dir_all(&current).unwrap();

    fs::write(bucket.join("x"), "x").unwrap();
    ok(
        &cluster,
        &with_trash(&["-rm", "-skipTrash", "/vol/bucket/x"]),
    );
    assert!(!current.exists());
    fs::write(bucket.join("x"), "x").unwrap();
    ok(&cluster, &with_trash(&["-rm", "/vol/bucket/x"]));
    let contains = refused(
        &cluster,
        1,
        &with_trash(&["-rm", "-r", "/vol/bucket/.Trash"]),
    );
    assert!(
        contains.contains("to the trash, as it contains the trash"),
        "{contains}"
    );
    // What is in the trash can only be deleted.
    let path = format!("/vol/bucket/{trash}/Current/x");
    assert_eq!(
        ok(&cluster, &with_trash(&["-rm", &path])),
        format!("Deleted {path}\n")
    );
    refused(&cluster, 0, &with_trash(&["-expunge", "-immediate"]));
    assert_eq!(fs::read_dir(bucket.join(&trash)).unwrap().count(), 0);
}

#[test]
fn sums_are_those_of_the_files() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    fs::create_dir_all(bucket.join("dir/sub")).unwrap();
    fs::write(bucket.join("dir/sub/large"), vec![1; 2048]).unwrap();
    fs::write(bucket.join("dir/small"), "12345").unwrap();
    fs::write(bucket.join("top"), "1").unwrap();
    assert_eq!(
        ok(&cluster, &["-du", "/vol/bucket"]),
        "2053  2053  /vol/bucket/dir\n1     1     /vol/bucket/top\n"
    );
    assert_eq!(
        ok(&cluster, &["-du", "-s", "-h", "-v", "/vol/bucket"]),
        "SIZE   DISK_SPACE_CONSUMED_WITH_ALL_REPLICAS  FULL_PATH_NAME\n\
         2.0 K  2.0 K                                  /vol/bucket\n"
    );
    assert_eq!(
        ok(
            &cluster,
            &["-count", "-v", "/vol/bucket/dir", "/vol/bucket/top"]
        ),
        "   DIR_COUNT   FILE_COUNT       CONTENT_SIZE PATHNAME\n\
         \x20          2            2               2053 /vol/bucket/dir\n\
         \x20          0            1                  1 /vol/bucket/top\n"
    );
    assert_eq!(
        ok(&cluster, &["-count", "-q", "-h", "/vol"]),
        "        none             inf            none             inf            4            3              2.0 K /vol\n"
    );
    let df = ok(&cluster, &["-df", "-h"]);
    let lines: Vec<_> = df.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("Filesystem"),
        "{df}"
    );
    assert!(
        lines[1].starts_with("ofs://") && lines[1].ends_with('%'),
        "{df}"
    );
    let found = ok(&cluster, &["-find", "/vol/bucket", "-name", "*a*"]);
    assert_eq!(found, "/vol/bucket/dir/small\n/vol/bucket/dir/sub/large\n");
    let found = ok(
        &cluster,
        &["-find", "/vol/bucket/dir", "-iname", "SUB", "-print0"],
    );
    assert_eq!(found, "/vol/bucket/dir/sub\0");
    assert!(
        refused(&cluster, 1, &["-find", "/vol", "-size", "1"])
            .contains("Unexpected argument: -size")
    );
}

#[test]
fn attributes_are_those_of_the_mount() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    fs::create_dir(bucket.join("dir")).unwrap();
    fs::write(bucket.join("dir/file"), "x").unwrap();
    fs::set_permissions(bucket.join("dir/file"), fs::Permissions::from_mode(0o600)).unwrap();
    let meta = |path: &str| fs::metadata(bucket.join(path)).unwrap();
    ok(&cluster, &["-chmod", "-R", "go+rX", "/vol/bucket/dir"]);
    assert_eq!(meta("dir/file").permissions().mode() & 0o7777, 0o644);
    ok(&cluster, &["-chmod", "750", "/vol/bucket/dir"]);
    assert_eq!(meta("dir").permissions().mode() & 0o7777, 0o750);
    ok(&cluster, &["-chown", "-R", "12:34", "/vol/bucket/dir"]);
    assert_eq!((meta("dir/file").uid(), meta("dir/file").gid()), (12, 34));
    ok(&cluster, &["-chgrp", "56", "/vol/bucket/dir"]);
    assert_eq!((meta("dir").uid(), meta("dir").gid()), (12, 56));
    assert_eq!(
        refused(
            &cluster,
            1,
            &["-chown", "no-such-user-here", "/vol/bucket/dir"]
        ),
        "chown: changing ownership of '/vol/bucket/dir': invalid user: no-such-user-here\n"
    );
    assert_eq!(code(&cluster, &["-chmod", "999", "/vol/bucket/dir"]), 255);
    assert_eq!(
        refused(&cluster, 1, &["-setrep", "3", "/vol/bucket/dir/file"]),
        "setrep: Could not set replication for: /vol/bucket/dir/file\n"
    );
    ok(
        &cluster,
        &[
            "-touch",
            "-m",
            "-t",
            "20200102:030405",
            "/vol/bucket/dir/file",
        ],
    );
    // The commands run two hours ahead of Greenwich.
    let stamp = ok(&cluster, &["-stat", "/vol/bucket/dir/file"]);
    assert_eq!(stamp, "2020-01-02 01:04:05\n");
    assert_eq!(meta("dir/file").mtime(), 1_577_927_045);
    ok(&cluster, &["-touch", "-c", "/vol/bucket/none"]);
    assert!(!bucket.join("none").exists());
    ok(&cluster, &["-touch", "/vol/bucket/none"]);
    assert_eq!(meta("none").len(), 0);
}

#[test]
fn files_are_appended_to_merged_and_shown_in_part() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let large = bytes(2, 3 << 20);
    let (one, two) = (cluster.scratch().join("one"), cluster.scratch().join("two"));
    fs::write(&one, &large).unwrap();
    fs::write(&two, "the end").unwrap();
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    ok(&cluster, &["-appendToFile", one, two, "/vol/bucket/file"]);
    let piped = fs_with(
        &cluster,
        &["-appendToFile", "-", "/vol/bucket/file"],
        b", piped",
    );
    assert!(piped.status.success(), "{piped:?}");
    let whole = [large.as_slice(), b"the end, piped"].concat();
    assert!(fs::read(bucket.join("file")).unwrap() == whole);
    let file = "/vol/bucket/file";
    let head = fs_with(&cluster, &["-head", file], b"").stdout;
    assert!(head == whole[..1024]);
    let tail = fs_with(&cluster, &["-tail", file], b"").stdout;
    assert!(tail == whole[whole.len() - 1024..]);
    let sum = format!("{file}\tCOMPOSITE-CRC32C\t{:08x}\n", crc32c(&whole));
    assert_eq!(ok(&cluster, &["-checksum", file]), sum);

    fs::create_dir_all(bucket.join("parts/deeper")).unwrap();
    fs::write(bucket.join("parts/1"), "one").unwrap();
    fs::write(bucket.join("parts/2"), "").unwrap();
    fs::write(bucket.join("parts/3"), "three").unwrap();
    let merged = cluster.scratch().join("merged");
    let to = merged.to_str().unwrap();
    ok(&cluster, &["-getmerge", "/vol/bucket/parts", to]);
    assert_eq!(fs::read(&merged).unwrap(), b"onethree");
    ok(
        &cluster,
        &[
            "-getmerge",
            "-nl",
            "-skip-empty-file",
            "/vol/bucket/parts",
            to,
        ],
    );
    assert_eq!(fs::read(&merged).unwrap(), b"one\nthree\n");

    // `/tmp` is a bucket of the user's own.
    ok(&cluster, &["-mkdir", "/tmp"]);
    ok(&cluster, &["-put", two, "/tmp/file"]);
    assert_eq!(ok(&cluster, &["-ls", "-C", "/tmp"]), "/tmp/file\n");
    assert_eq!(ok(&cluster, &["-cat", "/tmp/file"]), "the end");
    let buckets: Vec<_> = fs::read_dir(cluster.mountpoint().join("tmp"))
        .unwrap()
        .collect();
    assert_eq!(buckets[0].as_ref().unwrap().file_name().len(), 32);
}

#[test]
fn the_om_empties_the_trash_of_everybody_in_time() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let trash = bucket.join(".Trash");
    // Of one user a checkpoint that is old, of another what was thrown away just now.
    fs::create_dir_all(trash.join("bilbo/200101000000/dir")).unwrap();
    fs::write(trash.join("bilbo/200101000000/dir/file"), "old").unwrap();
    fs::create_dir_all(trash.join("frodo/Current")).unwrap();
    fs::write(trash.join("frodo/Current/file"), "new").unwrap();
    fs::create_dir_all(trash.join("frodo/mine")).unwrap();
    cluster.stop();
    cluster.set("ozone.fs.trash.interval=60");
    cluster.restart();
    let names = |dir: &str| -> Vec<_> {
        let entries = fs::read_dir(trash.join(dir)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    wait_for(Duration::from_secs(30), || {
        match (names("bilbo").len(), trash.join("frodo/Current").exists()) {
            (0, false) => Ok(()),
            (old, now) => Err(format!("{old} old checkpoints are left, Current is: {now}")),
        }
    });
    let left = names("frodo");
    let [checkpoint, mine] = &left[..] else {
        panic!("a checkpoint, and what is none: {left:?}");
    };
    assert_eq!(mine, "mine");
    let kept = trash.join("frodo").join(checkpoint).join("file");
    assert_eq!(fs::read(kept).unwrap(), b"new");
}
