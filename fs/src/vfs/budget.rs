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

    /// Takes `bytes` if they fit now. A single request larger than the whole budget fits when
    /// nothing else is held.
    pub fn try_take(&self, bytes: usize) -> bool {
        let mut used = self.used.lock();
        let fits = *used == 0 || *used + bytes <= self.limit;
        if fits {
            *used += bytes;
        }
        fits
    }

    /// Waits for room and takes it.
    pub async fn take(&self, bytes: usize) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the look, so that no release in between is missed.
            freed.as_mut().enable();
            if self.try_take(bytes) {
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
    async fn writers_wait_until_there_is_room() {
        let budget = Arc::new(Budget::new(100));
        assert!(budget.try_take(80));
        assert!(!budget.try_take(30));
        let waiter = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(30).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        budget.give(80);
        waiter.await.unwrap();
        assert_eq!(budget.used(), 30);
    }

    #[test]
    fn a_request_beyond_the_limit_passes_alone() {
        let budget = Budget::new(100);
        assert!(budget.try_take(500));
        assert!(!budget.try_take(1));
        budget.give(500);
        assert!(budget.try_take(1));
    }
}
