//! Two mounts of one cluster, and the command line beside them: what one changes, the others see at once,
//! however often they have looked before.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ozone_tests::cluster::SecondMount;
use ozone_tests::{Cluster, ClusterOptions};

/// A bucket as two mounts show it.
struct Two {
    cluster: Cluster,
    here: PathBuf,
    there: PathBuf,
    second: SecondMount,
}

fn two() -> Two {
    let cluster = Cluster::start(ClusterOptions::default());
    let here = cluster.bucket("vol", "bucket");
    let second = cluster.mount_again();
    let there = second.path().join("vol/bucket");
    Two {
        cluster,
        here,
        there,
        second,
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn absent(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[test]
fn what_one_mount_changes_the_other_sees_at_once_with_warm_caches() {
    let two = two();
    for round in 0..50 {
        let name = |what: &str| format!("{what}{round}");
        let (a, b) = (two.here.join(name("a")), two.there.join(name("a")));
        // Its absence is known there, and may be believed.
        assert!(absent(&b) && absent(&b));
        fs::write(&a, b"first").unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"first");
        assert_eq!(fs::metadata(&b).unwrap().len(), 5);

        fs::write(&a, b"second, longer").unwrap();
        assert_eq!(fs::metadata(&b).unwrap().len(), 14);
        assert_eq!(fs::read(&b).unwrap(), b"second, longer");

        fs::set_permissions(&a, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(fs::metadata(&b).unwrap().mode() & 0o777, 0o600);

        let moved = two.here.join(name("moved"));
        assert!(absent(&two.there.join(name("moved"))));
        fs::rename(&a, &moved).unwrap();
        assert!(absent(&b));
        assert_eq!(
            fs::read(two.there.join(name("moved"))).unwrap(),
            b"second, longer"
        );

        fs::hard_link(&moved, two.here.join(name("link"))).unwrap();
        assert_eq!(
            fs::metadata(two.there.join(name("moved"))).unwrap().nlink(),
            2
        );
        // And back, from there.
        fs::remove_file(two.there.join(name("link"))).unwrap();
        assert!(absent(&two.here.join(name("link"))));
        assert_eq!(fs::metadata(&moved).unwrap().nlink(), 1);
        fs::create_dir(two.there.join(name("dir"))).unwrap();
        assert!(names(&two.here.join(name("dir"))).is_empty());
        fs::write(two.here.join(name("dir")).join("inside"), b"x").unwrap();
        assert_eq!(names(&two.there.join(name("dir"))), ["inside"]);
        assert_eq!(names(&two.here), names(&two.there));
    }
}

#[test]
fn a_file_that_is_open_shows_what_another_mount_wrote() {
    let two = two();
    fs::write(two.here.join("f"), vec![b'a'; 10_000]).unwrap();
    let open = fs::File::open(two.there.join("f")).unwrap();
    let mut buffer = vec![0; 10_000];
    open.read_exact_at(&mut buffer, 0).unwrap();
    assert!(buffer.iter().all(|byte| *byte == b'a'));
    let mut writer = OpenOptions::new()
        .write(true)
        .open(two.here.join("f"))
        .unwrap();
    writer.write_all(&vec![b'b'; 10_000]).unwrap();
    writer.sync_all().unwrap();
    open.read_exact_at(&mut buffer, 0).unwrap();
    assert!(buffer.iter().all(|byte| *byte == b'b'));
}

#[test]
fn pages_of_an_open_file_go_though_its_mount_was_quiet_when_another_took_the_bucket() {
    let two = two();
    fs::write(two.here.join("f"), vec![b'a'; 10_000]).unwrap();
    let open = fs::File::open(two.there.join("f")).unwrap();
    let mut buffer = vec![0; 10_000];
    for round in [b'b', b'c', b'd'] {
        open.read_exact_at(&mut buffer, 0).unwrap();
        // That mount is told to forget everything, and nothing of what happens then.
        two.cluster.alone(&two.here);
        let writer = OpenOptions::new()
            .write(true)
            .open(two.here.join("f"))
            .unwrap();
        writer.write_all_at(&vec![round; 10_000], 0).unwrap();
        writer.sync_all().unwrap();
        open.read_exact_at(&mut buffer, 0).unwrap();
        assert!(buffer.iter().all(|byte| *byte == round), "old bytes");
    }
}

#[test]
fn a_mount_that_stood_still_for_longer_than_its_session_lasts_commits_what_it_had() {
    let two = two();
    let mut file = fs::File::create(two.there.join("f")).unwrap();
    file.write_all(&[b'a'; 100_000]).unwrap();
    two.second.stand_still(Duration::from_secs(12));
    file.sync_all().unwrap();
    assert_eq!(fs::read(two.here.join("f")).unwrap(), [b'a'; 100_000]);
    file.write_all(b"more").unwrap();
    file.sync_all().unwrap();
    assert_eq!(fs::metadata(two.here.join("f")).unwrap().len(), 100_004);
}

#[test]
fn what_the_command_line_changes_a_mount_sees_at_once() {
    let two = two();
    let local = two.cluster.scratch().join("local");
    for round in 0..5 {
        let (here, there) = (two.here.join("key"), two.there.join("key"));
        assert!(absent(&here) && absent(&there));
        fs::write(&local, format!("round {round}")).unwrap();
        let put = two.cluster.ozone(&[
            "sh",
            "key",
            "put",
            "vol/bucket/key",
            local.to_str().unwrap(),
        ]);
        assert!(put.status.success(), "{put:?}");
        assert_eq!(fs::read_to_string(&here).unwrap(), format!("round {round}"));
        assert_eq!(
            fs::read_to_string(&there).unwrap(),
            format!("round {round}")
        );
        let deleted = two
            .cluster
            .ozone(&["sh", "key", "delete", "vol/bucket/key"]);
        assert!(deleted.status.success(), "{deleted:?}");
    }
}

#[test]
fn two_mounts_that_change_one_directory_at_once_do_not_wait_for_each_other_for_long() {
    const FILES: usize = 200;
    let two = two();
    let started = Instant::now();
    let make = |dir: &Path, who: &str| {
        for n in 0..FILES {
            fs::write(dir.join(format!("{who}{n}")), b"x").unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| make(&two.here, "here"));
        scope.spawn(|| make(&two.there, "there"));
    });
    // If each collision waited for a lease of a second to end, this would take twice as long.
    assert!(started.elapsed() < Duration::from_secs(FILES as u64));
    assert_eq!(names(&two.here).len(), 2 * FILES);
    assert_eq!(names(&two.there).len(), 2 * FILES);
}

#[test]
fn exclusive_creation_has_one_winner_among_mounts() {
    let two = two();
    for n in 0..50 {
        let make = |dir: &Path| fs::File::create_new(dir.join(format!("f{n}"))).is_ok();
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| make(&two.here));
            let b = scope.spawn(|| make(&two.there));
            (a.join().unwrap(), b.join().unwrap())
        });
        assert!(a != b, "round {n}: {a} and {b}");
    }
}

#[test]
fn a_mount_that_dies_holds_nobody_up_for_long() {
    let mut two = two();
    fs::write(two.here.join("f"), b"1").unwrap();
    assert_eq!(fs::read(two.there.join("f")).unwrap(), b"1");
    two.second.kill9();
    let started = Instant::now();
    fs::write(two.here.join("f"), b"2").unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn no_reader_goes_back_in_time() {
    let two = two();
    let path = two.here.join("counter");
    fs::write(&path, b"00000000").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..300 {
                let next = two.here.join("next");
                fs::write(&next, format!("{n:08}")).unwrap();
                fs::rename(&next, &path).unwrap();
            }
            stop.store(true, Ordering::Release);
        });
        let mut last = String::new();
        while !stop.load(Ordering::Acquire) {
            let now = fs::read_to_string(two.there.join("counter")).unwrap();
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
    });
    assert_eq!(
        fs::read_to_string(two.there.join("counter")).unwrap(),
        "00000299"
    );
}

/// Bytes of a file that is removed while another mount opens it: more than the kernel reads at once.
const REMOVED: usize = 300_000;

#[test]
fn whoever_opens_a_file_while_it_is_removed_reads_all_of_it_or_finds_none() {
    let two = two();
    let (here, there) = (two.here.join("file"), two.there.join("file"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut read = 0;
            while !done.load(Ordering::Acquire) {
                match fs::File::open(&there) {
                    Ok(file) => {
                        // All bytes are there, or none: it may be open before it is written.
                        let mut content = vec![0; REMOVED];
                        let whole = file.metadata().unwrap().len() == REMOVED as u64;
                        if whole {
                            file.read_exact_at(&mut content, 0).unwrap();
                            assert!(content.iter().all(|byte| *byte == b'x'));
                            read += 1;
                        }
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                }
            }
            read
        });
        for round in 0..400 {
            fs::write(&here, vec![b'x'; REMOVED]).unwrap();
            if round % 2 == 0 {
                fs::remove_file(&here).unwrap();
            } else {
                fs::write(two.here.join("other"), vec![b'x'; REMOVED]).unwrap();
                fs::rename(two.here.join("other"), &here).unwrap();
                fs::remove_file(&here).unwrap();
            }
        }
        done.store(true, Ordering::Release);
        let read = reader.join().unwrap();
        println!("{read} files were read while they were removed");
    });
}
