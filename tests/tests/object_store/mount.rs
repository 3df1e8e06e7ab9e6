//! What a mount makes of keys.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use nix::errno::Errno;
use ozone_tests::content::bytes;
use ozone_tests::shell::{errno, run};

use crate::KEYS;
use crate::bed::{Bed, walk};

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
