//! S3 as its users know it: boto3, Amazon's command line, s3cmd and rclone against a whole cluster.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use ozone_tests::content::{bytes, number};
use ozone_tests::s3::{Request, S3};
use ozone_tests::{Cluster, ClusterOptions};

/// Names that tools have to escape, and some that look as if they were escaped.
const HOSTILE: [&str; 12] = [
    "ü/日本 語",
    "a b+c=d&e%f#g?h",
    "quote'\"<>&",
    "...",
    "%41",
    "100%",
    "semi;colon,comma",
    "(paren)!*~",
    "$HOME `x`",
    "emoji-🦀/e\u{301}",
    "[a-z]{1}",
    "-rf",
];
/// Bytes of a file that tools send in parts.
const LARGE: usize = (12 << 20) + 1;

/// A tree with hostile names and a large file.
fn tree(cluster: &Cluster) -> PathBuf {
    let root = cluster.scratch().join("there");
    for name in HOSTILE {
        let path = root.join("hostile").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("large"), bytes(1, LARGE)).unwrap();
    root
}

/// The tree came back as it went.
#[track_caller]
fn same_tree(there: &Path, back: &Path) {
    let diff = std::process::Command::new("diff")
        .arg("-r")
        .args([there, back])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&diff.stdout);
    assert!(diff.status.success(), "{text}");
}

/// What a link answers to who has no secret.
fn fetch(link: &str) -> Vec<u8> {
    let script =
        "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())";
    let output = std::process::Command::new("python3")
        .args(["-c", script, link.trim()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{link}: {output:?}");
    output.stdout
}

fn cluster() -> (Cluster, S3) {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    (cluster, s3)
}

#[test]
fn boto3_puts_reads_and_deletes_keys() {
    let (_cluster, s3) = cluster();
    s3.script("objects.py");
}

#[test]
fn boto3_keeps_metadata_and_tags_and_copies_keys() {
    let (_cluster, s3) = cluster();
    s3.script("metadata.py");
}

#[test]
fn boto3_uploads_in_parts() {
    let (_cluster, s3) = cluster();
    s3.script("multipart.py");
}

#[test]
fn amazons_command_line_copies_trees_there_and_back() {
    let (cluster, s3) = cluster();
    let (there, back) = (
        cluster.scratch().join("there"),
        cluster.scratch().join("back"),
    );
    fs::create_dir_all(there.join("sub/dir")).unwrap();
    // Sent in parts, and as one.
    let large = bytes(1, 22 << 20);
    fs::write(there.join("large"), &large).unwrap();
    for n in 0..50 {
        fs::write(there.join(format!("sub/dir/{n}")), n.to_string()).unwrap();
    }
    s3.aws(&["s3", "mb", "s3://tree"]);
    s3.aws(&["s3", "sync", there.to_str().unwrap(), "s3://tree/copy"]);
    let listed = s3.aws(&["s3", "ls", "--recursive", "s3://tree"]);
    assert_eq!(listed.lines().count(), 51, "{listed}");
    assert!(
        s3.aws(&["s3", "ls", "s3://tree/copy/"])
            .contains("PRE sub/")
    );
    s3.aws(&["s3", "cp", "s3://tree/copy/large", "s3://tree/moved"]);
    s3.aws(&["s3", "mv", "s3://tree/moved", "s3://tree/copy/again"]);
    s3.aws(&["s3", "sync", "s3://tree/copy", back.to_str().unwrap()]);
    assert_eq!(fs::read(back.join("large")).unwrap(), large);
    assert_eq!(fs::read(back.join("again")).unwrap(), large);
    assert_eq!(fs::read_to_string(back.join("sub/dir/49")).unwrap(), "49");
    s3.aws(&["s3", "rm", "--recursive", "s3://tree"]);
    s3.aws(&["s3", "rb", "s3://tree"]);
}

#[test]
fn s3cmd_copies_trees_there_and_back() {
    let (cluster, s3) = cluster();
    let there = tree(&cluster);
    let back = cluster.scratch().join("back");
    fs::create_dir(&back).unwrap();
    let local = |path: &Path| format!("{}/", path.to_str().unwrap());
    s3.s3cmd(&["mb", "s3://tree"]);
    let chunks = "--multipart-chunk-size-mb=5";
    s3.s3cmd(&["sync", chunks, &local(&there), "s3://tree/copy/"]);
    let listed = s3.s3cmd(&["ls", "--recursive", "s3://tree"]);
    assert_eq!(listed.lines().count(), HOSTILE.len() + 2, "{listed}");
    for name in HOSTILE {
        assert!(listed.contains(name), "{name}: {listed}");
    }
    assert!(s3.s3cmd(&["ls", "s3://tree/copy/"]).contains("DIR"));
    s3.s3cmd(&["sync", "s3://tree/copy/", &local(&back)]);
    same_tree(&there, &back);
    // Copied and moved without moving a byte.
    s3.s3cmd(&["cp", "s3://tree/copy/large", "s3://tree/second"]);
    s3.s3cmd(&["mv", "s3://tree/second", "s3://tree/third ü"]);
    let third = s3.s3cmd(&["info", "s3://tree/third ü"]);
    assert!(third.contains(&LARGE.to_string()), "{third}");
    let got = back.join("third");
    s3.s3cmd(&["get", "s3://tree/third ü", got.to_str().unwrap()]);
    assert!(fs::read(&got).unwrap() == bytes(1, LARGE));
    // What is there already of a file is not fetched again.
    fs::write(&got, &bytes(1, LARGE)[..LARGE / 2]).unwrap();
    s3.s3cmd(&[
        "get",
        "--continue",
        "s3://tree/third ü",
        got.to_str().unwrap(),
    ]);
    assert!(fs::read(&got).unwrap() == bytes(1, LARGE));
    s3.s3cmd(&["del", "--recursive", "--force", "s3://tree"]);
    s3.s3cmd(&["rb", "s3://tree"]);
    assert_eq!(s3.s3cmd(&["ls"]), "");
}

#[test]
fn rclone_copies_checks_and_syncs_trees() {
    let (cluster, s3) = cluster();
    let there = tree(&cluster);
    let back = cluster.scratch().join("back");
    let (local, returned) = (there.to_str().unwrap(), back.to_str().unwrap());
    s3.rclone(&["mkdir", "s3:tree"]);
    let parts = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M"];
    s3.rclone(&[&["copy", local, "s3:tree/copy"], &parts[..]].concat());
    let listed = s3.rclone(&["lsf", "-R", "--files-only", "s3:tree/copy"]);
    assert_eq!(listed.lines().count(), HOSTILE.len() + 2, "{listed}");
    for name in HOSTILE {
        assert!(listed.contains(name), "{name}: {listed}");
    }
    // By digests, and by every byte.
    s3.rclone(&["check", local, "s3:tree/copy"]);
    s3.rclone(&["check", "--download", local, "s3:tree/copy"]);
    s3.rclone(&["copy", "s3:tree/copy", returned]);
    same_tree(&there, &back);
    s3.rclone(&["copyto", "s3:tree/copy/large", "s3:tree/second"]);
    s3.rclone(&["moveto", "s3:tree/second", "s3:tree/third ü"]);
    let mut range = s3.rclone_command();
    range.args([
        "cat",
        "s3:tree/third ü",
        "--offset",
        "5242870",
        "--count",
        "20",
    ]);
    let range = range.output().unwrap();
    assert_eq!(range.stdout, bytes(1, LARGE)[5_242_870..5_242_890]);
    let link = s3.rclone(&["link", "--expire", "1m", "s3:tree/copy/hostile/ü/日本 語"]);
    assert_eq!(fetch(&link), "ü/日本 語".as_bytes());
    // Makes the one as the other is: what is not there goes.
    fs::remove_dir_all(there.join("hostile")).unwrap();
    fs::write(there.join("empty"), "no more").unwrap();
    s3.rclone(&["sync", local, "s3:tree/copy"]);
    assert_eq!(s3.rclone(&["lsf", "-R", "s3:tree/copy"]), "empty\nlarge\n");
    s3.rclone(&["purge", "s3:tree"]);
    assert_eq!(s3.rclone(&["lsd", "s3:"]), "");
}

/// `KEYS` of the environment, in the long tests.
#[test]
fn every_tool_lists_all_keys_of_a_large_bucket() {
    let (_cluster, s3) = cluster();
    // It fills the bucket, and leaves it so.
    s3.script("listing.py");
    let keys = number("KEYS", 2500) + 6;
    // A tool that does not ask for escaped names cannot be told of this one: XML has no such character.
    let mut odd = Request {
        method: "DELETE",
        path: "/many/z%01".to_owned(),
        ..Request::default()
    };
    s3.sign(&mut odd);
    assert_eq!(s3.send(&odd).status, 204);
    let lines = |listed: String| listed.lines().count();
    assert_eq!(
        lines(s3.aws(&["s3", "ls", "--recursive", "s3://many"])),
        keys - 1
    );
    assert_eq!(
        lines(s3.s3cmd(&["ls", "--recursive", "s3://many"])),
        keys - 1
    );
    let listed = s3.rclone(&["lsf", "-R", "--files-only", "--fast-list", "s3:many"]);
    assert_eq!(lines(listed), keys - 1);
    s3.rclone(&["purge", "s3:many"]);
    assert_eq!(s3.rclone(&["lsd", "s3:"]), "");
}
