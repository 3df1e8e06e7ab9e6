//! What is deleted gives its bytes back on the disks of the datanodes; what is still open does not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ozone_tests::blocks;
use ozone_tests::content::bytes;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions, Daemon, DaemonOptions, Daemons};

const MIB: usize = 1 << 20;
/// What a cluster wrote to find out that it is ready, and may keep as long as it runs.
const PROBE: u64 = 3 * (64 << 10);
/// How long it may take until bytes are freed.
const FREED_LIMIT: Duration = Duration::from_secs(60);
/// How long SCM may take to give up a datanode.
const DEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long a new mount may take to believe what it is told.
const BELIEF_LIMIT: Duration = Duration::from_secs(30);

/// So that it takes seconds.
const QUICK: [(&str, &str); 2] = [
    ("ozone.block.deleting.service.interval", "500ms"),
    ("ozone.om.freed.block.grace", "1s"),
];

fn cluster() -> Cluster {
    Cluster::start(ClusterOptions {
        datanodes: 3,
        replication: Some("THREE"),
        sets: QUICK.map(|(key, value)| format!("{key}={value}")).into(),
        ..ClusterOptions::default()
    })
}

/// Bytes that blocks take on the disks of all datanodes.
fn used(cluster: &Cluster) -> u64 {
    let data = (1..=3).map(|n| cluster.dir().join(format!("datanode-{n}/data")));
    data.map(|data| blocks::used(&data)).sum()
}

fn wait_until_used(cluster: &Cluster, fits: impl Fn(u64) -> bool) {
    wait_for(FREED_LIMIT, || match used(cluster) {
        used if fits(used) => Ok(()),
        used => Err(format!("blocks take {used} bytes")),
    });
}

fn put(cluster: &Cluster, key: &str, content: &[u8]) {
    let local = cluster.scratch().join("local");
    fs::write(&local, content).unwrap();
    let output = cluster.ozone(&["sh", "key", "put", key, local.to_str().unwrap()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn delete(cluster: &Cluster, key: &str) {
    let output = cluster.ozone(&["sh", "key", "delete", key]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_deleted_key_frees_its_bytes_on_every_datanode() {
    let mut cluster = cluster();
    cluster.bucket("vol", "bucket");
    put(&cluster, "vol/bucket/kept", &bytes(1, MIB));
    let before = 3 * MIB as u64;
    wait_until_used(&cluster, |used| used >= before);
    put(&cluster, "vol/bucket/key", &bytes(2, 8 * MIB));
    // The third replica may come a moment later.
    wait_until_used(&cluster, |used| used >= before + 3 * 8 * MIB as u64);
    delete(&cluster, "vol/bucket/key");
    wait_until_used(&cluster, |used| used <= before + PROBE);
    let kept = cluster.mountpoint().join("vol/bucket/kept");
    assert!(
        fs::read(kept).unwrap() == bytes(1, MIB),
        "the other key changed"
    );
    // A key that replaces another frees that one.
    put(&cluster, "vol/bucket/kept", &bytes(3, MIB));
    wait_until_used(&cluster, |used| used <= 3 * MIB as u64 + PROBE);
    cluster.stop();
}

#[test]
fn deleted_files_and_trees_free_their_bytes() {
    let mut cluster = cluster();
    let bucket = cluster.bucket("vol", "bucket");
    let tree = bucket.join("tree");
    for dir in ["a", "a/b", "c"] {
        fs::create_dir_all(tree.join(dir)).unwrap();
        for n in 0..4 {
            let mut file = File::create(tree.join(dir).join(format!("f{n}"))).unwrap();
            file.write_all(&bytes(n, MIB / 2)).unwrap();
            file.sync_all().unwrap();
        }
    }
    fs::write(bucket.join("file"), bytes(9, 4 * MIB)).unwrap();
    // Blocks are the mount's until it says that it is done with them, at the latest when it ends.
    cluster.stop();
    cluster.restart();
    wait_until_used(&cluster, |used| used >= 3 * 10 * MIB as u64);
    fs::remove_file(bucket.join("file")).unwrap();
    fs::remove_dir_all(&tree).unwrap();
    wait_until_used(&cluster, |used| used <= PROBE);
    cluster.stop();
}

#[test]
fn an_unlinked_file_keeps_its_bytes_until_it_is_closed() {
    let mut cluster = cluster();
    let path = cluster.bucket("vol", "bucket").join("open");
    put(&cluster, "vol/bucket/open", &bytes(1, 4 * MIB));
    put(&cluster, "vol/bucket/other", &bytes(2, 8 * MIB));
    wait_until_used(&cluster, |used| used >= 3 * 12 * MIB as u64);
    let mut open = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    delete(&cluster, "vol/bucket/other");
    // The bytes of the other one are freed: reclaim has come by.
    wait_until_used(&cluster, |used| used <= 3 * 4 * MIB as u64 + PROBE);
    posix_fadvise(&open, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    let mut found = Vec::new();
    open.read_to_end(&mut found).unwrap();
    assert!(found == bytes(1, 4 * MIB), "other bytes");
    open.rewind().unwrap();
    assert!(used(&cluster) >= 3 * 4 * MIB as u64, "its bytes are gone");
    drop(open);
    wait_until_used(&cluster, |used| used <= PROBE);
    cluster.stop();
}

#[test]
fn a_file_that_was_removed_while_another_mount_was_silent_frees_its_bytes() {
    let mut cluster = cluster();
    let path = cluster.bucket("vol", "bucket").join("key");
    put(&cluster, "vol/bucket/key", &bytes(1, 4 * MIB));
    wait_until_used(&cluster, |used| used >= 3 * 4 * MIB as u64);
    let second = cluster.mount_again();
    // It believes that the name is there, and may open it.
    wait_for(BELIEF_LIMIT, || {
        let asked = || cluster.om_requests("Lookup") + cluster.om_requests("GetAttr");
        let before = asked();
        fs::metadata(second.path().join("vol/bucket/key")).unwrap();
        match asked() == before {
            true => Ok(()),
            false => Err("every look is a question".to_owned()),
        }
    });
    let pid = Pid::from_raw(second.pid().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    // This takes until it is not waited for any more; the answer to its last renewal tells of nothing else.
    let changed = fs::set_permissions(&path, Permissions::from_mode(0o600));
    let removed = fs::remove_file(&path);
    kill(pid, Signal::SIGCONT).unwrap();
    changed.and(removed).unwrap();
    wait_until_used(&cluster, |used| used <= PROBE);
    drop(second);
    cluster.stop();
}

#[test]
fn files_that_two_mounts_replace_at_once_free_their_bytes() {
    let mut cluster = cluster();
    let here = cluster.bucket("vol", "bucket");
    let second = cluster.mount_again();
    let there = second.path().join("vol/bucket");
    for round in 0..10 {
        let names = ["a", "b"].map(|name| format!("{name}{round}"));
        for name in &names {
            put(
                &cluster,
                &format!("vol/bucket/{name}"),
                &bytes(round, MIB / 2),
            );
        }
        let both = Barrier::new(2);
        std::thread::scope(|scope| {
            for (bucket, name) in [&here, &there].into_iter().zip(&names) {
                let both = &both;
                scope.spawn(move || {
                    both.wait();
                    fs::rename(bucket.join(name), bucket.join("name")).unwrap();
                });
            }
        });
    }
    fs::remove_file(here.join("name")).unwrap();
    wait_until_used(&cluster, |used| used <= PROBE);
    drop(second);
    cluster.stop();
}

/// Waits until the blocks of each of these datanodes take as many bytes as fits. They are healthy all the while.
fn wait_until_each_uses(cluster: &Daemons, datanodes: &[usize], fits: impl Fn(u64) -> bool) {
    wait_for(FREED_LIMIT, || {
        for n in datanodes {
            let (status, details) = cluster.health(Daemon::Datanode(*n))?;
            assert_eq!(status, 200, "datanode {n}: {details}");
            let used = blocks::used(&cluster.data_of(*n));
            if !fits(used) {
                return Err(format!("blocks of datanode {n} take {used} bytes"));
            }
        }
        Ok(())
    });
}

/// Waits until SCM counts only two datanodes.
fn wait_until_given_up(cluster: &Daemons) {
    wait_for(DEAD_LIMIT, || match cluster.health(Daemon::Scm)? {
        (_, said) if said["details"]["datanodes"] == 2 => Ok(()),
        (_, said) => Err(said.to_string()),
    });
}

#[test]
fn what_is_deleted_while_a_datanode_is_away_frees_its_bytes_there_too() {
    let mut cluster = Daemons::start(DaemonOptions {
        properties: QUICK.into(),
        ..DaemonOptions::default()
    });
    cluster.bucket("vol", "bucket");
    let size = 8 * MIB as u64;
    let local = cluster.dir().join("local");
    fs::write(&local, bytes(1, 8 * MIB)).unwrap();
    let local = local.to_str().unwrap();
    for (away, given_up) in [(1, false), (3, true)] {
        cluster.succeed(&["sh", "key", "put", "vol/bucket/key", local]);
        wait_until_each_uses(&cluster, &[1, 2, 3], |used| used >= size);
        cluster.kill9(Daemon::Datanode(away));
        if given_up {
            wait_until_given_up(&cluster);
        }
        cluster.succeed(&["sh", "key", "delete", "vol/bucket/key"]);
        let others: Vec<_> = (1..=3).filter(|n| *n != away).collect();
        wait_until_each_uses(&cluster, &others, |used| used <= PROBE);
        assert!(blocks::used(&cluster.data_of(away)) >= size, "it was away");
        cluster.start_one(Daemon::Datanode(away));
        wait_until_each_uses(&cluster, &[1, 2, 3], |used| used <= PROBE);
    }
    cluster.stop_all();
}
