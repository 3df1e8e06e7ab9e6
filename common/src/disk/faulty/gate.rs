//! Fsyncs that do not return before a test lets them: what happens meanwhile can be looked at.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
pub(super) struct Gate {
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Default)]
struct Held {
    closed: bool,
    waiting: usize,
}

impl Gate {
    pub(super) fn close(&self) {
        self.held.lock().closed = true;
    }

    pub(super) fn open(&self) {
        self.held.lock().closed = false;
        self.changed.notify_all();
    }

    /// Returns when the gate is open.
    pub(super) fn pass(&self) {
        let mut held = self.held.lock();
        held.waiting += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut held, |held| held.closed);
        held.waiting -= 1;
    }

    /// Whether `count` wait at the same time before `limit` is over.
    pub(super) fn reaches(&self, count: usize, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut held = self.held.lock();
        let few = |held: &mut Held| held.waiting < count;
        !self
            .changed
            .wait_while_until(&mut held, few, end)
            .timed_out()
    }
}
