//! What an operator meets: names and addresses that are refused with what would be right, ports and
//! mount points that are taken, a machine without FUSE, directories that cannot be written, and
//! stopping.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use ozone_tests::daemons::is_mounted;
use ozone_tests::power::assert_root;
use ozone_tests::refused::assert_refused;
use ozone_tests::shell::{errno, run};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions, Daemon, DaemonOptions, Daemons, Refused};

/// How long a process may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(30);

fn refused(output: &Output, words: &[&str]) {
    assert_refused(&Refused::from(output), words);
}

#[test]
fn bad_names_and_addresses_are_refused_by_shell_and_mount_alike() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let local = cluster.scratch().join("local");
    fs::write(&local, "content").unwrap();
    let local = local.to_str().unwrap();
    let long = "n".repeat(256);

    refused(
        &cluster.ozone(&["sh", "volume", "create", "/UPPER"]),
        &["INVALID_VOLUME_NAME", "upper-case"],
    );
    refused(
        &cluster.ozone(&["sh", "volume", "create", "/vol"]),
        &["VOLUME_ALREADY_EXISTS"],
    );
    refused(
        &cluster.ozone(&["sh", "bucket", "create", "/vol/no_good"]),
        &["INVALID_BUCKET_NAME"],
    );
    refused(
        &cluster.ozone(&["sh", "bucket", "create", "/vol/a/b"]),
        &["Delimiters (/) not allowed in bucket name"],
    );
    refused(
        &cluster.ozone(&["sh", "key", "put", "/vol/missing/key", local]),
        &["BUCKET_NOT_FOUND"],
    );
    refused(
        &cluster.ozone(&["sh", "key", "cat", "/vol/bucket/missing"]),
        &["KEY_NOT_FOUND"],
    );
    let key = format!("/vol/bucket/{long}");
    refused(
        &cluster.ozone(&["sh", "key", "put", &key, local]),
        &["NAME_TOO_LONG"],
    );
    let address = [
        "--set",
        "ozone.om.address=127.0.0.1:port",
        "sh",
        "volume",
        "list",
    ];
    refused(
        &cluster.ozone(&address),
        &["ozone.om.address", "127.0.0.1:port"],
    );

    let mount = cluster.mountpoint();
    assert_eq!(errno(fs::create_dir(mount.join("UPPER"))), Errno::EINVAL);
    // A program has a bare errno; the rule is in the log.
    assert!(cluster.log().contains("upper-case"), "{}", cluster.log());
    assert_eq!(
        errno(fs::create_dir(mount.join("vol/no_good"))),
        Errno::EINVAL
    );
    assert_eq!(
        errno(File::create(mount.join("vol/missing/key"))),
        Errno::ENOENT
    );
    assert_eq!(errno(File::create(bucket.join(&long))), Errno::ENAMETOOLONG);
    fs::write(bucket.join("exists"), "old").unwrap();
    assert_eq!(
        errno(File::create_new(bucket.join("exists"))),
        Errno::EEXIST
    );
    fs::write(bucket.join("other"), "other").unwrap();
    let rename = ["sh", "key", "rename", "/vol/bucket", "other", "exists"];
    refused(&cluster.ozone(&rename), &["KEY_ALREADY_EXISTS"]);
    // Nothing of it was done.
    let names: Vec<_> = fs::read_dir(&bucket)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["exists", "other"]);
    assert_eq!(fs::read(bucket.join("exists")).unwrap(), b"old");
    cluster.stop();
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in [
        "ozone.om.address",
        "ozone.scm.datanode.address",
        "ozone.om.http-address",
    ] {
        let mut cluster = Cluster::new(ClusterOptions {
            sets: vec![format!("{key}={address}")],
            ..ClusterOptions::default()
        });
        let start = cluster.try_start().expect_err("a refusal");
        assert_refused(&start, &[&address, "in use", key, "--auto-ports"]);
    }
}

#[test]
fn a_fuse_that_is_forbidden_is_named_with_what_to_do() {
    assert_root();
    let cluster = Cluster::new(ClusterOptions::default());
    let up = cluster.up();
    // The same command, where /dev/fuse is on a filesystem without devices.
    let script = "mount --make-rprivate / && mount -t tmpfs -o nodev none /dev \
        && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 && mknod /dev/fuse c 10 229 \
        && exec \"$0\" \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(up.get_program())
        .args(up.get_args())
        .stdin(Stdio::piped())
        .output()
        .unwrap();
    refused(&output, &["/dev/fuse may not be opened", "--device"]);
}

#[test]
fn a_mount_point_that_is_mounted_already_is_refused() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(ozone_tests::cluster::binary())
        .args(["up", "--auto-ports", "--datanodes", "1", "--dir"])
        .arg(dir.path())
        .arg("--mount")
        .arg(cluster.mountpoint())
        .output()
        .unwrap();
    refused(
        &output,
        &[cluster.mountpoint().to_str().unwrap(), "mounted"],
    );
    assert!(is_mounted(&cluster.mountpoint()));
    cluster.stop();
}

#[test]
fn without_dev_fuse_the_message_says_what_to_do() {
    assert_root();
    let cluster = Cluster::new(ClusterOptions::default());
    let up = cluster.up();
    // The same command, where /dev has nothing but null.
    let script = "mount --make-rprivate / && mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec \"$0\" \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(up.get_program())
        .args(up.get_args())
        .output()
        .unwrap();
    refused(&output, &["/dev/fuse does not exist", "modprobe fuse"]);
    assert!(
        Path::new("/dev/fuse").exists(),
        "the test took it from everybody"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    assert_root();
    let disk = tempfile::tempdir().unwrap();
    run(
        disk.path(),
        "mount",
        &["-t", "tmpfs", "-o", "size=256m", "none", "."],
    );
    let refusal = std::panic::catch_unwind(|| {
        let mut cluster = Cluster::start(ClusterOptions {
            dir: Some(disk.path().join("data")),
            sets: vec!["hdds.datanode.volume.min.free.space=1MB".to_owned()],
            ..ClusterOptions::default()
        });
        let file = cluster.bucket("vol", "bucket").join("f");
        fs::write(&file, "content").unwrap();
        cluster.stop();
        run(
            disk.path(),
            "mount",
            &["-o", "remount,ro", disk.path().to_str().unwrap()],
        );
        let start = cluster.try_start().expect_err("a refusal");
        assert_refused(&start, &["data", "Read-only file system"]);
        run(
            disk.path(),
            "mount",
            &["-o", "remount,rw", disk.path().to_str().unwrap()],
        );
        cluster.restart();
        assert_eq!(fs::read(&file).unwrap(), b"content");
        cluster.stop();
    });
    run(
        Path::new("/"),
        "umount",
        &["--lazy", disk.path().to_str().unwrap()],
    );
    if let Err(panic) = refusal {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn servers_on_a_read_only_disk_say_so_and_are_well_once_it_is_not() {
    let mut cluster = Daemons::start(DaemonOptions::one_copy());
    let file = cluster.bucket("vol", "bucket").join("f");
    fs::write(&file, "content").unwrap();
    cluster.stop_all();
    let dir = cluster.dir().to_str().unwrap().to_owned();
    let mount = |args: &[&str]| run(Path::new("/"), "mount", &[args, &[dir.as_str()]].concat());
    mount(&["--bind", &dir]);
    mount(&["-o", "remount,bind,ro"]);
    let servers = [Daemon::Scm, Daemon::Om, Daemon::Datanode(1)];
    let refusals = servers.map(|server| cluster.refused(server));
    run(Path::new("/"), "umount", &[&dir]);
    for refusal in &refusals {
        assert_refused(refusal, &[&dir, "Read-only file system"]);
    }
    for server in servers {
        cluster.start_one(server);
    }
    cluster.start_one(Daemon::Mount);
    assert_eq!(fs::read(&file).unwrap(), b"content");
    cluster.stop_all();
}

#[test]
fn ctrl_c_and_sigterm_stop_cleanly_and_unmount() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let file = cluster.bucket("vol", "bucket").join("f");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let content = signal.as_str();
        // Not fsynced: stopping commits it.
        fs::write(&file, content).unwrap();
        assert!(is_mounted(&cluster.mountpoint()));
        cluster.signal(signal);
        cluster.wait_for_end();
        assert!(!is_mounted(&cluster.mountpoint()));
        assert!(fs::read_dir(cluster.mountpoint()).unwrap().next().is_none());
        cluster.restart();
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    cluster.stop();
}

#[test]
fn a_mount_in_use_is_taken_from_its_users_when_told_twice() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    // A shell that sits in the mount until its input ends.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "echo ready; read line"])
        .current_dir(&bucket);
    let mut shell = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    shell
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    fs::write(bucket.join("f"), "content").unwrap();
    cluster.signal(Signal::SIGTERM);
    wait_for(STOP_LIMIT, || {
        match cluster.errors().contains("stopping once more") {
            true => Ok(()),
            false => Err(format!("no word about the mount: {}", cluster.errors())),
        }
    });
    assert!(is_mounted(&cluster.mountpoint()));
    cluster.signal(Signal::SIGINT);
    cluster.wait_for_end();
    assert!(!is_mounted(&cluster.mountpoint()));
    shell.stdin.take().unwrap().write_all(b"\n").unwrap();
    shell.wait().unwrap();
    cluster.restart();
    assert_eq!(fs::read(bucket.join("f")).unwrap(), b"content");
    cluster.stop();
}
