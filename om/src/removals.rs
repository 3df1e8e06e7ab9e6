//! Files that are losing a name. The leader says in the command who has the file open, and the command
//! takes its time through the log: an open that comes in between would not be in it, and would be
//! answered from rows that are about to go. So it waits until the removal is over, and looks then. So does
//! whoever is told that the file is there, and would open it next.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Removals under way; see the module.
#[derive(Default)]
pub struct Removals {
    /// By inode, how many.
    under_way: Mutex<HashMap<u64, u32>>,
    over: Notify,
}

/// A removal, until this is dropped.
#[must_use]
pub struct Removal<'a> {
    removals: &'a Removals,
    object: u64,
}

impl Removals {
    /// A removal of this inode's name begins.
    pub fn begin(&self, object: u64) -> Removal<'_> {
        *self.under_way.lock().entry(object).or_default() += 1;
        Removal {
            removals: self,
            object,
        }
    }

    /// Whether a name of the inode is being removed.
    pub fn is_under_way(&self, object: u64) -> bool {
        self.under_way.lock().contains_key(&object)
    }

    /// Waits until no name of the inode is being removed.
    pub async fn over(&self, object: u64) {
        loop {
            let over = self.over.notified();
            tokio::pin!(over);
            // Registered before the look, so that no end in between is missed.
            over.as_mut().enable();
            if !self.under_way.lock().contains_key(&object) {
                return;
            }
            over.await;
        }
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        let mut under_way = self.removals.under_way.lock();
        if let Some(count) = under_way.get_mut(&self.object) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.object);
            }
        }
        drop(under_way);
        self.removals.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn an_open_waits_until_every_removal_of_the_file_is_over() {
        let removals = Removals::default();
        let (first, second) = (removals.begin(7), removals.begin(7));
        let mut open = Box::pin(removals.over(7));
        assert!(poll!(&mut open).is_pending());
        assert!(matches!(poll!(Box::pin(removals.over(8))), Poll::Ready(())));
        drop(first);
        assert!(poll!(&mut open).is_pending());
        drop(second);
        assert!(matches!(poll!(&mut open), Poll::Ready(())));
    }
}
