//! What is left of a mount when its process is killed: a process that answers requests until the last thread has gone.
//!
//! A thread that has the kernel forget a page waits for whoever holds it: a read or write that waits for this mount.
//! Nothing wakes it, not even a kill; and the kernel ends the connection, and with it such a request, only when the
//! last descriptor of it is closed, one of which that thread has. So a kill at the wrong moment would leave a process
//! that nothing ends, and programs that wait for it for ever. The guard, a small process beside that of the mount,
//! notices when the others of its threads are gone, refuses what the kernel still asks, and goes when they all are.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::libc;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};

/// The command that the program is called with, followed by the id of the process that it guards.
pub const COMMAND: &str = "mount-guard";

/// More than the longest request.
const REQUEST: usize = (1 << 20) + (64 << 10);
/// `FUSE_FORGET`, `FUSE_INTERRUPT` and `FUSE_BATCH_FORGET` of the kernel's fuse.h: nobody waits for an answer.
const UNANSWERED: [u32; 3] = [2, 36, 42];
/// Bytes of an answer that says nothing but an error.
const ANSWER: usize = 16;

/// The guard of a mount, for this process.
pub(crate) struct Guard {
    child: Child,
    /// Is closed when this process has gone but for the threads that have descriptors of their own.
    alive: PipeWriter,
}

impl Guard {
    /// Has `program` guard the connection of `device`.
    pub(crate) fn start(program: &Path, device: OwnedFd) -> io::Result<Self> {
        let (ended, alive) = io::pipe()?;
        let mut command = Command::new(program);
        command.args([COMMAND, &std::process::id().to_string()]);
        command.stdin(ended).stdout(device).stderr(Stdio::null());
        // Ctrl-C is for the mount, which may need it for longer; and it is to hold up no other.
        command.process_group(0).current_dir("/");
        let child = command.spawn()?;
        Ok(Self { child, alive })
    }

    /// The mount is gone: so is its guard when this returns. Blocks.
    pub(crate) fn end(self) {
        let Self { mut child, alive } = self;
        drop(alive);
        // However it ended, and if it has not.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What the guard of process `parent` does: its standard input ends when that is killed, its standard output is the
/// device.
pub async fn guard(parent: i32) -> io::Result<()> {
    let Some(parent) = Pid::from_raw(parent) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // What stops all processes of a service is not for this one before the mount has gone.
    let unheard = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let _unheard = unheard.map(signal);
    let parent = pidfd_open(parent, PidfdFlags::empty())?;
    let device = File::from(std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?);
    let mut ended = tokio::io::stdin();
    tokio::io::copy(&mut ended, &mut tokio::io::sink()).await?;
    let refusing = tokio::task::spawn_blocking(move || refuse(&device));
    // SAFETY: it owns its descriptor, which is the same as long as it lives.
    #[allow(unsafe_code)]
    let parent = unsafe { AsyncFd::register(parent) }?;
    tokio::select! {
        gone = parent.readable() => gone.map(drop),
        unmounted = refusing => unmounted.map_err(io::Error::other),
    }
}

/// Refuses requests until nothing is mounted any more.
fn refuse(mut device: &File) {
    let mut request = vec![0; REQUEST];
    loop {
        match device.read(&mut request) {
            Ok(length) => {
                // That nobody waits any more was what was wanted.
                let _ = refusal(&request[..length]).map(|answer| device.write_all(&answer));
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::EINTR | libc::EAGAIN) => {}
                _ => return,
            },
        }
    }
}

/// The answer to a request, if it is to have one.
fn refusal(request: &[u8]) -> Option<[u8; ANSWER]> {
    let operation = request.get(4..8)?.try_into().ok()?;
    if UNANSWERED.contains(&u32::from_ne_bytes(operation)) {
        return None;
    }
    let mut answer = [0; ANSWER];
    answer[..4].copy_from_slice(&16u32.to_ne_bytes());
    answer[4..8].copy_from_slice(&(-libc::ENOTCONN).to_ne_bytes());
    answer[8..].copy_from_slice(request.get(8..16)?);
    Some(answer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    /// The beginning of a request: its length, what it is, its number.
    fn request(operation: u32, number: u64) -> Vec<u8> {
        let mut request = 40u32.to_ne_bytes().to_vec();
        request.extend(operation.to_ne_bytes());
        request.extend(number.to_ne_bytes());
        request.extend([0; 24]);
        request
    }

    #[test]
    fn every_request_is_refused_by_its_number_but_those_that_nobody_waits_for() {
        let answer = refusal(&request(15, 0x0102_0304)).unwrap();
        assert_eq!(answer[..4], 16u32.to_ne_bytes());
        assert_eq!(answer[4..8], (-107i32).to_ne_bytes());
        assert_eq!(answer[8..], 0x0102_0304u64.to_ne_bytes());
        for operation in UNANSWERED {
            assert!(refusal(&request(operation, 7)).is_none());
        }
        assert!(refusal(&[0; 7]).is_none());
    }
}
