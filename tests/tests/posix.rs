//! What POSIX promises, on the mount of a real cluster.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use ozone_tests::content::{bytes, rng};
use ozone_tests::shared::Bucket;
use ozone_tests::shell::{errno, run};
use rand::Rng;
use rand::rngs::StdRng;

fn read_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

#[test]
fn a_file_reads_as_it_was_written() {
    for bucket in Bucket::both("read-write") {
        for len in [0, 1, 4096, 16 << 10, (16 << 10) + 1, 5 << 20] {
            let path = bucket.at(&format!("f{len}"));
            let content = bytes(len as u64, len);
            fs::write(&path, &content).unwrap();
            assert!(fs::read(&path).unwrap() == content, "{len} bytes differ");
            assert_eq!(fs::metadata(&path).unwrap().len(), len as u64);
        }
    }
}

#[test]
fn create_new_refuses_a_name_that_exists() {
    for bucket in Bucket::both("create-new") {
        let create = || File::create_new(bucket.at("f"));
        create().unwrap();
        assert_eq!(errno(create()), Errno::EEXIST);
        assert_eq!(errno(File::open(bucket.at("other"))), Errno::ENOENT);
    }
}

#[test]
fn appends_land_at_the_end() {
    for bucket in Bucket::both("append") {
        let path = bucket.at("f");
        let mut expected = Vec::new();
        for n in 0..40 {
            let piece = bytes(n, 100 + 1000 * n as usize);
            let mut file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .unwrap();
            file.write_all(&piece).unwrap();
            expected.extend(piece);
        }
        assert!(fs::read(&path).unwrap() == expected);
    }
}

#[test]
fn a_hole_reads_as_zeros() {
    for bucket in Bucket::both("hole") {
        let path = bucket.at("f");
        let file = read_write().create_new(true).open(&path).unwrap();
        file.write_all_at(b"end", 10 << 20).unwrap();
        file.sync_all().unwrap();
        let content = fs::read(&path).unwrap();
        assert_eq!(content.len(), (10 << 20) + 3);
        assert!(content[..10 << 20].iter().all(|byte| *byte == 0));
        assert_eq!(&content[10 << 20..], b"end");
    }
}

/// The same operations on a file of the mount and on a file of the local disk.
struct Twins {
    rng: StdRng,
    paths: [std::path::PathBuf; 2],
    files: [File; 2],
}

impl Twins {
    fn new(bucket: &Bucket, local: &Path) -> Self {
        let paths = [bucket.at("f"), local.join("f")];
        let open = |path| read_write().create_new(true).open(path).unwrap();
        let files = [open(&paths[0]), open(&paths[1])];
        let rng = rng();
        Self { rng, paths, files }
    }

    fn range(&mut self) -> (u64, usize) {
        let offset = self.rng.random_range(0..3 << 20);
        let longest = *[64, 5000, 70_000, 1 << 20]
            .get(self.rng.random_range(0..4))
            .unwrap();
        (offset, self.rng.random_range(1..=longest))
    }

    fn write(&mut self) {
        let (offset, len) = self.range();
        let content = bytes(self.rng.random(), len);
        for file in &self.files {
            file.write_all_at(&content, offset).unwrap();
        }
    }

    fn append(&mut self) {
        let (_, len) = self.range();
        let content = bytes(self.rng.random(), len);
        for path in &self.paths {
            let mut file = OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(&content).unwrap();
        }
    }

    fn read(&mut self) {
        let (offset, len) = self.range();
        let [got, expected] = self.files.each_ref().map(|mut file| {
            let mut content = Vec::new();
            file.seek(SeekFrom::Start(offset)).unwrap();
            file.take(len as u64).read_to_end(&mut content).unwrap();
            content
        });
        assert!(got == expected, "{len} bytes at {offset} differ");
    }

    fn resize(&mut self) {
        let len = self.rng.random_range(0..4 << 20);
        for file in &self.files {
            file.set_len(len).unwrap();
        }
    }

    fn reopen(&mut self) {
        self.files = self
            .paths
            .each_ref()
            .map(|path| read_write().open(path).unwrap());
    }

    fn compare(&self) {
        let [got, expected] = self.paths.each_ref().map(|path| fs::read(path).unwrap());
        assert_eq!(got.len(), expected.len(), "lengths differ");
        let differs = got.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(differs, None, "first byte that differs");
    }
}

#[test]
fn random_operations_do_what_a_local_file_does() {
    for bucket in Bucket::both("random") {
        let local = tempfile::tempdir().unwrap();
        let mut twins = Twins::new(&bucket, local.path());
        for step in 0..500 {
            match twins.rng.random_range(0..100) {
                0..40 => twins.write(),
                40..50 => twins.append(),
                50..85 => twins.read(),
                85..90 => twins.resize(),
                90..95 => twins.reopen(),
                _ => twins.files[0].sync_all().unwrap(),
            }
            if step % 50 == 49 {
                twins.compare();
            }
        }
    }
}

#[test]
fn rename_replaces_the_target_and_keeps_the_source() {
    for bucket in Bucket::both("rename") {
        let (a, b) = (bucket.at("a"), bucket.at("b"));
        fs::write(&a, "new").unwrap();
        fs::write(&b, "old").unwrap();
        let mut old = File::open(&b).unwrap();
        let inode = fs::metadata(&a).unwrap().ino();
        fs::rename(&a, &b).unwrap();
        assert_eq!(errno(fs::metadata(&a)), Errno::ENOENT);
        assert_eq!(fs::read(&b).unwrap(), b"new");
        assert_eq!(fs::metadata(&b).unwrap().ino(), inode);
        let mut text = String::new();
        old.read_to_string(&mut text).unwrap();
        assert_eq!(text, "old", "what was replaced while open");
    }
}

#[test]
fn a_directory_moves_with_all_below_it() {
    for bucket in Bucket::both("rename-dir") {
        fs::create_dir_all(bucket.at("a/b/c")).unwrap();
        fs::create_dir(bucket.at("other")).unwrap();
        fs::write(bucket.at("a/b/c/f"), "content").unwrap();
        fs::rename(bucket.at("a"), bucket.at("other/z")).unwrap();
        assert_eq!(fs::read(bucket.at("other/z/b/c/f")).unwrap(), b"content");
        assert_eq!(errno(fs::metadata(bucket.at("a"))), Errno::ENOENT);
        let below = fs::rename(bucket.at("other"), bucket.at("other/z/b/other"));
        assert_eq!(errno(below), Errno::EINVAL);
        fs::write(bucket.at("file"), "").unwrap();
        let onto_file = fs::rename(bucket.at("other"), bucket.at("file"));
        assert_eq!(errno(onto_file), Errno::ENOTDIR);
    }
}

#[test]
fn hard_links_are_one_file() {
    for bucket in Bucket::both("hard-link") {
        fs::write(bucket.at("a"), "first").unwrap();
        fs::create_dir(bucket.at("d")).unwrap();
        fs::hard_link(bucket.at("a"), bucket.at("d/b")).unwrap();
        let [a, b] = ["a", "d/b"].map(|name| fs::metadata(bucket.at(name)).unwrap());
        assert_eq!((a.ino(), a.nlink(), b.nlink()), (b.ino(), 2, 2));
        fs::write(bucket.at("d/b"), "second, longer").unwrap();
        assert_eq!(fs::read(bucket.at("a")).unwrap(), b"second, longer");
        fs::remove_file(bucket.at("a")).unwrap();
        assert_eq!(fs::read(bucket.at("d/b")).unwrap(), b"second, longer");
        assert_eq!(fs::metadata(bucket.at("d/b")).unwrap().nlink(), 1);
    }
}

#[test]
fn a_symlink_keeps_its_target() {
    for bucket in Bucket::both("symlink") {
        fs::write(bucket.at("f"), "content").unwrap();
        symlink("f", bucket.at("link")).unwrap();
        symlink("nowhere/at all", bucket.at("dangling")).unwrap();
        assert_eq!(fs::read(bucket.at("link")).unwrap(), b"content");
        assert_eq!(
            fs::read_link(bucket.at("dangling")).unwrap(),
            Path::new("nowhere/at all")
        );
        assert_eq!(errno(File::open(bucket.at("dangling"))), Errno::ENOENT);
        let link = fs::symlink_metadata(bucket.at("link")).unwrap();
        assert!(link.is_symlink() && link.len() == 1);
    }
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    for bucket in Bucket::both("unlink-open") {
        let path = bucket.at("f");
        let content = bytes(7, 3 << 20);
        let mut file = read_write().create_new(true).open(&path).unwrap();
        file.write_all(&content[..1 << 20]).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(errno(fs::metadata(&path)), Errno::ENOENT);
        file.write_all(&content[1 << 20..]).unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        let mut back = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut back).unwrap();
        assert!(back == content);
    }
}

#[test]
fn truncate_cuts_and_extends_with_zeros() {
    for bucket in Bucket::both("truncate") {
        let path = bucket.at("f");
        fs::write(&path, bytes(1, 100_000)).unwrap();
        let file = read_write().open(&path).unwrap();
        file.set_len(50_001).unwrap();
        file.set_len(80_000).unwrap();
        drop(file);
        let content = fs::read(&path).unwrap();
        assert!(content[..50_001] == bytes(1, 100_000)[..50_001]);
        assert_eq!(content[50_001..], [0; 29_999]);
    }
}

#[test]
fn mode_and_nanosecond_times_are_kept() {
    for bucket in Bucket::both("attributes") {
        let path = bucket.at("f");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();
        let at = |seconds, nanos| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        let times = FileTimes::new()
            .set_accessed(at(1_000_000_000, 123_456_789))
            .set_modified(at(2_000_000_001, 987_654_321));
        File::open(&path).unwrap().set_times(times).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o4751);
        assert_eq!(
            (found.atime(), found.atime_nsec()),
            (1_000_000_000, 123_456_789)
        );
        assert_eq!(
            (found.mtime(), found.mtime_nsec()),
            (2_000_000_001, 987_654_321)
        );
    }
}

#[test]
fn extended_attributes_are_kept_and_removed() {
    for bucket in Bucket::both("xattr") {
        fs::write(bucket.at("f"), "").unwrap();
        let long = "v".repeat(4000);
        run(
            bucket.path(),
            "setfattr",
            &["-n", "user.one", "-v", "first", "f"],
        );
        run(
            bucket.path(),
            "setfattr",
            &["-n", "user.two", "-v", &long, "f"],
        );
        let one = run(
            bucket.path(),
            "getfattr",
            &["--only-values", "-n", "user.one", "f"],
        );
        let two = run(
            bucket.path(),
            "getfattr",
            &["--only-values", "-n", "user.two", "f"],
        );
        assert_eq!((one.as_str(), &two), ("first", &long));
        run(bucket.path(), "setfattr", &["-x", "user.one", "f"]);
        let left = run(bucket.path(), "getfattr", &["f"]);
        assert!(
            left.contains("user.two") && !left.contains("user.one"),
            "{left}"
        );
    }
}

#[test]
fn a_directory_of_5000_lists_each_name_once() {
    for bucket in Bucket::both("readdir") {
        let names: BTreeSet<_> = (0..5000)
            .map(|n| OsString::from(format!("entry-{n}")))
            .collect();
        for name in &names {
            File::create_new(bucket.path().join(name)).unwrap();
        }
        let listed: Vec<_> = fs::read_dir(bucket.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(listed.len(), 5000);
        assert!(listed.into_iter().collect::<BTreeSet<_>>() == names);
    }
}

#[test]
fn names_have_up_to_255_bytes() {
    for bucket in Bucket::both("names") {
        let longest = "é".repeat(127) + "x";
        assert_eq!(longest.len(), 255);
        fs::write(bucket.at(&longest), "content").unwrap();
        assert_eq!(fs::read(bucket.at(&longest)).unwrap(), b"content");
        let listed = fs::read_dir(bucket.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(listed.file_name(), OsString::from(&longest));
        assert_eq!(
            errno(File::create(bucket.at(&(longest + "y")))),
            Errno::ENAMETOOLONG
        );
    }
}

#[test]
fn a_directory_that_is_not_empty_stays() {
    for bucket in Bucket::both("not-empty") {
        fs::create_dir_all(bucket.at("d/inner")).unwrap();
        fs::create_dir(bucket.at("e")).unwrap();
        assert_eq!(errno(fs::remove_dir(bucket.at("d"))), Errno::ENOTEMPTY);
        assert_eq!(
            errno(fs::rename(bucket.at("e"), bucket.at("d"))),
            Errno::ENOTEMPTY
        );
        fs::remove_dir(bucket.at("d/inner")).unwrap();
        fs::remove_dir(bucket.at("d")).unwrap();
        assert_eq!(errno(fs::metadata(bucket.at("d"))), Errno::ENOENT);
    }
}

#[test]
fn rename_and_link_across_buckets_are_exdev() {
    for bucket in Bucket::both("exdev") {
        let other = bucket.sibling();
        fs::write(bucket.at("f"), "content").unwrap();
        assert_eq!(
            errno(fs::rename(bucket.at("f"), other.join("f"))),
            Errno::EXDEV
        );
        assert_eq!(
            errno(fs::hard_link(bucket.at("f"), other.join("f"))),
            Errno::EXDEV
        );
        assert_eq!(fs::read(bucket.at("f")).unwrap(), b"content");
        assert_eq!(errno(fs::metadata(other.join("f"))), Errno::ENOENT);
    }
}

#[test]
fn statfs_tells_space_and_the_longest_name() {
    for bucket in Bucket::both("statfs") {
        let found = statvfs(bucket.path()).unwrap();
        assert_eq!(found.name_max(), 255);
        assert!(found.blocks() > 0 && found.blocks_available() > 0);
        assert!(found.blocks_available() <= found.blocks());
    }
}
