//! How much written but uncommitted data a mount may hold in memory. Writers wait for room; what
//! was committed gives it back.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A bounded count of bytes.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: Mutex<usize>,
    freed: Notify,
}

impl Budget {
    /// Room for `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            used: Mutex::new(0),
            freed: Notify::new(),
        }
    }

    /// Bytes that fit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes taken.
    pub fn used(&self) -> usize {
        *self.used.lock()
    }

    /// Takes `bytes`, beyond the limit if need be. Whether they fit: who is told that they do not has to
    /// [wait](Self::wait) before he brings more. More than the limit fits when nothing else is held.
    pub fn take(&self, bytes: usize) -> bool {
        let mut used = self.used.lock();
        let fits = *used == 0 || *used + bytes <= self.limit;
        *used += bytes;
        fits
    }

    /// Waits until no more is taken than there is room for.
    pub async fn wait(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the look, so that no release in between is missed.
            freed.as_mut().enable();
            if self.used() <= self.limit {
                return;
            }
            freed.await;
        }
    }

    /// Gives `bytes` back.
    pub fn give(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut used = self.used.lock();
        *used = used.saturating_sub(bytes);
        drop(used);
        self.freed.notify_waiters();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn who_is_over_the_limit_waits_until_there_is_room() {
        let budget = Arc::new(Budget::new(100));
        assert!(budget.take(80));
        assert!(!budget.take(30));
        let waiter = tokio::spawn({
            let budget = budget.clone();
            async move { budget.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        budget.give(5);
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        budget.give(75);
        waiter.await.unwrap();
        assert_eq!(budget.used(), 30);
    }

    #[test]
    fn a_request_beyond_the_limit_passes_alone() {
        let budget = Budget::new(100);
        assert!(budget.take(500));
        assert!(!budget.take(1));
        budget.give(501);
        assert!(budget.take(1));
    }
}
