//! Object-store buckets in the real processes: S3's own keys, and what a mount makes of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bed;
mod mount;

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use nix::errno::Errno;
use ozone_tests::content::bytes;
use ozone_tests::s3::{S3, endpoint};
use ozone_tests::shell::errno;
use ozone_tests::wait::wait_for;

use bed::{Bed, walk};

/// Keys of every kind, in no order.
const KEYS: &[&str] = &[
    "a",
    "a/",
    "a/b",
    "a//b",
    "a/b/c",
    "/",
    "//",
    "/a",
    "a-",
    "a-b/x",
    "dir/../up",
    "./x",
    "x/.",
    "ü/日本",
    "d d/e+f=g?h#i%j",
    "z/",
];

#[test]
fn every_key_of_s3_is_a_key_of_its_own() {
    let bed = Bed::start();
    for key in KEYS {
        bed.put(key, key.as_bytes());
    }
    for key in KEYS {
        assert_eq!(bed.get(key).as_deref(), Some(key.as_bytes()), "{key:?}");
        let head = bed.ask("HEAD", key, b"");
        assert!(
            head.text
                .contains(&format!("content-length: {}\r", key.len()))
        );
    }
    let mut sorted: Vec<&str> = KEYS.to_vec();
    sorted.sort_unstable();
    assert_eq!(bed.list(&[("list-type", "2")]), sorted);
    let query = [("list-type", "2"), ("prefix", "a"), ("delimiter", "/")];
    assert_eq!(bed.list(&query), ["a", "a-", "a-b/", "a/"]);
    let query = [("list-type", "2"), ("prefix", "a/"), ("delimiter", "/")];
    assert_eq!(bed.list(&query), ["a/", "a/b", "a//", "a/b/"]);
    let long = bed.ask("PUT", &"x".repeat(1025), b"");
    assert_eq!((long.status, long.code()), (400, "KeyTooLongError"));
    let reserved = bed.ask("PUT", ".snapshot/x", b"");
    assert_eq!(reserved.status, 400, "{}", reserved.text);
    for key in KEYS {
        assert_eq!(bed.ask("DELETE", key, b"").status, 204, "{key:?}");
    }
    assert!(bed.list(&[("list-type", "2")]).is_empty());
    assert_eq!(bed.s3.ask("DELETE", "/bucket", b"").status, 204);
}

#[test]
fn what_one_door_writes_every_other_reads_at_once() {
    let bed = Bed::start();
    let second = bed.cluster.mount_again();
    let roots = [bed.root(), second.path().join("s3v/bucket")];
    let by_shell = |key: &str| {
        let output = bed
            .cluster
            .ozone(&["sh", "key", "cat", &format!("s3v/bucket/{key}")]);
        output.status.success().then_some(output.stdout)
    };
    let all_see = |key: &str, wanted: Option<&[u8]>| {
        assert!(bed.get(key).as_deref() == wanted, "S3: {key}");
        assert!(by_shell(key).as_deref() == wanted, "the shell: {key}");
        for root in &roots {
            let found = fs::read(root.join(key)).ok();
            assert!(found.as_deref() == wanted, "{}: {key}", root.display());
        }
    };
    for size in [0, 5, (16 << 10) + 1, 3 << 20] {
        let key = format!("dir/{size}");
        all_see(&key, None);
        bed.put(&key, &bytes(1, size));
        all_see(&key, Some(&bytes(1, size)));
        fs::write(roots[0].join(&key), bytes(2, size)).unwrap();
        all_see(&key, Some(&bytes(2, size)));
        let file = bed.cluster.scratch().join("file");
        fs::write(&file, bytes(3, size)).unwrap();
        bed.cluster
            .sh(&format!("key put s3v/bucket/{key} {}", file.display()));
        all_see(&key, Some(&bytes(3, size)));
        fs::rename(roots[1].join(&key), roots[1].join("moved")).unwrap();
        all_see(&key, None);
        all_see("moved", Some(&bytes(3, size)));
        fs::remove_file(roots[0].join("moved")).unwrap();
        all_see("moved", None);
    }
}

#[test]
fn keys_survive_kill_9() {
    let mut bed = Bed::start();
    let large = bytes(3, 5 << 20);
    bed.put("a", b"a");
    bed.put("a//b", b"b");
    bed.put("large", &large);
    fs::create_dir(bed.root().join("dir")).unwrap();
    fs::write(bed.root().join("dir/file"), "by the mount").unwrap();
    let mut unfinished = File::create(bed.root().join("unfinished")).unwrap();
    unfinished.write_all(&large).unwrap();
    bed.cluster.kill9();
    drop(unfinished);
    bed.cluster.restart();
    // The gateway listens elsewhere now.
    bed.s3 = S3 {
        endpoint: endpoint(&bed.cluster),
        ..bed.s3
    };
    assert_eq!(bed.get("a").as_deref(), Some(&b"a"[..]));
    assert_eq!(bed.get("a//b").as_deref(), Some(&b"b"[..]));
    assert!(bed.get("large") == Some(large));
    assert_eq!(
        fs::read(bed.root().join("dir/file")).unwrap(),
        b"by the mount"
    );
    assert_eq!(
        bed.list(&[("list-type", "2")]),
        ["a", "a//b", "dir/", "dir/file", "large"]
    );
}

#[test]
fn a_snapshot_of_an_object_store_is_read_by_every_door_and_changed_by_none() {
    let bed = Bed::start();
    let root = bed.root();
    for key in ["a", "a//b", "dir/file", "gone"] {
        bed.put(key, key.as_bytes());
    }
    bed.cluster.sh("snapshot create s3v/bucket snap1");
    bed.put("dir/file", b"changed");
    bed.ask("DELETE", "gone", b"");
    bed.cluster.sh("snapshot create s3v/bucket snap2");
    let past = root.join(".snapshot/snap1");
    assert_eq!(
        walk(&root.join(".snapshot"))
            .into_iter()
            .filter(|path| path.matches('/').count() == 1 && path.ends_with('/'))
            .collect::<Vec<_>>(),
        ["snap1/", "snap2/"]
    );
    assert_eq!(
        walk(&past),
        ["a/", "dir/", "dir/file", "gone"].map(str::to_owned).into()
    );
    assert_eq!(fs::read(past.join("dir/file")).unwrap(), b"dir/file");
    assert_eq!(fs::read(past.join("gone")).unwrap(), b"gone");
    assert_eq!(errno(fs::write(past.join("gone"), "")), Errno::EROFS);
    assert_eq!(errno(fs::remove_file(past.join("gone"))), Errno::EROFS);
    assert!(!walk(&root).iter().any(|path| path.starts_with(".snapshot")));
    let cat = |key: &str| {
        bed.cluster
            .sh(&format!("key cat s3v/bucket/.snapshot/snap1/{key}"))
    };
    assert_eq!(cat("a//b"), "a//b");
    assert_eq!(cat("gone"), "gone");
    bed.cluster.sh("snapshot diff s3v/bucket snap1 snap2");
    let report = || bed.cluster.sh("snapshot diff s3v/bucket snap1 snap2 -r");
    let report = wait_for(Duration::from_secs(10), || {
        let text = report();
        match text.contains("./gone") {
            true => Ok(text),
            false => Err(text),
        }
    });
    assert!(
        report.contains("-\t./gone") && report.contains("./dir/file"),
        "{report}"
    );
    assert!(!report.contains("./a"), "{report}");
}

#[test]
fn the_shell_and_hadoops_shell_know_the_layout() {
    let bed = Bed::start();
    let info = bed.cluster.sh("bucket info s3v/bucket");
    assert!(
        info.contains(r#""bucketLayout" : "OBJECT_STORE""#),
        "{info}"
    );
    bed.put("a//b", b"x");
    let list = bed.cluster.sh("key list s3v/bucket");
    assert!(list.contains(r#""name" : "a//b""#), "{list}");
    bed.cluster.sh("key rename s3v/bucket a//b c");
    assert_eq!(bed.get("c").as_deref(), Some(&b"x"[..]));
    let output = bed.cluster.ozone(&["fs", "-ls", "/s3v/bucket"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("OBJECT_STORE"),
        "{said}"
    );
    let output = bed
        .cluster
        .ozone(&["sh", "bucket", "create", "-l", "LEGACY", "s3v/legacy"]);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    for key in ["a/", "a/b", "a"] {
        bed.put(key, b"");
    }
    bed.cluster.sh("bucket delete -r -y s3v/bucket");
    assert_eq!(bed.s3.ask("HEAD", "/bucket", b"").status, 404);
}
