//! Group commit: the threads of a disk write for all logs on it.
//!
//! A log that has something to do is taken by one thread, which writes everything that waits and
//! makes one fsync for it. While it is at it, more entries gather for the log's next turn. Logs take
//! their turns at the same time: the disk serves fsyncs of several files at once in hardly more time
//! than one, since one flush of its cache covers all that was written before. Within a log
//! everything happens in the order in which it was asked for.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread;

use openraft::storage::IOFlushed;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::housekeeper::Housekeeper;
use super::store::Log;
use crate::types::{Entry, LogId, Types, Vote};

/// Most fsyncs at a time on one disk.
const MAX_THREADS: usize = 8;

/// Told when an operation is durable, or why it is not.
pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// One change of a log, in the order they have to happen.
pub(super) enum Op {
    Append {
        entries: Vec<Entry>,
        flushed: IOFlushed<Types>,
    },
    Vote {
        vote: Vote,
        done: Done,
    },
    Truncate {
        next: u64,
        done: Done,
    },
    Purge {
        upto: LogId,
    },
    /// Nothing but to be told that all before is done.
    Barrier {
        done: Done,
    },
}

/// What a log has still to do.
#[derive(Default)]
pub(super) struct Pending {
    ops: Vec<Op>,
    /// Whether a thread has the log, or will take it.
    scheduled: bool,
}

/// Logs that wait for a thread, and the threads.
#[derive(Default)]
struct Ready {
    logs: VecDeque<Arc<Log>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    ready: Mutex<Ready>,
    wake: Condvar,
}

/// The fsync threads of one disk. They end when this is dropped and everything is done.
pub(super) struct Flusher {
    queue: Arc<Queue>,
    pub(super) housekeeper: Arc<Housekeeper>,
}

impl Flusher {
    fn start() -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        queue.ready.lock().threads = 1;
        queue.clone().start_thread()?;
        Ok(Self {
            queue,
            housekeeper: Arc::new(Housekeeper::start()?),
        })
    }

    pub(super) fn submit(&self, log: Arc<Log>, op: Op) {
        {
            let mut pending = log.pending.lock();
            pending.ops.push(op);
            if pending.scheduled {
                return;
            }
            pending.scheduled = true;
        }
        self.queue.schedule(log);
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.queue.ready.lock().closed = true;
        self.queue.wake.notify_all();
    }
}

impl Queue {
    fn start_thread(self: Arc<Self>) -> io::Result<()> {
        thread::Builder::new()
            .name("raft-fsync".into())
            .spawn(move || self.run())
            .map(drop)
    }

    /// Gives a log to the next thread, a new one when all are at work.
    fn schedule(self: &Arc<Self>, log: Arc<Log>) {
        let mut ready = self.ready.lock();
        ready.logs.push_back(log);
        if ready.logs.len() <= ready.idle || ready.threads == MAX_THREADS {
            self.wake.notify_one();
            return;
        }
        ready.threads += 1;
        drop(ready);
        if let Err(cause) = self.clone().start_thread() {
            // Those that run serve it, one after the other.
            tracing::warn!(%cause, "no further fsync thread");
            self.ready.lock().threads -= 1;
        }
    }

    fn run(&self) {
        while let Some(log) = self.take() {
            let ops = std::mem::take(&mut log.pending.lock().ops);
            turn(&log, ops);
            let mut pending = log.pending.lock();
            if pending.ops.is_empty() {
                pending.scheduled = false;
                continue;
            }
            drop(pending);
            // Behind the others; this thread takes the next.
            self.ready.lock().logs.push_back(log);
        }
    }

    fn take(&self) -> Option<Arc<Log>> {
        let mut ready = self.ready.lock();
        loop {
            if let Some(log) = ready.logs.pop_front() {
                return Some(log);
            }
            if ready.closed {
                return None;
            }
            ready.idle += 1;
            self.wake.wait(&mut ready);
            ready.idle -= 1;
        }
    }
}

/// Does all that waits for a log, with one fsync for entries that follow one another.
fn turn(log: &Log, ops: Vec<Op>) {
    let mut waiting = Vec::new();
    for op in ops {
        if !matches!(op, Op::Append { .. }) {
            sync(log, std::mem::take(&mut waiting));
        }
        match op {
            Op::Append { entries, flushed } => {
                match log.with_writer(|writer| writer.write(&entries)) {
                    Ok(()) => waiting.push(flushed),
                    Err(cause) => flushed.io_completed(Err(cause)),
                }
            }
            Op::Vote { vote, done } => {
                let _ = done.send(log.with_writer(|writer| writer.save_vote(vote)));
            }
            Op::Truncate { next, done } => {
                let _ = done.send(log.with_writer(|writer| writer.truncate(next)));
            }
            Op::Purge { upto } => {
                // A failure shows at the next write.
                let _ = log.with_writer(|writer| writer.purge(upto));
            }
            Op::Barrier { done } => {
                let _ = done.send(Ok(()));
            }
        }
    }
    sync(log, waiting);
}

fn sync(log: &Log, waiting: Vec<IOFlushed<Types>>) {
    if waiting.is_empty() {
        return;
    }
    let result = log.with_writer(|writer| writer.sync().map(|()| writer.written()));
    if let Ok(written) = &result {
        log.evict(*written);
    }
    for flushed in waiting {
        flushed.io_completed(result.as_ref().map(|_| ()).map_err(copy));
    }
}

fn copy(cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), cause.to_string())
}

/// The fsync threads of a process, by device.
#[derive(Default)]
pub(crate) struct Flushers {
    by_device: Mutex<HashMap<u64, Arc<Flusher>>>,
}

impl Flushers {
    pub(super) fn of_device(&self, device: u64) -> io::Result<Arc<Flusher>> {
        let mut flushers = self.by_device.lock();
        if let Some(flusher) = flushers.get(&device) {
            return Ok(flusher.clone());
        }
        let flusher = Arc::new(Flusher::start()?);
        flushers.insert(device, flusher.clone());
        Ok(flusher)
    }
}
