//! Many files: a restart finds them all, and listing them takes little memory.
//! `FILES=100000` makes a soak of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use ozone_tests::content::number;
use ozone_tests::memory::peak_kib;
use ozone_tests::{Cluster, ClusterOptions};

/// Threads that create files.
const WRITERS: usize = 16;
/// What the process of a mount may grow by while a directory is listed, whatever its size.
const LISTING_KIB: u64 = 48 << 10;

fn name(n: usize) -> String {
    format!("file-{n:06}")
}

fn content(n: usize) -> String {
    format!("content of {n}")
}

fn create(dir: &Path, files: usize) {
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for n in (writer..files).step_by(WRITERS) {
                    fs::write(dir.join(name(n)), content(n)).unwrap();
                }
            });
        }
    });
}

/// The names in a directory, each seen once.
fn list(dir: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.insert(name.clone()), "{name} comes twice");
    }
    names
}

#[test]
fn a_restart_finds_many_files_and_listing_them_takes_little_memory() {
    let files = number("FILES", 5_000);
    let mut cluster = Cluster::start(ClusterOptions::default());
    let dir = cluster.bucket("vol", "bucket").join("many");
    fs::create_dir(&dir).unwrap();
    let start = Instant::now();
    create(&dir, files);
    println!(
        "{files} files created in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    // A file of the directory's own filesystem: everything before it is durable as well.
    fs::File::open(dir.join(name(files - 1)))
        .unwrap()
        .sync_all()
        .unwrap();
    cluster.stop();
    cluster.restart();
    cluster.kill9();
    let start = Instant::now();
    cluster.restart();
    println!("ready with them in {:.1} s", start.elapsed().as_secs_f64());

    let expected: BTreeSet<_> = (0..files).map(name).collect();
    let mount = cluster.mount_again();
    let many = mount.path().join("vol/bucket/many");
    // What listing needs at all is in use before it is measured.
    assert_eq!(fs::metadata(&many).unwrap().mode() & 0o777, 0o755);
    assert_eq!(
        list(&mount.path().join("vol/bucket")),
        ["many".to_owned()].into()
    );
    let before = peak_kib(mount.pid());
    let start = Instant::now();
    assert!(list(&many) == expected, "other names");
    let grown = peak_kib(mount.pid()) - before;
    println!(
        "listed in {:.1} s, the mount grew by {grown} KiB",
        start.elapsed().as_secs_f64()
    );
    assert!(grown < LISTING_KIB, "the mount grew by {grown} KiB");
    for n in (0..files).step_by(files / 500 + 1) {
        assert_eq!(fs::read_to_string(dir.join(name(n))).unwrap(), content(n));
    }
    drop(mount);
    cluster.stop();
}
