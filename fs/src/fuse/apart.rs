//! Threads that hand the kernel what it is to forget, apart from the rest of the process.
//!
//! The kernel forgets a page once nobody holds it, and a name once its directory is free: what holds them may be a
//! system call that waits for this mount. When the process is killed then, the thread stays in the kernel until that
//! call ends. So these threads have a table of descriptors of their own, with nothing in it but a
//! device through which no request comes: all others are closed with the other threads, ports and locks are free, and
//! the [guard](crate::guard) notices.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread;

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use parking_lot::{Condvar, Mutex};

/// Most threads. What comes while all of them wait for the kernel waits for them.
const MOST: usize = 256;
/// Threads that stay when there is nothing to do.
const KEPT: usize = 2;
/// Bytes of stack of each.
const STACK: usize = 128 << 10;

/// Something to be done with the device. It must use no other descriptor, nor wake a task, which takes one.
type Job = Box<dyn FnOnce(&File) + Send>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    due: Condvar,
}

/// The threads of one mount.
pub(crate) struct Apart {
    shared: Arc<Shared>,
    device: Arc<File>,
}

nix::ioctl_read!(fuse_dev_ioc_clone, 229, 0, u32);

/// A device of the connection of `session`, of which no request is read.
fn clone_device(session: impl AsFd) -> io::Result<File> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")?;
    let mut source = session.as_fd().as_raw_fd().cast_unsigned();
    // SAFETY: the call reads the number of a descriptor that is open as long as `session` is borrowed.
    #[allow(unsafe_code)]
    let cloned = unsafe { fuse_dev_ioc_clone(device.as_raw_fd(), &raw mut source) };
    cloned?;
    Ok(device)
}

impl Apart {
    /// Threads for the connection of `session`.
    pub(crate) fn start(session: impl AsFd) -> io::Result<Self> {
        let apart = Self {
            shared: Arc::default(),
            device: Arc::new(clone_device(session)?),
        };
        apart.shared.state.lock().threads += 1;
        apart.spawn()?;
        Ok(apart)
    }

    /// A descriptor of the connection, of which no request is read.
    pub(crate) fn device(&self) -> io::Result<OwnedFd> {
        self.device.as_fd().try_clone_to_owned()
    }

    /// Has this done soon, beside everything else.
    pub(crate) fn run(&self, job: impl FnOnce(&File) + Send + 'static) {
        let mut state = self.shared.state.lock();
        state.jobs.push_back(Box::new(job));
        if state.idle >= state.jobs.len() || state.threads >= MOST {
            self.shared.due.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        if let Err(error) = self.spawn() {
            // There is at least one, which comes to it.
            tracing::warn!(%error, "what the kernel is to forget waits for what it has not forgotten yet");
        }
    }

    /// Starts a thread that is counted already; returns when it has a table of its own.
    fn spawn(&self) -> io::Result<()> {
        let (shared, source) = (self.shared.clone(), self.device.clone());
        let (apart, is_apart) = mpsc::channel();
        let thread = move || {
            // What handles them writes to a descriptor of the process.
            let masked = SigSet::all().thread_block();
            let device = masked
                .map_err(io::Error::from)
                .and_then(|()| own_device(&source));
            // Whoever drops it last closes it in a table of its own.
            drop(source);
            let failed = device.as_ref().err().map(io::Error::kind);
            let _ = apart.send(failed);
            match device {
                Ok(device) => work(&shared, &device),
                Err(_) => shared.state.lock().threads -= 1,
            }
        };
        let builder = thread::Builder::new()
            .name("kernel-forgets".to_owned())
            .stack_size(STACK);
        if let Err(error) = builder.spawn(thread) {
            self.shared.state.lock().threads -= 1;
            return Err(error);
        }
        match is_apart.recv() {
            Ok(None) => Ok(()),
            Ok(Some(kind)) => Err(kind.into()),
            Err(_) => Err(io::Error::other("the thread has ended")),
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.due.notify_all();
    }
}

/// Gives the calling thread a table of descriptors of its own, in which there is this device alone.
fn own_device(device: &File) -> io::Result<File> {
    if let Err(errno) = unshare(CloneFlags::CLONE_FILES) {
        tracing::warn!(%errno, "a kill of this process may leave programs that wait for its mount");
        return device.try_clone();
    }
    let own: OwnedFd = device.as_fd().try_clone_to_owned()?;
    let number = own.as_raw_fd().cast_unsigned();
    let others = [(0, number.checked_sub(1)), (number + 1, Some(u32::MAX))];
    for (first, last) in others {
        let Some(last) = last else { continue };
        // SAFETY: the table is this thread's alone, which owns nothing in it but `own`: whoever owns the others has
        // them in the table of the process.
        #[allow(unsafe_code)]
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if closed != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(own.into())
}

fn work(shared: &Shared, device: &File) {
    let mut state = shared.state.lock();
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            job(device);
            state = shared.state.lock();
        } else if state.ended || state.idle >= KEPT {
            state.threads -= 1;
            return;
        } else {
            state.idle += 1;
            shared.due.wait(&mut state);
            state.idle -= 1;
        }
    }
}
