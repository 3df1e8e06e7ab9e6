//! Keeping the right number of replicas.
//!
//! A closed container that lost replicas gets them back, one at a time: a datanode that holds a good
//! one is told to copy it to another that holds none. One that has too many, because a datanode that
//! was given up came back, or because a damaged replica was replaced, loses one at a time. A replica that
//! closed too short or is damaged counts as none; a short one makes room when nobody else has any.

mod due;
mod worker;

use ozone_common::ids::DatanodeId;
use ozone_proto::hdds::LifeCycleState;
use ozone_proto::scm::ReplicaState;

use crate::container::Container;
use crate::container::replicas::Replica;
use crate::node::NodeView;

pub(crate) use due::Due;
pub(crate) use worker::{NAME, Replicator};

/// What a container needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// A copy is to be made.
    Copy {
        /// Who holds a good replica.
        source: DatanodeId,
        /// Who is to hold one.
        target: DatanodeId,
    },
    /// A replica is to be deleted.
    Delete {
        /// Who holds it.
        node: DatanodeId,
    },
}

impl Order {
    /// The datanodes that have work with it.
    pub(crate) fn involved(self) -> impl Iterator<Item = DatanodeId> {
        let (first, second) = match self {
            Self::Copy { source, target } => (source, Some(target)),
            Self::Delete { node } => (node, None),
        };
        std::iter::once(first).chain(second)
    }

    /// Who is told.
    pub(crate) fn receiver(&self) -> DatanodeId {
        match self {
            Self::Copy { source, .. } => *source,
            Self::Delete { node } => *node,
        }
    }

    /// Whether these replicas show that it was carried out.
    pub(crate) fn is_done(&self, replicas: &[Replica]) -> bool {
        let holds = |id| replicas.iter().any(|replica| replica.node == id);
        match self {
            Self::Copy { target, .. } => holds(*target),
            Self::Delete { node } => !holds(*node),
        }
    }
}

/// What a container and its datanodes look like.
struct Sight<'a> {
    container: &'a Container,
    replicas: &'a [Replica],
    nodes: &'a [NodeView],
}

impl Sight<'_> {
    fn usable(&self, id: DatanodeId) -> bool {
        self.nodes.iter().any(|n| n.id == id && n.is_usable())
    }

    fn remaining(&self, id: DatanodeId) -> u64 {
        let node = self.nodes.iter().find(|node| node.id == id);
        node.map_or(0, |node| node.remaining)
    }

    /// Complete and undamaged.
    fn is_good(&self, replica: &Replica) -> bool {
        replica.state == ReplicaState::ReplicaClosed && replica.sequence_id >= self.agreed()
    }

    /// The last commit of the container. A replica of a member that was away may know of more than those by which it
    /// was closed; then theirs are too short.
    fn agreed(&self) -> u64 {
        let closed = self.replicas.iter();
        closed
            .filter(|replica| replica.state == ReplicaState::ReplicaClosed)
            .map(|replica| replica.sequence_id)
            .fold(self.container.sequence_id, u64::max)
    }

    fn good(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| self.is_good(replica))
    }

    fn copy(&self, busy: impl Fn(DatanodeId) -> usize) -> Option<Order> {
        let sources = self.good().map(|replica| replica.node);
        let source = sources
            .filter(|id| self.usable(*id))
            .min_by_key(|id| (busy(*id), *id))?;
        let free = self.nodes.iter().filter(|node| {
            let holds = self.replicas.iter().any(|replica| replica.node == node.id);
            node.is_usable() && !holds && node.remaining > self.container.used_bytes
        });
        let target = free.min_by_key(|node| (busy(node.id), u64::MAX - node.remaining, node.id));
        match target {
            Some(target) => Some(Order::Copy {
                source,
                target: target.id,
            }),
            None => self.make_room(),
        }
    }

    /// Everyone holds a replica, good or not. What is too short holds nothing that the good ones
    /// lack; what is damaged is repaired where it is, block by block.
    fn make_room(&self) -> Option<Order> {
        let bad = self.replicas.iter().filter(|r| self.usable(r.node));
        let mut short = bad.filter(|replica| self.is_short(replica));
        short
            .next()
            .map(|replica| Order::Delete { node: replica.node })
    }

    fn is_short(&self, replica: &Replica) -> bool {
        let closed = [
            ReplicaState::ReplicaQuasiClosed,
            ReplicaState::ReplicaClosed,
        ];
        closed.contains(&replica.state) && replica.sequence_id < self.agreed()
    }

    /// What is deleted first: a replica that is not good, then one on the fullest datanode. Only
    /// good replicas on datanodes that are there now allow it.
    fn delete(&self, wanted: usize) -> Option<Order> {
        let safe = self.good().map(|replica| replica.node);
        let safe: Vec<_> = safe.filter(|id| self.usable(*id)).collect();
        if safe.len() < wanted {
            return None;
        }
        let bad = self.replicas.iter().filter(|r| self.usable(r.node));
        let mut bad = bad.filter(|r| self.is_short(r) || is_damaged(r));
        let bad = bad.next().map(|replica| replica.node);
        let fullest = safe.iter().min_by_key(|id| (self.remaining(**id), **id));
        let extra = fullest.copied().filter(|_| safe.len() > wanted);
        let node = bad.or(extra)?;
        Some(Order::Delete { node })
    }
}

fn is_damaged(replica: &Replica) -> bool {
    replica.state == ReplicaState::ReplicaUnhealthy
}

/// What a container needs next; nothing if it is healthy, not closed, cannot be copied for want of
/// a good replica, or nobody has room. `busy` tells how much a datanode has to do already.
pub(crate) fn decide(
    container: &Container,
    replicas: &[Replica],
    nodes: &[NodeView],
    busy: impl Fn(DatanodeId) -> usize,
) -> Option<Order> {
    if container.state != LifeCycleState::Closed {
        return None;
    }
    let wanted = container.replication.replicas();
    let sight = Sight {
        container,
        replicas,
        nodes,
    };
    match sight.good().count() < wanted {
        true => sight.copy(busy),
        false => sight.delete(wanted),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::ids::ContainerId;

    use super::*;
    use crate::node::Health;
    use crate::ops::testing::{node_id, pipeline_id};
    use crate::pipeline::Replication;

    fn closed() -> Container {
        Container {
            id: ContainerId(1),
            state: LifeCycleState::Closed,
            pipeline: pipeline_id(9),
            replication: Replication::Three,
            owner: "om".to_owned(),
            used_bytes: 50,
            blocks: 1,
            sequence_id: 7,
            changed_ms: 0,
        }
    }

    fn replica(node: u128, sequence_id: u64) -> Replica {
        Replica {
            node: node_id(node),
            state: ReplicaState::ReplicaClosed,
            used_bytes: 50,
            blocks: 1,
            sequence_id,
            empty: false,
        }
    }

    fn node(id: u128, remaining: u64) -> NodeView {
        NodeView {
            id: node_id(id),
            health: Health::Healthy,
            registered: true,
            remaining,
        }
    }

    fn order(source: u128, target: u128) -> Option<Order> {
        Some(Order::Copy {
            source: node_id(source),
            target: node_id(target),
        })
    }

    #[test]
    fn a_lost_replica_is_copied_to_the_emptiest_that_has_none() {
        let replicas = [replica(1, 7), replica(2, 7)];
        let nodes = [node(1, 900), node(2, 900), node(4, 100), node(5, 200)];
        assert_eq!(decide(&closed(), &replicas, &nodes, |_| 0), order(1, 5));
        let busy = |id| usize::from(id == node_id(5) || id == node_id(1));
        assert_eq!(decide(&closed(), &replicas, &nodes, busy), order(2, 4));
    }

    #[test]
    fn healthy_open_and_single_containers_are_left_alone() {
        let replicas = [replica(1, 7), replica(2, 7), replica(3, 7)];
        let nodes = [node(1, 900), node(2, 900), node(4, 900)];
        assert_eq!(decide(&closed(), &replicas, &nodes, |_| 0), None);
        let open = Container {
            state: LifeCycleState::Open,
            ..closed()
        };
        assert_eq!(decide(&open, &replicas[..1], &nodes, |_| 0), None);
        let single = Container {
            replication: Replication::One,
            ..closed()
        };
        assert_eq!(decide(&single, &[], &nodes, |_| 0), None);
    }

    fn deletion(node: u128) -> Option<Order> {
        Some(Order::Delete {
            node: node_id(node),
        })
    }

    #[test]
    fn a_replica_too_many_goes_from_the_fullest_and_a_damaged_one_goes_first() {
        let mut replicas = vec![replica(1, 7), replica(2, 7), replica(3, 7), replica(4, 7)];
        let nodes = [node(1, 900), node(2, 300), node(3, 900), node(4, 900)];
        assert_eq!(decide(&closed(), &replicas, &nodes, |_| 0), deletion(2));
        replicas[3].state = ReplicaState::ReplicaUnhealthy;
        assert_eq!(decide(&closed(), &replicas, &nodes, |_| 0), deletion(4));
        replicas.pop();
        assert_eq!(decide(&closed(), &replicas, &nodes, |_| 0), None);
    }

    #[test]
    fn nothing_is_deleted_on_the_word_of_a_datanode_that_is_silent() {
        let replicas = [replica(1, 7), replica(2, 7), replica(3, 7), replica(4, 7)];
        let stale = NodeView {
            health: Health::Stale,
            ..node(4, 900)
        };
        let nodes = [node(1, 900), node(2, 900), node(3, 900), stale];
        assert_eq!(decide(&closed(), &replicas, &nodes, |_| 0), None);
    }

    #[test]
    fn a_damaged_replica_stays_while_there_are_too_few_good_ones() {
        let mut replicas = [replica(1, 7), replica(2, 7), replica(3, 7)];
        replicas[2].state = ReplicaState::ReplicaUnhealthy;
        let nodes = [node(1, 900), node(2, 900), node(3, 900), node(4, 900)];
        assert_eq!(decide(&closed(), &replicas, &nodes, |_| 0), order(1, 4));
        assert_eq!(decide(&closed(), &replicas, &nodes[..3], |_| 0), None);
    }

    #[test]
    fn a_short_replica_is_replaced_by_a_copy_and_kept_until_one_has_its_place() {
        let mut replicas = vec![replica(1, 7), replica(2, 5), replica(3, 5)];
        replicas[1].state = ReplicaState::ReplicaQuasiClosed;
        replicas[2].state = ReplicaState::ReplicaQuasiClosed;
        let nodes = [node(1, 900), node(2, 900), node(3, 900), node(4, 900)];
        let decide = |replicas: &[Replica], nodes| decide(&closed(), replicas, nodes, |_| 0);
        assert_eq!(decide(&replicas, &nodes), order(1, 4));
        assert_eq!(decide(&replicas, &nodes[..3]), deletion(2));
        replicas.remove(1);
        assert_eq!(decide(&replicas, &nodes[..3]), order(1, 2));
        replicas.push(replica(2, 7));
        assert_eq!(decide(&replicas, &nodes[..3]), deletion(3));
        replicas.remove(1);
        assert_eq!(decide(&replicas, &nodes[..3]), order(1, 3));
    }

    #[test]
    fn a_replica_that_comes_back_with_more_is_never_the_one_too_many() {
        let single = Container {
            replication: Replication::One,
            sequence_id: 0,
            blocks: 0,
            ..closed()
        };
        let nodes = [node(1, 100), node(2, 900)];
        let replicas = [replica(1, 7), replica(2, 0)];
        assert_eq!(decide(&single, &replicas, &nodes, |_| 0), deletion(2));
        let quasi = Replica {
            state: ReplicaState::ReplicaQuasiClosed,
            ..replicas[0]
        };
        let unsettled = [quasi, replicas[1]];
        assert_eq!(decide(&single, &unsettled, &nodes, |_| 0), None);
    }

    #[test]
    fn only_complete_replicas_on_live_datanodes_are_sources() {
        let dead = NodeView {
            health: Health::Dead,
            ..node(1, 900)
        };
        let replicas = [replica(1, 7), replica(2, 6)];
        let nodes = [dead, node(2, 900), node(4, 900)];
        assert_eq!(decide(&closed(), &replicas, &nodes, |_| 0), None);
    }

    #[test]
    fn nobody_without_room_is_a_target() {
        let nodes = [node(1, 900), node(4, 50)];
        assert_eq!(decide(&closed(), &[replica(1, 7)], &nodes, |_| 0), None);
    }
}
