//! Owners, modes and special files on the mount, as other users meet them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use ozone_tests::{Cluster, ClusterOptions};

/// A user and a group that are nobody's.
const USER: u32 = 61_001;
const GROUP: u32 = 61_002;
/// Another user.
const OTHER: u32 = 61_003;

/// A cluster whose mount everybody gets at, and a bucket in it.
fn start() -> (Cluster, PathBuf) {
    let cluster = Cluster::start(ClusterOptions::default());
    // Directories for tests are for their user alone.
    fs::set_permissions(cluster.scratch(), Permissions::from_mode(0o755)).unwrap();
    let bucket = cluster.bucket("vol", "owners");
    (cluster, bucket)
}

/// Whether a shell command succeeds for a user, with `path` as its `$0`.
fn may(user: u32, group: u32, command: &str, path: &Path) -> bool {
    let output = Command::new("sh")
        .args(["-c", command])
        .arg(path)
        .current_dir("/")
        .uid(user)
        .gid(group)
        .output()
        .expect("sh starts: tests run as root");
    let error = String::from_utf8_lossy(&output.stderr);
    let refused = ["Permission denied", "not permitted"];
    assert!(
        output.status.success() || refused.iter().any(|why| error.contains(why)),
        "{command} {}: {error}",
        path.display()
    );
    output.status.success()
}

fn set(path: &Path, mode: u32, owner: u32, group: u32) {
    chown(path, Some(owner), Some(group)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn owner(path: &Path) -> (u32, u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

const READ: &str = "cat \"$0\" >/dev/null";
const WRITE: &str = "echo more >> \"$0\"";

#[test]
fn files_open_to_whom_their_mode_lets_in() {
    let (_cluster, bucket) = start();
    let path = bucket.join("file");
    fs::write(&path, "content").unwrap();
    // Mode, owner, group; whether USER in GROUP may read, may write.
    let cases = [
        (0o600, 0, 0, false, false),
        (0o644, 0, 0, true, false),
        (0o666, 0, 0, true, true),
        (0o600, USER, 0, true, true),
        (0o400, USER, 0, true, false),
        (0o640, 0, GROUP, true, false),
        (0o660, OTHER, GROUP, true, true),
        (0o660, OTHER, 0, false, false),
        // The owner's bits count for the owner, whatever the others' say.
        (0o066, USER, GROUP, false, false),
    ];
    for (mode, uid, gid, read, write) in cases {
        set(&path, mode, uid, gid);
        let found = (
            may(USER, GROUP, READ, &path),
            may(USER, GROUP, WRITE, &path),
        );
        assert_eq!(found, (read, write), "{mode:o} of {uid}:{gid}");
    }
}

#[test]
fn directories_open_to_whom_their_mode_lets_in() {
    let (_cluster, bucket) = start();
    let dir = bucket.join("dir");
    fs::create_dir(&dir).unwrap();
    let file = dir.join("file");
    fs::write(&file, "content").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    set(&dir, 0o700, 0, 0);
    assert!(!may(USER, GROUP, READ, &file));
    set(&dir, 0o755, 0, 0);
    assert!(may(USER, GROUP, READ, &file));
    assert!(!may(USER, GROUP, "> \"$0\"/new", &dir));
    assert!(!may(USER, GROUP, "rm -f \"$0\"", &file));
    set(&dir, 0o777, 0, 0);
    assert!(may(USER, GROUP, "umask 027; > \"$0\"/new", &dir));
    assert_eq!(owner(&dir.join("new")), (USER, GROUP, 0o640));
    assert!(may(USER, GROUP, "rm \"$0\"", &file));
    // Sticky: everybody may add, and remove what is theirs.
    set(&dir, 0o1777, 0, 0);
    assert!(!may(OTHER, GROUP, "rm -f \"$0\"", &dir.join("new")));
    assert!(!may(
        OTHER,
        GROUP,
        "mv \"$0\" \"$0\"-moved",
        &dir.join("new")
    ));
    assert!(may(USER, GROUP, "rm \"$0\"", &dir.join("new")));
    // Of a directory with the group bit its group is inherited, and the bit by directories.
    set(&dir, 0o2777, 0, OTHER);
    assert!(may(USER, GROUP, "> \"$0\"/new; mkdir \"$0\"/sub", &dir));
    assert_eq!(owner(&dir.join("new")).1, OTHER);
    let (_, group, mode) = owner(&dir.join("sub"));
    assert_eq!((group, mode & 0o2000), (OTHER, 0o2000));
}

#[test]
fn volumes_and_buckets_are_made_by_those_who_may() {
    let (cluster, _) = start();
    let mkdir = |path: &Path| may(USER, GROUP, "mkdir \"$0\"", path);
    assert!(!mkdir(&cluster.mountpoint().join("mine")));
    let volume = cluster.mountpoint().join("vol");
    assert!(
        !mkdir(&volume.join("mine")),
        "a bucket in the volume of root"
    );
    chown(&volume, Some(USER), None).unwrap();
    assert!(mkdir(&volume.join("mine")));
    assert_eq!(owner(&volume.join("mine")), (USER, GROUP, 0o755));
    assert!(!may(OTHER, GROUP, "rmdir \"$0\"", &volume.join("mine")));
    assert!(may(USER, GROUP, "> \"$0\"/file", &volume.join("mine")));
}

#[test]
fn owners_change_as_the_system_allows_and_are_kept() {
    let (mut cluster, bucket) = start();
    let path = bucket.join("file");
    fs::write(&path, "content").unwrap();
    set(&path, 0o4755, USER, GROUP);
    assert_eq!(owner(&path), (USER, GROUP, 0o4755));
    let give = format!("chown {OTHER} \"$0\"");
    assert!(
        !may(USER, GROUP, &give, &path),
        "only root gives files away"
    );
    assert!(!may(OTHER, GROUP, "chmod 777 \"$0\"", &path));
    assert!(may(USER, GROUP, "chmod 4750 \"$0\"", &path));
    chown(&path, Some(OTHER), None).unwrap();
    assert_eq!(owner(&path), (OTHER, GROUP, 0o750), "set-user-ID is gone");
    File::open(&path).unwrap().sync_all().unwrap();
    cluster.kill9();
    cluster.restart();
    assert_eq!(owner(&path), (OTHER, GROUP, 0o750));
}

#[test]
fn special_files_are_what_they_were_made_as() {
    let (mut cluster, bucket) = start();
    let [fifo, device, socket] = ["fifo", "device", "socket"].map(|name| bucket.join(name));
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    let reader = {
        let fifo = fifo.clone();
        std::thread::spawn(move || fs::read(fifo).unwrap())
    };
    let mut writer = File::create(&fifo).unwrap();
    writer.write_all(b"through the fifo").unwrap();
    drop(writer);
    assert_eq!(reader.join().unwrap(), b"through the fifo");
    let null = makedev(1, 3);
    mknod(
        &device,
        SFlag::S_IFCHR,
        Mode::from_bits_truncate(0o640),
        null,
    )
    .unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let mut caller = UnixStream::connect(&socket).unwrap();
    caller.write_all(b"hello").unwrap();
    drop(caller);
    let mut heard = String::new();
    listener
        .accept()
        .unwrap()
        .0
        .read_to_string(&mut heard)
        .unwrap();
    assert_eq!(heard, "hello");
    drop(listener);
    cluster.stop();
    cluster.restart();
    let kind = |path: &Path| fs::symlink_metadata(path).unwrap();
    assert!(kind(&fifo).file_type().is_fifo());
    assert!(kind(&socket).file_type().is_socket());
    let device = kind(&device);
    assert!(device.file_type().is_char_device());
    assert_eq!((device.rdev(), device.mode() & 0o7777), (null, 0o640));
}
