//! What one door writes every other reads: S3, the mount, a second mount, and the shell, with warm caches.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use ozone_tests::content::bytes;
use ozone_tests::s3::{Request, S3};
use ozone_tests::{Cluster, ClusterOptions};

const SIZES: [usize; 5] = [0, 5, 16 << 10, (16 << 10) + 1, 3 << 20];

struct Doors {
    cluster: Cluster,
    s3: S3,
}

impl Doors {
    fn open() -> Self {
        let cluster = Cluster::start(ClusterOptions::default());
        let s3 = S3::of(&cluster, "bilbo");
        assert_eq!(s3.ask("PUT", "/bucket", b"").status, 200);
        Self { cluster, s3 }
    }

    /// What S3 has under a name; nothing where there is no such key.
    fn by_s3(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.s3.ask("GET", &format!("/bucket/{key}"), b"");
        match answer.status {
            200 => Some(answer.body),
            404 => None,
            _ => panic!("{}", answer.text),
        }
    }

    fn by_shell(&self, key: &str) -> Option<Vec<u8>> {
        let output = self
            .cluster
            .ozone(&["sh", "key", "cat", &format!("s3v/bucket/{key}")]);
        output.status.success().then_some(output.stdout)
    }

    fn by_mount(&self, root: &Path, key: &str) -> Option<Vec<u8>> {
        fs::read(root.join("s3v/bucket").join(key)).ok()
    }

    #[track_caller]
    fn all_see(&self, second: &Path, key: &str, wanted: Option<&[u8]>) {
        let same = |door: &str, found: Option<Vec<u8>>| {
            assert!(
                found.as_deref() == wanted,
                "{door} has something else under {key}"
            );
        };
        same("S3", self.by_s3(key));
        same("the shell", self.by_shell(key));
        same("the mount", self.by_mount(&self.cluster.mountpoint(), key));
        same("a second mount", self.by_mount(second, key));
    }
}

#[test]
fn what_one_door_writes_every_other_reads() {
    let doors = Doors::open();
    let second = doors.cluster.mount_again();
    let mount = doors.cluster.mountpoint().join("s3v/bucket");
    for (n, size) in SIZES.into_iter().enumerate() {
        let data = |seed: u64| bytes(seed * 10 + n as u64, size);
        let key = format!("dir/{size}");
        let path = mount.join(&key);
        doors.all_see(second.path(), &key, None);
        // By S3, over nothing.
        let answer = doors.s3.ask("PUT", &format!("/bucket/{key}"), &data(1));
        assert_eq!(answer.status, 200);
        doors.all_see(second.path(), &key, Some(&data(1)));
        // By the mount, over S3's.
        fs::write(&path, data(2)).unwrap();
        doors.all_see(second.path(), &key, Some(&data(2)));
        // By S3, over the mount's.
        doors.s3.ask("PUT", &format!("/bucket/{key}"), &data(3));
        doors.all_see(second.path(), &key, Some(&data(3)));
        // By the shell, over S3's.
        let file = doors.cluster.scratch().join("file");
        fs::write(&file, data(4)).unwrap();
        let target = format!("s3v/bucket/{key}");
        let put = doors
            .cluster
            .ozone(&["sh", "key", "put", &target, file.to_str().unwrap()]);
        assert!(put.status.success(), "{put:?}");
        doors.all_see(second.path(), &key, Some(&data(4)));
        // Renamed by the mount, deleted by S3.
        fs::rename(&path, mount.join("moved")).unwrap();
        doors.all_see(second.path(), &key, None);
        doors.all_see(second.path(), "moved", Some(&data(4)));
        assert_eq!(doors.s3.ask("DELETE", "/bucket/moved", b"").status, 204);
        doors.all_see(second.path(), "moved", None);
    }
}

#[test]
fn a_digest_is_not_shown_for_what_the_mount_has_written_since() {
    let doors = Doors::open();
    let digest = |answer: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix("etag: "));
        line.expect("an ETag").trim().to_owned()
    };
    let ask = |method| digest(&doors.s3.ask(method, "/bucket/key", b"hello").text);
    // MD5 of "hello".
    let md5 = "\"5d41402abc4b2a76b9719d911017c592\"";
    assert_eq!(ask("PUT"), md5);
    assert_eq!(ask("HEAD"), md5);
    let path = doors.cluster.mountpoint().join("s3v/bucket/key");
    fs::write(&path, "jello").unwrap();
    let changed = ask("HEAD");
    assert_ne!(changed, md5);
    assert!(
        changed.ends_with("-0\""),
        "{changed} is no digest, and clients must see that"
    );
    assert_eq!(ask("HEAD"), changed, "the same content has the same ETag");
    assert_eq!(ask("PUT"), md5);
}

#[test]
fn metadata_stays_with_a_key_that_the_mount_renames() {
    let doors = Doors::open();
    let mut put = Request {
        method: "PUT",
        path: "/bucket/dir/key".to_owned(),
        body: b"hello".to_vec(),
        ..Request::default()
    };
    for (name, value) in [
        ("x-amz-meta-colour", "green"),
        ("x-amz-tagging", "team=red"),
        ("content-type", "text/plain"),
    ] {
        put.headers.push((name.to_owned(), value.to_owned()));
    }
    doors.s3.sign(&mut put);
    assert_eq!(doors.s3.send(&put).status, 200);
    let root = doors.cluster.mountpoint().join("s3v/bucket");
    fs::rename(root.join("dir/key"), root.join("moved")).unwrap();
    fs::hard_link(root.join("moved"), root.join("linked")).unwrap();
    for key in ["moved", "linked"] {
        let got = doors.s3.ask("GET", &format!("/bucket/{key}"), b"").text;
        for header in [
            "x-amz-meta-colour: green",
            "content-type: text/plain",
            "x-amz-tagging-count: 1",
        ] {
            assert!(got.contains(header), "{header} of {key}: {got}");
        }
        assert!(got.contains("5d41402abc4b2a76b9719d911017c592"), "{got}");
    }
}
