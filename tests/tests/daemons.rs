//! The servers as processes of their own, from one site file: each may be killed and started again
//! under a mount that stays, and two of three datanodes carry on reading and writing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ozone_tests::blocks::Location;
use ozone_tests::content::bytes;
use ozone_tests::wait::wait_for;
use ozone_tests::{Daemon, DaemonOptions, Daemons};

const MIB: usize = 1 << 20;
/// Records of a mebibyte that are written while a server is away, and after how many it goes.
const RECORDS: usize = 24;
const RECORDS_BEFORE: usize = 6;
/// After this long a small file that was closed has to be committed: the mount promises two seconds.
const COMMITTED: Duration = Duration::from_secs(3);
/// How long a datanode may take to fetch what it missed.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(90);

/// A program that is fed what it writes to the cluster. A process of its own, because a server
/// that this test starts inherits the open files of the test, and an open file of the mount would
/// have to be flushed to the server before that one runs.
struct Writer {
    child: Child,
    content: Vec<u8>,
}

impl Writer {
    /// Writes a file of the mount, each record fsynced.
    fn to_mount(path: &Path, seed: u64) -> Self {
        let mut dd = Command::new("dd");
        dd.args(["bs=1M", "iflag=fullblock", "oflag=dsync", "conv=excl"]);
        dd.arg(format!("of={}", path.display()));
        Self::start(dd, seed)
    }

    /// Puts a key.
    fn to_key(cluster: &Daemons, key: &str, seed: u64) -> Self {
        Self::start(
            cluster.command(&["sh", "key", "put", key, "/dev/stdin"]),
            seed,
        )
    }

    /// Starts it, and gives it the first records.
    fn start(mut command: Command, seed: u64) -> Self {
        let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("a program that writes");
        let content = bytes(seed, RECORDS * MIB);
        let input = child.stdin.as_mut().unwrap();
        input.write_all(&content[..RECORDS_BEFORE * MIB]).unwrap();
        Self { child, content }
    }

    /// Gives it the other records, while the caller does something else.
    fn go_on(mut self) -> JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut input = self.child.stdin.take().unwrap();
            let fed = input.write_all(&self.content[RECORDS_BEFORE * MIB..]);
            drop(input);
            let output = self.child.wait_with_output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {error}", output.status);
            fed.expect("bytes that are taken");
            self.content
        })
    }
}

fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "length of {what}");
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "first byte that differs in {what}");
}

/// Fetches a key with `ozone sh`.
fn get(cluster: &Daemons, key: &str) -> Vec<u8> {
    let target = cluster.dir().join("fetched");
    cluster.succeed(&["sh", "key", "get", "--force", key, target.to_str().unwrap()]);
    fs::read(target).unwrap()
}

/// Reads every file both ways, the mount's with a cache that is empty.
fn assert_all_readable(cluster: &mut Daemons, files: &[(PathBuf, Vec<u8>)]) {
    cluster.stop(Daemon::Mount);
    cluster.start_one(Daemon::Mount);
    for (path, content) in files {
        let name = path.display().to_string();
        assert_same(&fs::read(path).unwrap(), content, &name);
        let key = path.strip_prefix(cluster.mountpoint()).unwrap();
        assert_same(&get(cluster, key.to_str().unwrap()), content, &name);
    }
}

/// Waits until a datanode has the same bytes of all files as another one.
fn wait_until_caught_up(
    cluster: &Daemons,
    late: usize,
    other: usize,
    files: &[(PathBuf, Vec<u8>)],
) {
    let key_of = |path: &Path| {
        path.strip_prefix(cluster.mountpoint())
            .unwrap()
            .display()
            .to_string()
    };
    let places: Vec<_> = files
        .iter()
        .flat_map(|(path, _)| {
            Location::all_of(&cluster.succeed(&["sh", "key", "info", &key_of(path)]))
        })
        .collect();
    assert!(!places.is_empty(), "no file has blocks");
    let (late, other) = (cluster.data_of(late), cluster.data_of(other));
    wait_for(CATCH_UP_LIMIT, || {
        let missing = places
            .iter()
            .find(|place| place.read(&late) != place.read(&other));
        missing.map_or(Ok(()), |place| {
            Err(format!("{} lacks {place:?}", late.display()))
        })
    });
}

#[test]
fn two_of_three_datanodes_write_and_read_and_the_third_catches_up() {
    let mut cluster = Daemons::start(DaemonOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let mut files = Vec::new();
    for victim in 1..=3 {
        let (file, key) = (format!("file-{victim}"), format!("key-{victim}"));
        let seed = victim as u64;
        let writer = Writer::to_mount(&bucket.join(&file), seed);
        let put = Writer::to_key(&cluster, &format!("vol/bucket/{key}"), 100 + seed);
        cluster.kill9(Daemon::Datanode(victim));
        let (writing, putting) = (writer.go_on(), put.go_on());
        files.push((
            bucket.join(file),
            writing.join().expect("the write goes on"),
        ));
        files.push((bucket.join(key), putting.join().expect("the put goes on")));
        assert_all_readable(&mut cluster, &files);
        cluster.start_one(Daemon::Datanode(victim));
        wait_until_caught_up(&cluster, victim, victim % 3 + 1, &files);
    }
    // What was written in its absence is on the last one as well: it is enough to read.
    cluster.kill9(Daemon::Datanode(1));
    cluster.kill9(Daemon::Datanode(2));
    assert_all_readable(&mut cluster, &files);
}

/// Writes while `server` is killed and started again, and reads everything after it.
fn outage(cluster: &mut Daemons, server: Daemon) {
    let bucket = cluster.bucket("vol", "bucket");
    let before = bucket.join(format!("before-{server}"));
    fs::write(&before, b"old").unwrap();
    let during = bucket.join(format!("during-{server}"));
    let writer = Writer::to_mount(&during, 7);
    cluster.kill9(server);
    let writing = writer.go_on();
    cluster.start_one(server);
    let content = writing.join().expect("the write goes on");
    let after = bucket.join(format!("after-{server}"));
    fs::write(&after, bytes(8, MIB)).unwrap();
    let files = [
        (before, b"old".to_vec()),
        (during, content),
        (after, bytes(8, MIB)),
    ];
    // Through the mount that was there all the time, and through a new one.
    for (path, content) in &files {
        assert_same(
            &fs::read(path).unwrap(),
            content,
            &path.display().to_string(),
        );
    }
    assert_all_readable(cluster, &files);
}

#[test]
fn a_mount_outlives_kills_of_om_and_scm() {
    let mut cluster = Daemons::start(DaemonOptions::default());
    for server in [Daemon::Om, Daemon::Scm, Daemon::Om] {
        outage(&mut cluster, server);
        fs::remove_dir_all(cluster.bucket("vol", "bucket")).unwrap();
    }
    cluster.stop_all();
}

#[test]
fn mount_and_shell_see_the_same_bytes() {
    let mut cluster = Daemons::start(DaemonOptions::one_copy());
    let bucket = cluster.bucket("vol", "bucket");
    for (n, size) in [0, 1, 4 << 10, 16 << 10, (16 << 10) + 1, 70 * MIB + 13]
        .into_iter()
        .enumerate()
    {
        let content = bytes(n as u64, size);
        let local = cluster.dir().join("local");
        fs::write(&local, &content).unwrap();
        let key = format!("vol/bucket/put-{size}");
        cluster.succeed(&["sh", "key", "put", &key, local.to_str().unwrap()]);
        assert_same(
            &fs::read(cluster.mountpoint().join(&key)).unwrap(),
            &content,
            &key,
        );
        fs::write(bucket.join(format!("written-{size}")), &content).unwrap();
        let key = format!("vol/bucket/written-{size}");
        assert_same(&get(&cluster, &key), &content, &key);
    }
    cluster.stop_all();
}

#[test]
fn a_second_server_on_the_same_directories_names_the_first() {
    let mut cluster = Daemons::new(DaemonOptions::one_copy());
    cluster.start_servers();
    for server in [Daemon::Scm, Daemon::Om] {
        let refused = cluster.refused(server);
        let holder = format!("in use by process {}", cluster.pid(server));
        assert!(refused.text.contains(&holder), "{}", refused.text);
        assert!(
            refused.text.contains("another directory"),
            "{}",
            refused.text
        );
    }
    cluster.stop_all();
}

#[test]
fn small_files_are_committed_while_a_datanode_stands_still() {
    let mut cluster = Daemons::start(DaemonOptions::one_copy());
    let bucket = cluster.bucket("vol", "bucket");
    let pid = i32::try_from(cluster.pid(Daemon::Datanode(1))).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    // Nobody can commit this one for now, and the mount tries.
    let mut large = File::create(bucket.join("large")).unwrap();
    large.write_all(&bytes(1, 8 * MIB)).unwrap();
    std::thread::sleep(COMMITTED);
    fs::write(bucket.join("small"), "content").unwrap();
    std::thread::sleep(COMMITTED * 4);
    cluster.kill9(Daemon::Mount);
    kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
    drop(large);
    umount2(&cluster.mountpoint(), MntFlags::MNT_DETACH).unwrap();
    cluster.start_one(Daemon::Mount);
    assert_eq!(fs::read(bucket.join("small")).unwrap(), b"content");
    cluster.stop_all();
}
