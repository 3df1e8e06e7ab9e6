//! One session as a holder of leases: until when they live, and the changes that it has to hear of.

use std::time::Duration;

use ozone_common::clock::Clock;
use ozone_proto::namespace::Change;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::LEASE;

/// Changes that wait for a session at most; past it the session starts anew.
const QUEUE: usize = 10_000;

pub(super) struct Holder {
    state: Mutex<State>,
    /// Something waits to be told.
    news: Notify,
    /// Number up to which the session has heard.
    seen: watch::Sender<u64>,
}

struct State {
    /// When the leases end, unless they are renewed.
    until: Duration,
    /// A change was acknowledged without waiting for this session: it must forget everything.
    passed_over: bool,
    next: u64,
    /// From this number on nothing holds that was believed before, and the session has not said that it
    /// knows.
    everything: Option<u64>,
    /// The last such number.
    start: u64,
    queue: Vec<(u64, Change)>,
    inodes: usize,
    /// What the session has believed is being taken from the records.
    dropping: bool,
}

/// What a session is told.
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) changes: Vec<Change>,
    /// The session starts from nothing, and acknowledges that with this number.
    pub(super) everything: Option<u64>,
}

impl Holder {
    /// A session that has not renewed; its changes are numbered from `first`.
    pub(super) fn new(first: u64) -> Self {
        Self {
            state: Mutex::new(State {
                until: Duration::ZERO,
                passed_over: true,
                next: first,
                everything: None,
                start: 0,
                queue: Vec::new(),
                inodes: 0,
                dropping: false,
            }),
            news: Notify::new(),
            seen: watch::Sender::new(0),
        }
    }

    /// Whether the session says, with `seen`, that it has forgotten everything as it was told to, for the
    /// first time.
    pub(super) fn forgets(&self, seen: u64) -> bool {
        self.state.lock().forgets(seen)
    }

    /// As [`forgets`](Self::forgets), and the session is on record with something. It gets no leases until
    /// [`dropped`](Self::dropped) follows.
    pub(super) fn has_forgotten(&self, seen: u64) -> bool {
        let mut state = self.state.lock();
        let told = state.forgets(seen);
        let first = told && state.inodes > 0 && !state.dropping;
        state.dropping |= first;
        first
    }

    /// The session is on record with nothing.
    pub(super) fn dropped(&self) {
        let mut state = self.state.lock();
        state.inodes = 0;
        state.dropping = false;
    }

    /// The session lives at `now` and has heard of changes up to `seen`. True when its leases had ended.
    pub(super) fn renew(&self, now: Duration, seen: u64) -> bool {
        let mut state = self.state.lock();
        let lapsed = state.ended(now);
        if lapsed {
            state.forget_everything();
        }
        state.passed_over = false;
        state.until = now + LEASE;
        state.queue.retain(|(number, _)| *number > seen);
        state.everything = state.everything.filter(|number| *number > seen);
        drop(state);
        self.seen
            .send_if_modified(|known| seen > std::mem::replace(known, seen.max(*known)));
        self.news.notify_one();
        lapsed
    }

    /// Whether the leases have ended: from then on the session starts from nothing.
    pub(super) fn ended(&self, now: Duration) -> bool {
        self.state.lock().ended(now)
    }

    /// Since which start the session believes what it is told, if it may believe anything.
    pub(super) fn start(&self, now: Duration) -> Option<u64> {
        let mut state = self.state.lock();
        let believes = !state.ended(now) && state.everything.is_none() && !state.dropping;
        believes.then_some(state.start)
    }

    /// Adds to the inodes that the session holds leases on; how many there are.
    pub(super) fn count(&self, new: usize) -> usize {
        let mut state = self.state.lock();
        state.inodes += new;
        state.inodes
    }

    /// The session is told to forget everything; the number with which it says that it has.
    pub(super) fn start_anew(&self) -> u64 {
        let mut state = self.state.lock();
        let number = match state.everything {
            Some(number) => number,
            None => state.forget_everything(),
        };
        drop(state);
        self.news.notify_one();
        number
    }

    /// Whether the session has acknowledged `number`.
    pub(super) fn has_heard(&self, number: u64) -> bool {
        *self.seen.borrow() >= number
    }

    /// Queues changes; the number that the session acknowledges when it has heard of them.
    pub(super) fn push(&self, changes: Vec<Change>) -> u64 {
        let mut state = self.state.lock();
        if state.queue.len() + changes.len() > QUEUE {
            state.forget_everything();
        } else {
            for change in changes {
                let number = state.number();
                state.queue.push((number, change));
            }
        }
        let last = state.next - 1;
        drop(state);
        self.news.notify_one();
        last
    }

    /// Waits until the session has heard of the change `number` or its leases have ended.
    pub(super) async fn heard(&self, number: u64, clock: &dyn Clock) {
        let mut seen = self.seen.subscribe();
        loop {
            if *seen.borrow_and_update() >= number {
                return;
            }
            let left = {
                let mut state = self.state.lock();
                let now = clock.monotonic();
                if state.ended(now) {
                    return;
                }
                state.until.saturating_sub(now)
            };
            tokio::select! {
                _ = seen.changed() => {}
                () = clock.sleep(left) => {}
            }
        }
    }

    /// Ends when there is something to tell.
    pub(super) async fn something_to_tell(&self) {
        loop {
            if self.state.lock().has_news() {
                return;
            }
            self.news.notified().await;
        }
    }

    /// What the session has not heard of.
    pub(super) fn tell(&self) -> Told {
        let state = self.state.lock();
        Told {
            seq: state.next - 1,
            changes: state.queue.iter().map(|(_, c)| c.clone()).collect(),
            everything: state.everything,
        }
    }

    /// The session has ended.
    pub(super) fn close(&self) {
        self.state.lock().until = Duration::ZERO;
        self.seen.send_replace(u64::MAX);
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Once the leases were found to have ended, they have, whatever is renewed meanwhile.
    fn ended(&mut self, now: Duration) -> bool {
        self.passed_over |= now >= self.until;
        self.passed_over
    }

    fn forget_everything(&mut self) -> u64 {
        self.queue.clear();
        self.start = self.number();
        self.everything = Some(self.start);
        self.start
    }

    fn forgets(&self, seen: u64) -> bool {
        self.everything.is_some_and(|number| number <= seen)
    }

    fn has_news(&self) -> bool {
        self.everything.is_some() || !self.queue.is_empty()
    }
}
