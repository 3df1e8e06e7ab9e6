//! What this mount may believe without asking: answers of the namespace that it marked as leased, while
//! the leases are renewed and until a change is heard of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ozone_common::clock::Clock;

/// When a question was put to the namespace. An answer that meets a newer change is not believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Changes, by this mount or heard of, before the question.
    pub(crate) epoch: u64,
    /// Generation of the leases that the answer may grant.
    pub(crate) generation: u64,
}

/// The leases of a mount.
#[derive(Debug)]
pub(crate) struct Leases {
    clock: Arc<dyn Clock>,
    epoch: AtomicU64,
    /// Leases of earlier generations are void. Zero is never one.
    generation: AtomicU64,
    /// Monotonic nanoseconds until which leases hold.
    until: AtomicU64,
}

impl Leases {
    /// None yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            epoch: AtomicU64::new(0),
            generation: AtomicU64::new(1),
            until: AtomicU64::new(0),
        }
    }

    /// Now, before a question.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            epoch: self.epoch.load(Ordering::Acquire),
            generation: self.generation.load(Ordering::Acquire),
        }
    }

    /// Counts a change.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// How long leases hold from now, unless they are renewed.
    pub(crate) fn left(&self) -> Duration {
        let until = Duration::from_nanos(self.until.load(Ordering::Acquire));
        until.saturating_sub(self.clock.monotonic())
    }

    /// Whether leases hold at all.
    pub(crate) fn alive(&self) -> bool {
        !self.left().is_zero()
    }

    /// Whether what was leased in `generation` may be believed.
    pub(crate) fn hold(&self, generation: u64) -> bool {
        generation == self.generation.load(Ordering::Acquire) && self.alive()
    }

    /// Leases hold until then, or for as long as a later renewal has said.
    pub(crate) fn renewed(&self, until: Duration) {
        let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        self.until.fetch_max(until, Ordering::AcqRel);
    }

    /// Nothing that was leased so far is believed any more.
    pub(crate) fn forget_everything(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.next_epoch();
    }
}
