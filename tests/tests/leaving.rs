//! How a mount goes while somebody waits for it: killed, or taken from the programs that use it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ozone_tests::content::bytes;
use ozone_tests::daemons::is_mounted;
use ozone_tests::refused::assert_refused;
use ozone_tests::wait::wait_for;
use ozone_tests::{Daemon, DaemonOptions, Daemons};

/// Longest that anything may take that has to happen.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest that a killed process may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(10);

fn signal(daemons: &Daemons, daemon: Daemon, signal: Signal) {
    let pid = i32::try_from(daemons.pid(daemon)).unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// A program that uses the mount. A process of its own, because a server that this test starts has the open files of the
/// test until it runs, and they would have to be flushed first.
fn dd(args: &[&str], file: &str) -> Child {
    let mut dd = Command::new("dd");
    dd.args(args).arg(file).stdin(Stdio::piped());
    let quiet = dd.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().expect("dd, of coreutils")
}

/// Waits until the program has written so many bytes.
fn wait_until_written(dd: &Child, bytes: u64) {
    let written = format!("wchar: {bytes}\n");
    wait_for(LIMIT, || {
        let io = fs::read_to_string(format!("/proc/{}/io", dd.id())).unwrap();
        io.contains(&written).then_some(()).ok_or(io)
    });
}

/// Waits until the mount has ended, and tells how.
fn end_of_mount(daemons: &mut Daemons) -> ExitStatus {
    wait_for(LIMIT, || {
        let ended = daemons.ended(Daemon::Mount);
        ended.ok_or_else(|| "it has not ended".to_owned())
    })
}

/// Whether a thread of a process, one with this name, waits in the kernel, as nothing can wake it.
fn is_stuck(process: u32, name: &str) -> Result<(), String> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut stats = threads.flatten().map(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat"));
        stat.unwrap_or_default()
    });
    match stats.any(|stat| stat.contains(&format!("({name}) D "))) {
        true => Ok(()),
        false => Err(format!("no thread {name} waits")),
    }
}

#[test]
fn a_mount_is_gone_once_it_is_killed_though_the_kernel_was_about_to_forget_what_a_read_waits_for() {
    let mut daemons = Daemons::start(DaemonOptions::one_copy());
    let path = daemons.bucket("vol", "bucket").join("f");
    let content = bytes(1, 4 << 20);
    fs::write(&path, &content).unwrap();
    signal(&daemons, Daemon::Datanode(1), Signal::SIGSTOP);
    let mut reader = dd(&["count=1"], &format!("if={}", path.display()));
    let mount = daemons.pid(Daemon::Mount);
    wait_for(LIMIT, || {
        is_stuck(reader.id(), "dd")?;
        // By another door, so that the mount is told. If it was not reading yet, the next time.
        daemons.succeed(&["fs", "-chmod", "600", "/vol/bucket/f"]);
        is_stuck(mount, "kernel-forgets")
    });
    signal(&daemons, Daemon::Mount, Signal::SIGKILL);
    let ended = std::panic::catch_unwind(|| {
        wait_for(END_LIMIT, || {
            match fs::read_dir(format!("/proc/{mount}/task")).unwrap().count() {
                // What is left of it is what its parent has not asked for.
                1 => Ok(()),
                threads => Err(format!("it has {threads} threads")),
            }
        });
    });
    if let Err(stuck) = ended {
        // Nobody could wait for its end.
        let _ = umount2(&daemons.mountpoint(), MntFlags::MNT_FORCE);
        std::panic::resume_unwind(stuck);
    }
    assert!(!reader.wait().unwrap().success());
    daemons.kill9(Daemon::Mount);
    signal(&daemons, Daemon::Datanode(1), Signal::SIGCONT);
    umount2(&daemons.mountpoint(), MntFlags::MNT_DETACH).unwrap();
    daemons.start_one(Daemon::Mount);
    assert!(fs::read(&path).unwrap() == content);
    daemons.stop_all();
}

#[test]
fn what_was_being_committed_when_a_mount_was_taken_away_is_there_once_fsync_says_so() {
    let mut daemons = Daemons::start(DaemonOptions::one_copy());
    let path = daemons.bucket("vol", "bucket").join("f");
    let mut expected = bytes(1, 100);
    fs::write(&path, &expected).unwrap();
    fs::File::open(&path).unwrap().sync_all().unwrap();
    // Writes what it is given, and calls fsync at its end.
    let args = [
        "bs=10000",
        "iflag=fullblock",
        "oflag=append",
        "conv=notrunc,fsync",
    ];
    let mut writer = dd(&args, &format!("of={}", path.display()));
    let more = bytes(2, 10_000);
    let mut input = writer.stdin.take().unwrap();
    input.write_all(&more).unwrap();
    expected.extend(more);
    wait_until_written(&writer, 10_000);
    daemons.kill9(Daemon::Om);
    // It is told to stop until it has taken the mount out of the tree: it cannot commit, and waits no longer.
    wait_for(LIMIT, || {
        signal(&daemons, Daemon::Mount, Signal::SIGINT);
        match is_mounted(&daemons.mountpoint()) {
            false => Ok(()),
            true => Err("it is mounted".to_owned()),
        }
    });
    daemons.start_one(Daemon::Om);
    drop(input);
    // The mount may have ended meanwhile, as it does not wait for programs for ever.
    let committed = writer.wait().unwrap().success();
    end_of_mount(&mut daemons);
    daemons.start_one(Daemon::Mount);
    let found = fs::read(&path).unwrap();
    assert!(!committed || found == expected);
    daemons.stop_all();
}

/// A program that has written what cannot be committed, as the datanode stands still.
fn stuck_writer(daemons: &Daemons) -> Child {
    let path = daemons.bucket("vol", "bucket").join("f");
    signal(daemons, Daemon::Datanode(1), Signal::SIGSTOP);
    let writer = dd(
        &["bs=1M", "count=1", "if=/dev/zero"],
        &format!("of={}", path.display()),
    );
    wait_until_written(&writer, 1 << 20);
    writer
}

/// The mount has ended with what the writer wrote lost, and everybody was told.
fn assert_lost(daemons: &mut Daemons, mut writer: Child, status: ExitStatus) {
    assert!(!status.success());
    let log = daemons.log(Daemon::Mount);
    assert!(log.contains("could not be committed: it is lost"), "{log}");
    assert!(!writer.wait().unwrap().success());
    assert!(!is_mounted(&daemons.mountpoint()));
    signal(daemons, Daemon::Datanode(1), Signal::SIGCONT);
    daemons.stop_all();
}

#[test]
fn a_mount_that_is_taken_away_before_all_is_committed_says_so_and_fails() {
    let mut daemons = Daemons::start(DaemonOptions::one_copy());
    let writer = stuck_writer(&daemons);
    // Once to stop, which waits for the datanode; and again, to wait no longer.
    let status = wait_for(LIMIT, || {
        signal(&daemons, Daemon::Mount, Signal::SIGINT);
        let ended = daemons.ended(Daemon::Mount);
        ended.ok_or_else(|| "it has not ended".to_owned())
    });
    assert_lost(&mut daemons, writer, status);
}

#[test]
fn a_mount_that_is_stopped_and_cannot_commit_says_so_and_fails() {
    let mut daemons = Daemons::start(DaemonOptions {
        properties: vec![("ozone.client.write.timeout", "1s")],
        ..DaemonOptions::one_copy()
    });
    let writer = stuck_writer(&daemons);
    signal(&daemons, Daemon::Mount, Signal::SIGTERM);
    let status = end_of_mount(&mut daemons);
    assert_lost(&mut daemons, writer, status);
}

#[test]
fn what_is_mounted_and_does_not_answer_is_said_where_another_is_to_be_mounted() {
    let mut daemons = Daemons::start(DaemonOptions::one_copy());
    signal(&daemons, Daemon::Mount, Signal::SIGSTOP);
    let refused = daemons.refused(Daemon::Mount);
    signal(&daemons, Daemon::Mount, Signal::SIGCONT);
    assert_refused(&refused, &["does not answer", "umount -f"]);
    daemons.stop_all();
}
