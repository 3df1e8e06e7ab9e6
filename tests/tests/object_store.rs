//! Object-store buckets in the real processes: S3's own keys, and what a mount makes of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use ozone_tests::content::bytes;
use ozone_tests::s3::{Answer, Request, S3, endpoint};
use ozone_tests::shell::run;
use ozone_tests::{Cluster, ClusterOptions};

fn sh(cluster: &Cluster, line: &str) -> String {
    let args: Vec<_> = line.split(' ').collect();
    let output = cluster.ozone(&[&["sh"], args.as_slice()].concat());
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

struct Bed {
    cluster: Cluster,
    s3: S3,
}

impl Bed {
    /// A cluster with the bucket `s3v/bucket`, an object store.
    fn start() -> Self {
        let cluster = Cluster::start(ClusterOptions::default());
        sh(&cluster, "volume create s3v");
        sh(&cluster, "bucket create --layout obs s3v/bucket");
        let s3 = S3::of(&cluster, "bilbo");
        Self { cluster, s3 }
    }

    fn root(&self) -> PathBuf {
        self.cluster.mountpoint().join("s3v/bucket")
    }

    fn ask(&self, method: &'static str, key: &str, body: &[u8]) -> Answer {
        self.s3
            .ask(method, &format!("/bucket/{}", escape(key)), body)
    }

    fn put(&self, key: &str, body: &[u8]) {
        let answer = self.ask("PUT", key, body);
        assert_eq!(answer.status, 200, "{key:?}: {}", answer.text);
    }

    /// What S3 has under a key.
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.ask("GET", key, b"");
        match answer.status {
            200 => Some(answer.body),
            404 => None,
            _ => panic!("{}", answer.text),
        }
    }

    fn list(&self, query: &[(&str, &str)]) -> Vec<String> {
        let mut request = Request {
            method: "GET",
            path: "/bucket".to_owned(),
            query: query
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Request::default()
        };
        self.s3.sign(&mut request);
        let answer = self.s3.send(&request);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let inside = |tag: &str| {
            let parts = answer.text.split(tag).skip(1);
            parts
                .map(|rest| rest.split('<').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let groups = inside("<CommonPrefixes><Prefix>");
        inside("<Key>").into_iter().chain(groups).collect()
    }
}

fn escape(key: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
            (byte as char).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    key.bytes().map(byte).collect()
}

fn errno<T>(result: Result<T, Error>) -> Errno {
    let error = result.map(drop).expect_err("refused");
    Errno::from_raw(error.raw_os_error().expect("an errno"))
}

/// Paths below a directory, directories with a slash.
fn walk(dir: &Path) -> BTreeSet<String> {
    let text = run(dir, "find", &[".", "-mindepth", "1", "-printf", "%P\t%y\n"]);
    text.lines()
        .map(|line| match line.split_once('\t').unwrap() {
            (path, "d") => format!("{path}/"),
            (path, _) => path.to_owned(),
        })
        .collect()
}

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
fn the_mount_shows_the_keys_that_are_paths_and_hides_the_others() {
    let bed = Bed::start();
    for key in KEYS {
        bed.put(key, key.as_bytes());
    }
    bed.put(&format!("long/{}", "x".repeat(256)), b"");
    bed.put("hidden/by", b"");
    bed.put("hidden", b"a file that a directory hides");
    let root = bed.root();
    let shown = walk(&root);
    let wanted = [
        "a/",
        "a/b/",
        "a/b/c",
        "a-",
        "a-b/",
        "a-b/x",
        "dir/",
        "hidden/",
        "hidden/by",
        "long/",
        "x/",
        "z/",
        "ü/",
        "ü/日本",
        "d d/",
        "d d/e+f=g?h#i%j",
    ];
    assert_eq!(shown, wanted.map(str::to_owned).into());
    for key in ["a/b/c", "a-b/x", "ü/日本", "d d/e+f=g?h#i%j"] {
        assert_eq!(fs::read(root.join(key)).unwrap(), key.as_bytes());
    }
    assert_eq!(errno(fs::metadata(root.join("nothing"))), Errno::ENOENT);
    let second = bed.cluster.mount_again();
    let ino = |root: &Path| fs::metadata(root.join("a/b")).unwrap().ino();
    assert_eq!(ino(&root), ino(&second.path().join("s3v/bucket")));
}

#[test]
fn a_directory_of_thousands_of_keys_is_listed_once_each() {
    let bed = Bed::start();
    let root = bed.root();
    fs::create_dir(root.join("many")).unwrap();
    for n in 0..2500 {
        fs::write(root.join(format!("many/{n:05}")), "x").unwrap();
    }
    // A file and the directory that hides it, far apart among keys.
    bed.put("many/01000", b"");
    for n in 0..1200 {
        bed.put(&format!("many/01000-{n:04}"), b"");
    }
    bed.put("many/01000/inside", b"");
    let entries = fs::read_dir(root.join("many")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!((count, names.len()), (3700, 3700));
    assert!(root.join("many/01000").is_dir());
}

#[test]
fn a_file_is_an_object_when_it_is_closed_and_not_before() {
    let bed = Bed::start();
    let root = bed.root();
    for size in [0, 5, (16 << 10) + 1, 5 << 20] {
        let (old, new) = (bytes(1, size), bytes(2, size));
        fs::write(root.join("file"), &old).unwrap();
        assert!(bed.get("file") == Some(old.clone()), "{size} bytes");
        let mut file = File::create(root.join("file")).unwrap();
        file.write_all(&new).unwrap();
        assert!(bed.get("file") == Some(old), "half of {size} bytes");
        drop(file);
        assert!(bed.get("file") == Some(new.clone()), "{size} bytes");
        assert!(fs::read(root.join("file")).unwrap() == new);
    }
    let file = File::create_new(root.join("new")).unwrap();
    assert_eq!(bed.get("new"), None);
    assert_eq!(fs::metadata(root.join("new")).unwrap().len(), 0);
    file.sync_all().unwrap();
    assert_eq!(bed.get("new"), Some(Vec::new()));
    assert_eq!(errno(File::create_new(root.join("new"))), Errno::EEXIST);
    // Of which the content is known by its MD5, as S3's clients expect.
    fs::write(root.join("hello"), "hello").unwrap();
    let head = bed.ask("HEAD", "hello", b"").text;
    assert!(head.contains("5d41402abc4b2a76b9719d911017c592"), "{head}");
}

#[test]
fn shells_redirect_append_and_copy_as_anywhere() {
    let bed = Bed::start();
    let root = bed.root();
    let script = "
        set -e
        mkdir -p dir/deep
        echo one > dir/file
        (echo two; /bin/echo three; echo four) > dir/several
        echo more >> dir/file
        touch dir/empty
        cp -p dir/several dir/deep/copy
        cp -r dir other
        mv dir/file dir/renamed
        mv other/deep moved
        test ! -e other/deep
        cat moved/copy | tee piped > /dev/null
        : > dir/empty
        dd if=/dev/zero of=zeros bs=64k count=40 conv=fsync status=none
        rm -r other
        test ! -e other
        tar cf archive.tar dir && mkdir out && tar xf archive.tar -C out --touch
    ";
    run(&root, "bash", &["-c", script]);
    let text = |key: &str| String::from_utf8(bed.get(key).expect(key)).unwrap();
    assert_eq!(text("dir/renamed"), "one\nmore\n");
    assert_eq!(text("dir/several"), "two\nthree\nfour\n");
    assert_eq!(text("moved/copy"), "two\nthree\nfour\n");
    assert_eq!(text("piped"), "two\nthree\nfour\n");
    assert_eq!(text("out/dir/renamed"), "one\nmore\n");
    assert_eq!(bed.get("dir/empty"), Some(Vec::new()));
    assert_eq!(bed.get("zeros").unwrap().len(), 40 << 16);
    assert_eq!(bed.get("dir/file"), None);
    assert!(
        !bed.list(&[("list-type", "2")])
            .iter()
            .any(|key| key.starts_with("other"))
    );
}

#[test]
fn what_an_object_store_cannot_do_is_refused_clearly() {
    let bed = Bed::start();
    let root = bed.root();
    fs::write(root.join("file"), "0123456789").unwrap();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("dir/inside"), "").unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(root.join("file"))
        .unwrap();
    assert_eq!(errno(file.write_at(b"x", 3)), Errno::EOPNOTSUPP);
    assert_eq!(errno(file.set_len(5)), Errno::EOPNOTSUPP);
    let mut text = String::new();
    (&file).read_to_string(&mut text).unwrap();
    assert_eq!(text, "0123456789", "it is what it was");
    drop(file);
    let mut new = File::create(root.join("new")).unwrap();
    new.write_all(b"abc").unwrap();
    new.seek(SeekFrom::Start(10)).unwrap();
    assert_eq!(errno(new.write(b"x")), Errno::EOPNOTSUPP);
    drop(new);
    assert_eq!(bed.get("new").as_deref(), Some(&b"abc"[..]));
    let to = |name: &str| root.join(name);
    assert_eq!(errno(fs::hard_link(to("file"), to("other"))), Errno::EPERM);
    assert_eq!(errno(symlink("file", to("other"))), Errno::EPERM);
    assert_eq!(errno(fs::rename(to("dir"), to("other"))), Errno::EXDEV);
    assert_eq!(errno(fs::remove_dir(to("dir"))), Errno::ENOTEMPTY);
    assert_eq!(errno(fs::create_dir(to("dir"))), Errno::EEXIST);
    assert_eq!(errno(fs::create_dir(to("file"))), Errno::EEXIST);
    assert_eq!(errno(File::create(to(".snapshot"))), Errno::EISDIR);
    assert_eq!(errno(fs::create_dir(to(".snapshot/x"))), Errno::EROFS);
    bed.put("implied/key", b"");
    let mode = fs::Permissions::from_mode(0o700);
    assert_eq!(
        errno(fs::set_permissions(to("implied"), mode.clone())),
        Errno::EPERM
    );
    // A directory that was made, and a file, keep what is set.
    for name in ["dir", "file"] {
        fs::set_permissions(to(name), mode.clone()).unwrap();
        let found = fs::metadata(to(name)).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o700, "{name}");
    }
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
        sh(
            &bed.cluster,
            &format!("key put s3v/bucket/{key} {}", file.display()),
        );
        all_see(&key, Some(&bytes(3, size)));
        fs::rename(roots[1].join(&key), roots[1].join("moved")).unwrap();
        all_see(&key, None);
        all_see("moved", Some(&bytes(3, size)));
        fs::remove_file(roots[0].join("moved")).unwrap();
        all_see("moved", None);
    }
}

#[test]
fn an_open_file_reads_what_it_was_whatever_becomes_of_the_key() {
    let bed = Bed::start();
    let old = bytes(1, 3 << 20);
    bed.put("file", &old);
    let mut file = File::open(bed.root().join("file")).unwrap();
    bed.put("file", b"new");
    assert_eq!(fs::read(bed.root().join("file")).unwrap(), b"new");
    let mut found = Vec::new();
    file.read_to_end(&mut found).unwrap();
    assert!(found == old);
    assert_eq!(bed.ask("DELETE", "file", b"").status, 204);
    let mut again = vec![0; 100];
    file.read_exact_at(&mut again, 1 << 20).unwrap();
    assert_eq!(again, old[1 << 20..][..100]);
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
    sh(&bed.cluster, "snapshot create s3v/bucket snap1");
    bed.put("dir/file", b"changed");
    bed.ask("DELETE", "gone", b"");
    sh(&bed.cluster, "snapshot create s3v/bucket snap2");
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
        sh(
            &bed.cluster,
            &format!("key cat s3v/bucket/.snapshot/snap1/{key}"),
        )
    };
    assert_eq!(cat("a//b"), "a//b");
    assert_eq!(cat("gone"), "gone");
    sh(&bed.cluster, "snapshot diff s3v/bucket snap1 snap2");
    let report = || sh(&bed.cluster, "snapshot diff s3v/bucket snap1 snap2 -r");
    let report = ozone_tests::wait::wait_for(std::time::Duration::from_secs(10), || {
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
    let info = sh(&bed.cluster, "bucket info s3v/bucket");
    assert!(
        info.contains(r#""bucketLayout" : "OBJECT_STORE""#),
        "{info}"
    );
    bed.put("a//b", b"x");
    let list = sh(&bed.cluster, "key list s3v/bucket");
    assert!(list.contains(r#""name" : "a//b""#), "{list}");
    sh(&bed.cluster, "key rename s3v/bucket a//b c");
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
    sh(&bed.cluster, "bucket delete -r -y s3v/bucket");
    assert_eq!(bed.s3.ask("HEAD", "/bucket", b"").status, 404);
}
