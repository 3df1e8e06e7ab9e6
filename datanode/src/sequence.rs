//! Order among the requests of one stream that write the same block, while everything else runs at
//! the same time.

use std::collections::HashMap;

use tokio::sync::oneshot;

/// Gives out turns in the order in which requests come in.
#[derive(Debug, Default)]
pub(crate) struct Sequencer {
    lanes: HashMap<(i64, i64), Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    last_turn: Option<oneshot::Receiver<()>>,
    unfinished: Vec<oneshot::Receiver<()>>,
}

/// The place of one request among those of its block. Dropping it lets the next one go on.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    all_before: Vec<oneshot::Receiver<()>>,
    next: Option<oneshot::Sender<()>>,
    /// Dropped with the turn, which says that the request is over.
    _finished: Option<oneshot::Sender<()>>,
}

impl Sequencer {
    /// The turn of the next request for a block. `barrier`: it waits for all before it.
    pub(crate) fn enter(&mut self, container: i64, local: i64, barrier: bool) -> Turn {
        let lane = self.lanes.entry((container, local)).or_default();
        let (next, next_waits) = oneshot::channel();
        let (finished, over) = oneshot::channel();
        let before = lane.last_turn.replace(next_waits);
        let all_before = match barrier {
            true => std::mem::take(&mut lane.unfinished),
            false => Vec::new(),
        };
        lane.unfinished.retain_mut(is_open);
        lane.unfinished.push(over);
        Turn {
            before,
            all_before,
            next: Some(next),
            _finished: Some(finished),
        }
    }

    /// Forgets blocks whose requests are all over.
    pub(crate) fn tidy(&mut self) {
        self.lanes.retain(|_, lane| {
            lane.unfinished.retain_mut(is_open);
            !lane.unfinished.is_empty()
        });
    }
}

fn is_open(over: &mut oneshot::Receiver<()>) -> bool {
    matches!(over.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

impl Turn {
    /// Returns when the request before this one has done what must be done in order.
    pub(crate) async fn wait(&mut self) {
        if let Some(before) = self.before.take() {
            // An error says that the turn before was dropped: it is over as well.
            let _ = before.await;
        }
    }

    /// Returns when all requests before this one are over.
    pub(crate) async fn wait_for_all(&mut self) {
        self.wait().await;
        for over in std::mem::take(&mut self.all_before) {
            let _ = over.await;
        }
    }

    /// What must be done in order is done.
    pub(crate) fn pass_on(&mut self) {
        self.next.take();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn turns_come_in_order_and_only_within_a_block() {
        let mut sequencer = Sequencer::default();
        let mut first = sequencer.enter(1, 1, false);
        let mut second = sequencer.enter(1, 1, false);
        let mut other = sequencer.enter(1, 2, false);
        assert!(first.wait().now_or_never().is_some());
        assert!(other.wait().now_or_never().is_some());
        let mut waits = Box::pin(second.wait());
        assert!(waits.as_mut().now_or_never().is_none());
        first.pass_on();
        waits.await;
    }

    #[tokio::test]
    async fn a_barrier_waits_until_all_before_are_over() {
        let mut sequencer = Sequencer::default();
        let mut first = sequencer.enter(1, 1, false);
        let mut second = sequencer.enter(1, 1, false);
        let mut commit = sequencer.enter(1, 1, true);
        first.pass_on();
        second.pass_on();
        assert!(commit.wait().now_or_never().is_some());
        let mut waits = Box::pin(commit.wait_for_all());
        drop(second);
        assert!(waits.as_mut().now_or_never().is_none());
        drop(first);
        waits.await;
    }

    #[test]
    fn blocks_that_are_done_are_forgotten() {
        let mut sequencer = Sequencer::default();
        drop(sequencer.enter(1, 1, false));
        let _open = sequencer.enter(1, 2, false);
        sequencer.tidy();
        assert_eq!(sequencer.lanes.len(), 1);
    }
}
