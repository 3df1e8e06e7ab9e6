//! Local ids of blocks, from ranges that this process reserved for itself.
//!
//! A range is reserved through Raft and then belongs to this process alone: no id is ever handed
//! out twice, not even by a leader that does not know yet that it was replaced. What is left of a
//! range when the process ends is lost. The next range is asked for while half of one is left, so
//! that nobody waits for it.

use std::future::Future;
use std::ops::Range;

use parking_lot::Mutex;

use crate::error::ScmError;

/// Ids reserved at a time.
pub(crate) const RANGE: u64 = 1 << 16;
/// Ids left at which the next range is asked for.
const LOW: u64 = RANGE / 2;

/// Ids in hand.
#[derive(Debug, Default)]
pub(crate) struct LocalIds {
    ranges: Mutex<Ranges>,
    /// One at a time asks for more.
    refill: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Ranges {
    current: Range<u64>,
    next: Range<u64>,
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

impl Ranges {
    fn left(&self) -> u64 {
        length(&self.current) + length(&self.next)
    }

    fn take(&mut self, count: u64) -> Option<Range<u64>> {
        if length(&self.current) < count && length(&self.next) >= count {
            self.current = std::mem::take(&mut self.next);
        }
        if length(&self.current) < count {
            return None;
        }
        let start = self.current.start;
        self.current.start += count;
        Some(start..start + count)
    }

    fn add(&mut self, range: Range<u64>) {
        match self.current.is_empty() {
            true => self.current = range,
            false => self.next = range,
        }
    }
}

impl LocalIds {
    /// Takes `count` ids in a row from what is in hand; none if there are too few.
    pub(crate) fn take(&self, count: u64) -> Option<Range<u64>> {
        self.ranges.lock().take(count)
    }

    /// Whether it is time to ask for more.
    pub(crate) fn is_low(&self) -> bool {
        self.ranges.lock().left() < LOW
    }

    /// Asks for another range if few ids are left. `reserve` gives the first id of a range of the
    /// given length.
    pub(crate) async fn refill<F>(&self, reserve: impl FnOnce(u64) -> F) -> Result<(), ScmError>
    where
        F: Future<Output = Result<u64, ScmError>>,
    {
        let _one = self.refill.lock().await;
        if !self.is_low() {
            return Ok(());
        }
        let start = reserve(RANGE).await?;
        self.ranges.lock().add(start..start + RANGE);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Hands out ranges as the replicated counter does.
    #[derive(Default)]
    struct Counter(AtomicU64);

    impl Counter {
        async fn reserve(&self, count: u64) -> Result<u64, ScmError> {
            Ok(self.0.fetch_add(count, Ordering::SeqCst) + 1)
        }
    }

    #[tokio::test]
    async fn ids_are_unique_across_ranges_and_holders() {
        let counter = Arc::new(Counter::default());
        let holders = [LocalIds::default(), LocalIds::default()];
        let mut seen = HashSet::new();
        for turn in 0..(RANGE / 50 * 3) {
            let ids = &holders[usize::from(turn % 3 == 0)];
            if ids.is_low() {
                ids.refill(|count| counter.reserve(count)).await.unwrap();
            }
            for id in ids.take(50).unwrap() {
                assert!(seen.insert(id), "{id} twice");
            }
        }
        assert!(!seen.contains(&0));
    }

    #[tokio::test]
    async fn the_next_range_is_asked_for_before_the_last_one_ends() {
        let counter = Counter::default();
        let ids = LocalIds::default();
        assert!(ids.take(1).is_none());
        ids.refill(|count| counter.reserve(count)).await.unwrap();
        assert!(!ids.is_low());
        ids.take(LOW + 1).unwrap();
        assert!(ids.is_low());
        ids.refill(|count| counter.reserve(count)).await.unwrap();
        assert!(!ids.is_low());
        ids.refill(|_| async { panic!("asked though there are enough") })
            .await
            .unwrap();
    }
}
