//! What was sent and acknowledged of each transaction, and what that means: pure decisions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ozone_common::ids::{ContainerId, DatanodeId};

/// How long a datanode has to acknowledge before it is told again.
const PATIENCE: Duration = Duration::from_secs(300);
/// Transactions under way at a time; the others wait on record.
const UNDER_WAY: usize = 100_000;

/// Who has to delete the blocks of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holders {
    /// Datanodes that report a replica.
    pub(crate) nodes: BTreeSet<DatanodeId>,
    /// Replicas of a healthy container: with fewer, some datanode has not reported yet.
    pub(crate) needed: usize,
}

/// What is to be done for a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is done: nobody holds its blocks any more.
    Done,
    /// These datanodes are to be told.
    Send(Vec<DatanodeId>),
    /// Nothing, now.
    Wait,
}

#[derive(Debug, Default)]
struct Sent {
    container: ContainerId,
    at: HashMap<DatanodeId, Duration>,
    acknowledged: BTreeSet<DatanodeId>,
}

/// Transactions under way.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    under_way: BTreeMap<u64, Sent>,
    /// Those acknowledged by someone since they were last looked at.
    news: BTreeSet<u64>,
    /// Whether something happened that concerns transactions already looked at.
    restart: bool,
}

impl Progress {
    /// A datanode has deleted the blocks of a transaction.
    pub(crate) fn acknowledge(&mut self, id: u64, node: DatanodeId) {
        if let Some(sent) = self.under_way.get_mut(&id) {
            sent.acknowledged.insert(node);
            self.news.insert(id);
        }
    }

    /// A datanode may not know what it was told.
    pub(crate) fn forget_sent(&mut self, node: DatanodeId) {
        for sent in self.under_way.values_mut() {
            sent.at.remove(&node);
        }
        self.restart = true;
    }

    /// All transactions are to be looked at again.
    pub(crate) fn start_over(&mut self) {
        self.restart = true;
    }

    /// Whether all transactions are to be looked at again since this was last asked.
    pub(crate) fn take_restart(&mut self) -> bool {
        std::mem::take(&mut self.restart)
    }

    /// Transactions that were acknowledged since this was last asked, with their containers.
    pub(crate) fn take_news(&mut self) -> Vec<(u64, ContainerId)> {
        let news = std::mem::take(&mut self.news);
        let known = news
            .into_iter()
            .filter_map(|id| Some((id, self.under_way.get(&id)?.container)));
        known.collect()
    }

    /// What is to be done for a transaction.
    pub(crate) fn step(&self, id: u64, holders: &Holders, now: Duration) -> Step {
        let sent = self.under_way.get(&id);
        if sent.is_none() && self.under_way.len() >= UNDER_WAY {
            return Step::Wait;
        }
        let acknowledged = |node: &DatanodeId| sent.is_some_and(|s| s.acknowledged.contains(node));
        let missing: Vec<_> = holders
            .nodes
            .iter()
            .filter(|node| !acknowledged(node))
            .collect();
        let complete = holders.nodes.len() >= holders.needed;
        if missing.is_empty() && complete && !holders.nodes.is_empty() {
            return Step::Done;
        }
        let told = |node: &DatanodeId| {
            let at = sent.and_then(|sent| sent.at.get(node));
            at.is_some_and(|at| now.saturating_sub(*at) < PATIENCE)
        };
        let tell: Vec<_> = missing
            .into_iter()
            .filter(|node| !told(node))
            .copied()
            .collect();
        match tell.is_empty() {
            true => Step::Wait,
            false => Step::Send(tell),
        }
    }

    /// A datanode was told.
    pub(crate) fn sent(
        &mut self,
        id: u64,
        container: ContainerId,
        node: DatanodeId,
        now: Duration,
    ) {
        let sent = self.under_way.entry(id).or_default();
        sent.container = container;
        sent.at.insert(node, now);
    }

    /// A transaction is no longer on record.
    pub(crate) fn forget(&mut self, id: u64) {
        self.under_way.remove(&id);
        self.news.remove(&id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::ops::testing::node_id;

    const START: Duration = Duration::ZERO;

    fn holders(nodes: &[u128], needed: usize) -> Holders {
        Holders {
            nodes: nodes.iter().map(|n| node_id(*n)).collect(),
            needed,
        }
    }

    fn send(nodes: &[u128]) -> Step {
        Step::Send(nodes.iter().map(|n| node_id(*n)).collect())
    }

    fn told(progress: &mut Progress, id: u64, nodes: &[u128], now: Duration) {
        for node in nodes {
            progress.sent(id, ContainerId(1), node_id(*node), now);
        }
    }

    #[test]
    fn each_holder_is_told_once_until_patience_ends() {
        let mut progress = Progress::default();
        let three = holders(&[1, 2, 3], 3);
        assert_eq!(progress.step(1, &three, START), send(&[1, 2, 3]));
        told(&mut progress, 1, &[1, 2, 3], START);
        assert_eq!(progress.step(1, &three, START), Step::Wait);
        progress.acknowledge(1, node_id(2));
        assert_eq!(progress.take_news(), [(1, ContainerId(1))]);
        assert!(progress.take_news().is_empty());
        assert_eq!(progress.step(1, &three, PATIENCE), send(&[1, 3]));
    }

    #[test]
    fn it_is_done_when_every_holder_has_acknowledged() {
        let mut progress = Progress::default();
        told(&mut progress, 1, &[1, 2, 3], START);
        progress.acknowledge(1, node_id(1));
        progress.acknowledge(1, node_id(2));
        // The third has not reported its replica yet: two are not all.
        assert_eq!(progress.step(1, &holders(&[1, 2], 3), START), Step::Wait);
        progress.acknowledge(1, node_id(3));
        assert_eq!(progress.step(1, &holders(&[1, 2, 3], 3), START), Step::Done);
        // A copy made meanwhile has the blocks still.
        assert_eq!(
            progress.step(1, &holders(&[1, 2, 3, 4], 3), START),
            send(&[4])
        );
    }

    #[test]
    fn without_any_replica_it_waits() {
        let progress = Progress::default();
        assert_eq!(progress.step(1, &holders(&[], 1), START), Step::Wait);
    }

    #[test]
    fn a_datanode_that_started_anew_is_told_again() {
        let mut progress = Progress::default();
        told(&mut progress, 1, &[1], START);
        progress.forget_sent(node_id(1));
        assert_eq!(progress.step(1, &holders(&[1], 1), START), send(&[1]));
    }

    #[test]
    fn acknowledgements_of_what_was_not_sent_mean_nothing() {
        let mut progress = Progress::default();
        progress.acknowledge(7, node_id(1));
        assert!(progress.take_news().is_empty());
        assert_eq!(progress.step(7, &holders(&[1], 1), START), send(&[1]));
    }
}
