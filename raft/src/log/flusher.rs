//! Group commit: one thread per disk writes for all logs on it.
//!
//! The thread takes everything that waits, writes it, and makes one fsync per log that serves all
//! entries of that log. While it is at it, more entries gather for the next round.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread;

use openraft::storage::IOFlushed;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::housekeeper::Housekeeper;
use super::store::Log;
use crate::types::{Entry, LogId, Types, Vote};

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

struct Job {
    log: Arc<Log>,
    op: Op,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<(Vec<Job>, bool)>,
    wake: Condvar,
}

/// The fsync thread of one disk. It ends when this is dropped and all jobs are done.
pub(super) struct Flusher {
    queue: Arc<Queue>,
    pub(super) housekeeper: Arc<Housekeeper>,
}

impl Flusher {
    fn start() -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let flusher = Self {
            queue: queue.clone(),
            housekeeper: Arc::new(Housekeeper::start()?),
        };
        thread::Builder::new()
            .name("raft-fsync".into())
            .spawn(move || queue.run())?;
        Ok(flusher)
    }

    pub(super) fn submit(&self, log: Arc<Log>, op: Op) {
        self.queue.jobs.lock().0.push(Job { log, op });
        self.queue.wake.notify_one();
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.queue.jobs.lock().1 = true;
        self.queue.wake.notify_one();
    }
}

impl Queue {
    fn run(&self) {
        loop {
            let jobs = {
                let mut waiting = self.jobs.lock();
                while waiting.0.is_empty() {
                    if waiting.1 {
                        return;
                    }
                    self.wake.wait(&mut waiting);
                }
                std::mem::take(&mut waiting.0)
            };
            round(jobs);
        }
    }
}

/// What one log has to do in a round.
struct Turn {
    log: Arc<Log>,
    ops: Vec<Op>,
}

fn round(jobs: Vec<Job>) {
    let mut turns: Vec<Turn> = Vec::new();
    let mut places: HashMap<*const Log, usize> = HashMap::new();
    for Job { log, op } in jobs {
        let place = *places.entry(Arc::as_ptr(&log)).or_insert_with(|| {
            turns.push(Turn {
                log,
                ops: Vec::new(),
            });
            turns.len() - 1
        });
        turns[place].ops.push(op);
    }
    // All writes first, so that the disk has them at hand when the first fsync comes.
    let written: Vec<(Arc<Log>, Vec<IOFlushed<Types>>)> = turns
        .into_iter()
        .map(|turn| (turn.log.clone(), turn.write()))
        .collect();
    for (log, waiting) in written {
        sync(&log, waiting);
    }
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

impl Turn {
    /// Writes entries; does everything else for good. Returns who waits for an fsync.
    fn write(self) -> Vec<IOFlushed<Types>> {
        let Self { log, ops } = self;
        let mut waiting = Vec::new();
        for op in ops {
            if !matches!(op, Op::Append { .. }) {
                sync(&log, std::mem::take(&mut waiting));
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
        waiting
    }
}

/// The fsync threads of a process, one per device.
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
