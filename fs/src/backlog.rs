//! Changes that this mount has made in memory and not sent yet, in the order in which they were made.
//!
//! They may wait only while nobody else can look: in buckets that the namespace has given to this mount
//! alone, until it recalls them. Whether a change may wait, and that it does, is one step under one lock,
//! so that none is added behind the back of a recall. What waits is sent when somebody waits for it, when
//! it has grown old, or when there is much of it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use crate::errno::{FsError, Result};
use crate::inode::Inode;
use crate::leases::Leases;
use crate::vfs::Who;
use crate::wire;

/// Parts and bytes that may wait; past it changes are made at once.
const MOST_PARTS: usize = 4096;
const MOST_BYTES: usize = 4 << 20;
/// Parts and bytes of one command.
const BATCH_PARTS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// How long a bucket is wanted after a change that could have waited.
const WANTED: Duration = Duration::from_secs(3);

/// One change that waits.
pub(crate) struct Part {
    /// Who made it; none for content, which is the mount's to commit.
    pub(crate) who: Option<Who>,
    /// The change.
    pub(crate) change: wire::BatchPart,
    /// What is changed, or made.
    pub(crate) inode: Arc<Inode>,
    /// The directory that gets a name.
    pub(crate) parent: Option<Arc<Inode>>,
    /// Who waits for the answer.
    pub(crate) answer: Option<oneshot::Sender<Result<wire::Inode>>>,
    /// About how many bytes it takes.
    pub(crate) bytes: usize,
}

struct Waiting {
    part: Part,
    number: u64,
    since: Duration,
}

/// How far this mount is with a bucket that is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Changes may wait.
    Open,
    /// It is to be given back: only the content of files is added, and all of it is on its way.
    Leaving,
}

#[derive(Default)]
struct State {
    buckets: HashMap<u64, Hold>,
    /// Buckets in which changes would have waited, and when the last one was made.
    wanted: HashMap<u64, Duration>,
    /// Object ids to give.
    ids: Range<u64>,
    parts: VecDeque<Waiting>,
    bytes: usize,
    /// Numbers of the last part that was added, of the last to be sent, and of the last with nothing
    /// before it that has no answer.
    added: u64,
    due: u64,
    settled: u64,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    settled: u64,
    /// Batches that could not be sent, and why the last one could not.
    failures: u64,
    error: Option<FsError>,
}

/// See the module.
pub(crate) struct Backlog {
    clock: Arc<dyn Clock>,
    leases: Arc<Leases>,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    /// There is something to send.
    due: Notify,
}

/// The right to add to a backlog, for the length of one step.
pub(crate) struct Entry<'a> {
    state: &'a mut State,
    now: Duration,
}

impl Entry<'_> {
    /// An object id for something new; `None` when none is left.
    pub(crate) fn next_id(&mut self) -> Option<u64> {
        self.state.ids.next()
    }

    /// Adds a change.
    pub(crate) fn push(&mut self, part: Part) {
        self.state.added += 1;
        self.state.bytes += part.bytes;
        self.state.parts.push_back(Waiting {
            part,
            number: self.state.added,
            since: self.now,
        });
    }

    /// The change is to be sent at once.
    pub(crate) fn send(&mut self) {
        self.state.due = self.state.added;
    }
}

impl Backlog {
    /// Nothing waits and no bucket is held.
    pub(crate) fn new(clock: Arc<dyn Clock>, leases: Arc<Leases>) -> Self {
        Self {
            clock,
            leases,
            state: Mutex::default(),
            progress: watch::Sender::default(),
            due: Notify::new(),
        }
    }

    /// Lets `make` add a change to a bucket that is this mount's; `None` when changes cannot wait there
    /// now, or `make` finds that this one cannot.
    pub(crate) fn defer<T>(
        &self,
        bucket: u64,
        make: impl FnOnce(&mut Entry<'_>) -> Option<T>,
    ) -> Option<T> {
        self.add(bucket, &[Hold::Open], make)
    }

    /// As [`defer`](Self::defer), for content of files, which is also taken when the bucket is about to be
    /// given back.
    pub(crate) fn defer_content<T>(
        &self,
        bucket: u64,
        make: impl FnOnce(&mut Entry<'_>) -> Option<T>,
    ) -> Option<T> {
        self.add(bucket, &[Hold::Open, Hold::Leaving], make)
    }

    fn add<T>(
        &self,
        bucket: u64,
        holds: &[Hold],
        make: impl FnOnce(&mut Entry<'_>) -> Option<T>,
    ) -> Option<T> {
        if bucket == 0 || !self.leases.alive() {
            return None;
        }
        let mut state = self.state.lock();
        let held = state.buckets.get(&bucket)?;
        if !holds.contains(held) {
            return None;
        }
        if state.parts.len() >= MOST_PARTS || state.bytes >= MOST_BYTES {
            return None;
        }
        let now = self.clock.monotonic();
        let made = make(&mut Entry {
            state: &mut state,
            now,
        });
        if state.parts.len() >= BATCH_PARTS || state.bytes >= BATCH_BYTES {
            state.due = state.added;
        }
        let send = state.due > state.settled;
        drop(state);
        if send {
            self.due.notify_one();
        }
        made
    }

    /// A change in the bucket could have waited.
    pub(crate) fn want(&self, bucket: u64) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if bucket != 0 && !state.buckets.contains_key(&bucket) {
            state.wanted.insert(bucket, now);
        }
    }

    /// The buckets that this mount has use for and does not hold.
    pub(crate) fn wanted(&self) -> Vec<u64> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        state
            .wanted
            .retain(|_, at| now.saturating_sub(*at) < WANTED);
        state.wanted.keys().copied().collect()
    }

    /// This mount holds these buckets, as of now.
    pub(crate) fn hold(&self, buckets: &[u64]) {
        let mut state = self.state.lock();
        for bucket in buckets {
            state.wanted.remove(bucket);
            state.buckets.entry(*bucket).or_insert(Hold::Open);
        }
        let lacks_ids = state.ids.is_empty() && !buckets.is_empty();
        drop(state);
        if lacks_ids {
            self.due.notify_one();
        }
    }

    /// The buckets that are held and not among `kept`.
    pub(crate) fn held_but(&self, kept: &[u64]) -> Vec<u64> {
        let state = self.state.lock();
        let held = state.buckets.keys();
        held.filter(|bucket| !kept.contains(bucket))
            .copied()
            .collect()
    }

    /// From now on only content is added to these buckets.
    pub(crate) fn leave(&self, buckets: &[u64]) {
        let mut state = self.state.lock();
        for bucket in buckets {
            if let Some(hold) = state.buckets.get_mut(bucket) {
                *hold = Hold::Leaving;
            }
        }
    }

    /// These buckets are not held any more.
    pub(crate) fn left(&self, buckets: &[u64]) {
        let mut state = self.state.lock();
        state.buckets.retain(|bucket, _| !buckets.contains(bucket));
    }

    /// The session is lost, and with it buckets and ids.
    pub(crate) fn lose(&self) {
        let mut state = self.state.lock();
        state.buckets.clear();
        state.ids = 0..0;
    }

    /// Whether a bucket is held for which there are no ids.
    pub(crate) fn lacks_ids(&self) -> bool {
        let state = self.state.lock();
        state.ids.is_empty() && state.buckets.values().any(|hold| *hold == Hold::Open)
    }

    /// Object ids to give from now on.
    pub(crate) fn set_ids(&self, ids: Range<u64>) {
        self.state.lock().ids = ids;
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().parts.is_empty()
    }

    /// Waits until everything that was added before is answered; the error when it cannot be sent.
    pub(crate) async fn settle(&self) -> Result<()> {
        let (target, mut progress) = {
            let mut state = self.state.lock();
            if state.settled == state.added {
                return Ok(());
            }
            state.due = state.added;
            (state.added, self.progress.subscribe())
        };
        let failures = progress.borrow().failures;
        self.due.notify_one();
        let done = progress
            .wait_for(|p| p.settled >= target || p.failures > failures)
            .await;
        match done {
            Ok(progress) if progress.settled >= target => Ok(()),
            Ok(progress) => progress.error.clone().map_or(Ok(()), Err),
            Err(_) => Ok(()),
        }
    }

    /// Waits until there is something to send.
    pub(crate) async fn something_due(&self) {
        self.due.notified().await;
    }

    /// What has waited for `age` is to be sent.
    pub(crate) fn send_aged(&self, age: Duration) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        let front = state.parts.front().map(|waiting| waiting.since);
        if front.is_some_and(|since| now.saturating_sub(since) >= age) {
            state.due = state.added;
            self.due.notify_one();
        }
    }

    /// The next parts to send, those of one user at most, and who that is; none when none are due.
    pub(crate) fn take(&self) -> (Option<Who>, Vec<Part>) {
        let mut state = self.state.lock();
        let (mut who, mut batch, mut bytes) = (None::<Who>, Vec::new(), 0);
        while let Some(next) = state.parts.front() {
            let full = batch.len() == BATCH_PARTS || bytes >= BATCH_BYTES;
            let by = next.part.who;
            let other = who.is_some_and(|who| by.is_some_and(|by| !by.same_user(&who)));
            if next.number > state.due || full || other {
                break;
            }
            who = who.or(by);
            bytes += next.part.bytes;
            batch.extend(state.parts.pop_front().map(|waiting| waiting.part));
        }
        state.bytes -= bytes;
        (who, batch)
    }

    /// A batch that was taken has its answers.
    pub(crate) fn answered(&self) {
        let mut state = self.state.lock();
        state.settled = match state.parts.front() {
            Some(next) => next.number - 1,
            None => state.added,
        };
        let settled = state.settled;
        drop(state);
        self.progress.send_modify(|p| p.settled = settled);
    }

    /// A batch could not be sent: its parts wait again, before all others.
    /// Who waits for one of them is told.
    pub(crate) fn put_back(&self, parts: Vec<Part>, error: FsError) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        let mut number = state.settled + parts.len() as u64;
        for mut part in parts.into_iter().rev() {
            if let Some(answer) = part.answer.take() {
                // Nobody may be waiting any more.
                let _ = answer.send(Err(error.clone()));
            }
            state.bytes += part.bytes;
            state.parts.push_front(Waiting {
                part,
                number,
                since: now,
            });
            number -= 1;
        }
        state.due = state.settled;
        drop(state);
        self.progress.send_modify(|p| {
            p.failures += 1;
            p.error = Some(error);
        });
    }
}

#[cfg(test)]
#[path = "backlog_test.rs"]
mod tests;
