//! Many files: a cluster that was killed is ready with all of them at once, and listing them streams.
//! `FILES=100000` makes a soak of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ozone_tests::content::number;
use ozone_tests::memory::{own_kib, peak_kib};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};

/// Threads that create files.
const WRITERS: usize = 16;
/// How long a cluster may take to be ready again with so many files,
const MANY: usize = 100_000;
/// on a machine that does nothing else.
const READY: Duration = Duration::from_secs(3);
/// Entries that a mount asks the OM for at a time.
const PAGE: usize = 1000;
/// What the process of a mount may hold of a directory that was listed, however many entries it has.
const HELD_KIB: u64 = 4 << 10;
/// What it may hold for each of them for a moment more: memory goes back to the system a second after it was freed.
const ENTRY_BYTES: u64 = 400;
/// By then it has, also while somebody is still listing.
const FREED_LIMIT: Duration = Duration::from_secs(20);

fn name(n: usize) -> String {
    format!("file-{n:06}")
}

fn content(n: usize) -> String {
    format!("content of {n}")
}

/// Creates them, each fsynced.
fn create(dir: &Path, files: usize) {
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for n in (writer..files).step_by(WRITERS) {
                    let mut file = File::create_new(dir.join(name(n))).unwrap();
                    file.write_all(content(n).as_bytes()).unwrap();
                    file.sync_all().unwrap();
                }
            });
        }
    });
}

/// The names in a directory, each seen once; `seen` is told how many there were so far.
fn list(dir: &Path, seen: impl Fn(usize)) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.insert(name.clone()), "{name} comes twice");
        seen(names.len());
    }
    names
}

/// Waits until the mount holds about what it `held` before.
fn assert_given_back(mount: u32, held: u64) {
    wait_for(FREED_LIMIT, || match own_kib(mount).saturating_sub(held) {
        ..HELD_KIB => Ok(()),
        more => Err(format!("the mount holds {more} KiB more than before")),
    });
}

/// Makes the directory of many files.
fn make(cluster: &Cluster, files: usize) -> PathBuf {
    let dir = cluster.bucket("vol", "bucket").join("many");
    fs::create_dir(&dir).unwrap();
    let start = Instant::now();
    create(&dir, files);
    let took = start.elapsed().as_secs_f64();
    println!("{files} files created in {took:.1} s");
    dir
}

/// The first entry comes before the others have been asked for.
fn assert_first_comes_first(cluster: &Cluster, dir: &Path, files: usize) {
    let before = cluster.om_requests("ReadDir");
    let mut entries = fs::read_dir(dir).unwrap();
    entries.next().expect("an entry").unwrap();
    let asked = cluster.om_requests("ReadDir") - before;
    assert_eq!(asked, 1, "pages for the first entry");
    assert_eq!(entries.count(), files - 1);
    let asked = cluster.om_requests("ReadDir") - before;
    assert_eq!(asked, files.div_ceil(PAGE) as u64, "pages for all");
}

#[test]
fn a_killed_cluster_is_ready_with_many_files_and_listing_them_streams() {
    let files = number("FILES", 5_000);
    let mut cluster = Cluster::start(ClusterOptions {
        datanodes: 3,
        ..ClusterOptions::default()
    });
    let dir = make(&cluster, files);
    cluster.kill9();
    let start = Instant::now();
    cluster.restart();
    let ready = start.elapsed();
    println!("ready with them in {:.1} s", ready.as_secs_f64());
    if files >= MANY {
        assert!(ready < READY, "ready after {ready:?}");
    }

    let expected: BTreeSet<_> = (0..files).map(name).collect();
    let mount = cluster.mount_again();
    let many = mount.path().join("vol/bucket/many");
    // What listing needs at all is in use before it is measured.
    assert_eq!(fs::metadata(&many).unwrap().mode() & 0o777, 0o755);
    assert_eq!(
        list(&mount.path().join("vol/bucket"), |_| ()),
        ["many".to_owned()].into()
    );
    let (before, held) = (peak_kib(mount.pid()), own_kib(mount.pid()));
    let start = Instant::now();
    let nearly_all = |seen| {
        if seen == files * 9 / 10 {
            assert_given_back(mount.pid(), held);
        }
    };
    assert!(list(&many, nearly_all) == expected, "other names");
    let grown = peak_kib(mount.pid()) - before;
    println!(
        "listed in {:.1} s, the mount grew by {grown} KiB",
        start.elapsed().as_secs_f64()
    );
    let limit = HELD_KIB + files as u64 * ENTRY_BYTES / 1024;
    assert!(grown < limit, "the mount grew by {grown} of {limit} KiB");
    assert_given_back(mount.pid(), held);
    drop(mount);
    // A mount that has listed nothing yet.
    let mount = cluster.mount_again();
    assert_first_comes_first(&cluster, &mount.path().join("vol/bucket/many"), files);
    for n in (0..files).step_by(files / 500 + 1) {
        assert_eq!(fs::read_to_string(dir.join(name(n))).unwrap(), content(n));
    }
    drop(mount);
    cluster.stop();
}
