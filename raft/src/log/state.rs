//! What of a log is in memory: its ends, and its recent entries.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::EntryPayload;

use crate::types::{Entry, LogId, Vote};

/// What an entry takes beside the bytes of its command.
const ENTRY_OVERHEAD: usize = 128;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    /// Entries up to here are gone, or as good as gone.
    pub(super) purged: Option<LogId>,
    /// The last entry, or `purged` when there is none.
    pub(super) last: Option<LogId>,
    /// Why the log can no longer be written, once it cannot.
    pub(super) failed: Option<String>,
    cache: VecDeque<Entry>,
    cache_bytes: usize,
}

fn cost(entry: &Entry) -> usize {
    ENTRY_OVERHEAD
        + match &entry.payload {
            EntryPayload::Normal(command) => command.0.len(),
            _ => 0,
        }
}

impl State {
    pub(super) fn recovered(
        vote: Option<Vote>,
        purged: Option<LogId>,
        last: Option<LogId>,
    ) -> Self {
        Self {
            vote,
            purged,
            last,
            ..Self::default()
        }
    }

    /// Index after the last entry.
    pub(super) fn next(&self) -> u64 {
        self.last.map_or(0, |id| id.index() + 1)
    }

    /// First index that may be asked for.
    pub(super) fn first(&self) -> u64 {
        self.purged.map_or(0, |id| id.index() + 1)
    }

    pub(super) fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.cache_bytes += cost(entry);
            self.last = Some(entry.log_id);
            self.cache.push_back(entry.clone());
        }
    }

    /// Forgets entries from `next` on; `last` is the one before.
    pub(super) fn truncate(&mut self, next: u64, last: Option<LogId>) {
        while self
            .cache
            .back()
            .is_some_and(|entry| entry.log_id.index() >= next)
        {
            self.drop_newest();
        }
        if next < self.next() {
            self.last = last.max(self.purged);
        }
    }

    fn drop_newest(&mut self) {
        if let Some(entry) = self.cache.pop_back() {
            self.cache_bytes -= cost(&entry);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= cost(&entry);
        }
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        self.purged = self.purged.max(Some(upto));
        self.last = self.last.max(self.purged);
        while self
            .cache
            .front()
            .is_some_and(|entry| entry.log_id.index() <= upto.index())
        {
            self.drop_oldest();
        }
    }

    /// Makes room in the cache by dropping entries below `written`, which are in the files.
    pub(super) fn evict(&mut self, written: u64, limit: usize) {
        while self.cache_bytes > limit
            && self
                .cache
                .front()
                .is_some_and(|entry| entry.log_id.index() < written)
        {
            self.drop_oldest();
        }
    }

    /// First index in the cache, or the index after the last entry when it is empty.
    pub(super) fn cached_from(&self) -> u64 {
        self.cache
            .front()
            .map_or(self.next(), |entry| entry.log_id.index())
    }

    /// Entries of `range`, which must lie in the cache, fewer when they pass `limit` bytes but at
    /// least one.
    pub(super) fn cached(&self, range: Range<u64>, limit: usize) -> Vec<Entry> {
        let at = |index: u64| usize::try_from(index - self.cached_from()).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let within = |entry: &&Entry| {
            let fits = bytes <= limit;
            bytes += cost(entry);
            fits
        };
        self.cache
            .range(at(range.start)..at(range.end))
            .take_while(within)
            .cloned()
            .collect()
    }
}
