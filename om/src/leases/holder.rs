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
    /// From this number on nothing holds that was believed before.
    everything: Option<u64>,
    queue: Vec<(u64, Change)>,
    inodes: usize,
}

/// What a session is told.
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) changes: Vec<Change>,
    pub(super) everything: bool,
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
                queue: Vec::new(),
                inodes: 0,
            }),
            news: Notify::new(),
            seen: watch::Sender::new(0),
        }
    }

    /// The session lives at `now` and has heard of changes up to `seen`.
    pub(super) fn renew(&self, now: Duration, seen: u64) {
        let mut state = self.state.lock();
        if state.passed_over || now >= state.until {
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
    }

    pub(super) fn alive(&self, now: Duration) -> bool {
        let state = self.state.lock();
        !state.passed_over && now < state.until
    }

    /// Adds to the inodes that the session holds leases on; how many there are.
    pub(super) fn count(&self, new: usize) -> usize {
        let mut state = self.state.lock();
        state.inodes += new;
        state.inodes
    }

    /// The session is told to forget everything.
    pub(super) fn forget_everything(&self) {
        let mut state = self.state.lock();
        state.forget_everything();
        state.inodes = 0;
        drop(state);
        self.news.notify_one();
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
                let left = state.until.saturating_sub(clock.monotonic());
                state.passed_over |= left.is_zero();
                left
            };
            if left.is_zero() {
                return;
            }
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
            everything: state.everything.is_some(),
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

    fn forget_everything(&mut self) {
        self.queue.clear();
        self.everything = Some(self.number());
    }

    fn has_news(&self) -> bool {
        self.everything.is_some() || !self.queue.is_empty()
    }
}
