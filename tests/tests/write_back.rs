//! What a mount makes in memory while it has a bucket to itself: durable when fsync says so, and never
//! to be missed by anybody who looks.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use ozone_tests::content::rounds;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};

/// How long what was closed may wait until it is committed.
const COMMIT_LIMIT: Duration = Duration::from_secs(30);
/// Threads that create files.
const WRITERS: usize = 4;

fn content(n: usize) -> String {
    format!("content of {n}")
}

/// Makes files with some content, without fsync.
fn make(dir: &Path, files: usize) {
    fs::create_dir(dir).unwrap();
    for n in 0..files {
        fs::write(dir.join(n.to_string()), content(n)).unwrap();
    }
}

fn check(dir: &Path, files: usize) {
    let mut names: Vec<usize> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.parse().unwrap())
        .collect();
    names.sort_unstable();
    assert!(names.into_iter().eq(0..files));
    for n in 0..files {
        assert_eq!(
            fs::read_to_string(dir.join(n.to_string())).unwrap(),
            content(n)
        );
    }
}

#[test]
fn what_is_made_in_memory_costs_few_calls_and_is_all_there_after_a_restart() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let calls = |cluster: &Cluster| {
        let ops = ["Create", "Commit", "SetAttr", "Batch", "Lookup", "GetAttr"];
        ops.iter().map(|op| cluster.om_requests(op)).sum::<u64>()
    };
    let old = TimeSpec::new(1_000_000_000, 123);
    // On a machine that stands still for a second the mount loses the bucket, and the next directory tells.
    let mut dirs = (0..).map(|n| bucket.join(format!("dir{n}")));
    let dir = wait_for(COMMIT_LIMIT, || {
        cluster.alone(&bucket);
        let (dir, before) = (dirs.next().unwrap(), calls(&cluster));
        make(&dir, 500);
        for n in 0..500 {
            let path = dir.join(n.to_string());
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let follow = UtimensatFlags::FollowSymlink;
            utimensat(nix::fcntl::AT_FDCWD, &path, &old, &old, follow).unwrap();
        }
        match calls(&cluster) - before {
            ..100 => Ok(dir),
            made => Err(format!("{made} calls for 500 small files")),
        }
    });
    std::os::unix::fs::symlink(dir.join("1"), bucket.join("link")).unwrap();
    let seen = fs::metadata(dir.join("7")).unwrap();
    // A clean stop commits everything.
    cluster.stop();
    cluster.restart();
    check(&dir, 500);
    let found = fs::metadata(dir.join("7")).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o640);
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_000_000_000, 123));
    assert_eq!((found.ino(), found.size()), (seen.ino(), seen.size()));
    assert_eq!(
        (found.ctime(), found.ctime_nsec()),
        (seen.ctime(), seen.ctime_nsec())
    );
    assert_eq!(fs::read_to_string(bucket.join("link")).unwrap(), content(1));
}

#[test]
fn another_mount_and_the_command_line_see_at_once_what_one_made_in_memory() {
    let cluster = Cluster::start(ClusterOptions::default());
    let here = cluster.bucket("vol", "bucket");
    let second = cluster.mount_again();
    let there = second.path().join("vol/bucket");
    for round in 0..3 {
        // The other one believes that there is nothing.
        let name = format!("dir{round}");
        assert!(!there.join(&name).exists());
        cluster.alone(&here);
        make(&here.join(&name), 50);
        check(&there.join(&name), 50);

        cluster.alone(&here);
        let key = format!("key{round}");
        fs::write(here.join(&key), content(round)).unwrap();
        let out = cluster.ozone(&["sh", "key", "cat", &format!("/vol/bucket/{key}")]);
        assert_eq!(String::from_utf8_lossy(&out.stdout), content(round));
    }
}

#[test]
fn what_was_closed_is_committed_soon_though_nobody_asks() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    cluster.alone(&bucket);
    let uncommitted = || cluster.metric("fs_uncommitted_bytes", &[]);
    // One that waits a while is seen to; on a machine that stands still for a second, the next one.
    let mut files = 0;
    wait_for(COMMIT_LIMIT, || {
        fs::write(bucket.join(files.to_string()), content(files)).unwrap();
        files += 1;
        match uncommitted() {
            0 => Err(format!("none of {files} files waits")),
            _ => Ok(()),
        }
    });
    wait_for(COMMIT_LIMIT, || match uncommitted() {
        0 => Ok(()),
        bytes => Err(format!("{bytes} bytes are not committed")),
    });
    cluster.kill9();
    cluster.restart();
    check(&bucket, files);
}

#[test]
fn replacing_a_file_by_renaming_leaves_the_old_content_or_the_new() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    for round in 0..5 {
        cluster.alone(&bucket);
        for n in 0..20 {
            fs::write(bucket.join("new"), content(n)).unwrap();
            fs::rename(bucket.join("new"), bucket.join("config")).unwrap();
        }
        cluster.kill9();
        cluster.restart();
        let found = fs::read_to_string(bucket.join("config")).unwrap();
        assert_eq!(found, content(19), "round {round}");
    }
}

#[test]
fn fsync_of_a_directory_tells_each_handle_once_of_a_name_that_was_lost() {
    let cluster = Cluster::start(ClusterOptions::default());
    let here = cluster.bucket("vol", "bucket");
    let second = cluster.mount_again();
    let there = second.path().join("vol/bucket");
    let pid = Pid::from_raw(second.pid().try_into().unwrap());
    // Made there in memory, and here while that mount is cut off; unless it was committed meanwhile.
    let (handles, name) = (0..10)
        .find_map(|n| {
            let name = format!("name{n}");
            cluster.alone(&there);
            let handles = [&there, &there].map(|dir| File::open(dir).unwrap());
            fs::create_dir(there.join(&name)).unwrap();
            kill(pid, Signal::SIGSTOP).unwrap();
            let made = fs::create_dir(here.join(&name));
            kill(pid, Signal::SIGCONT).unwrap();
            match made {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
                made => made.map(|()| Some((handles, name))).unwrap(),
            }
        })
        .expect("a name that waits to be committed");
    for handle in &handles {
        let told = handle.sync_all().unwrap_err().raw_os_error();
        assert_eq!(told, Some(Errno::EEXIST as i32));
        handle.sync_all().unwrap();
    }
    assert_eq!(
        fs::metadata(there.join(&name)).unwrap().ino(),
        fs::metadata(here.join(&name)).unwrap().ino()
    );
}

/// Creates files with fsync until the cluster is gone; says which.
fn create_durably(dir: &Path, writer: usize, done: &mpsc::Sender<PathBuf>) {
    for n in 0.. {
        let path = dir.join(format!("{writer}-{n}"));
        let created = File::create_new(&path).and_then(|mut file| {
            file.write_all(content(n).as_bytes())?;
            file.sync_all()
        });
        if created.is_err() || done.send(path).is_err() {
            return;
        }
    }
}

#[test]
fn fsynced_new_files_survive_kill() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    for round in rounds(3) {
        cluster.alone(&bucket);
        let dir = bucket.join(format!("round-{round}"));
        fs::create_dir(&dir).unwrap();
        let (sender, files) = mpsc::channel();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (dir, sender) = (dir.clone(), sender.clone());
                std::thread::spawn(move || create_durably(&dir, writer, &sender))
            })
            .collect();
        drop(sender);
        let mut durable: Vec<PathBuf> = files.iter().take(500 + round * 37).collect();
        cluster.kill9();
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        durable.extend(files.try_iter());
        cluster.restart();
        for path in &durable {
            let name = path.file_name().unwrap().to_str().unwrap();
            let n = name.split_once('-').unwrap().1.parse().unwrap();
            let found = fs::read_to_string(path);
            assert_eq!(found.unwrap(), content(n), "{}", path.display());
        }
        println!("round {round}: {} files are there", durable.len());
    }
}
