//! Making lost replicas anew.
//!
//! A closed container of three replicas that lost some gets them back, one at a time: a datanode
//! that holds a good one is told to copy it to another that holds none.

mod worker;

use ozone_common::ids::DatanodeId;
use ozone_proto::hdds::LifeCycleState;
use ozone_proto::scm::ReplicaState;

use crate::container::Container;
use crate::container::replicas::Replica;
use crate::node::NodeView;

pub(crate) use worker::{NAME, Replicator};

/// One copy to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// Who holds a good replica.
    pub(crate) source: DatanodeId,
    /// Who is to hold one.
    pub(crate) target: DatanodeId,
}

/// The copy that a container needs next; none if it is healthy, not closed, cannot be copied for
/// want of a good replica, or nobody has room. `busy` tells how much a datanode has to do already.
pub(crate) fn decide(
    container: &Container,
    replicas: &[Replica],
    nodes: &[NodeView],
    busy: impl Fn(DatanodeId) -> usize,
) -> Option<Order> {
    let wanted = container.replication.replicas();
    if container.state != LifeCycleState::Closed || wanted < 2 {
        return None;
    }
    let usable = |id: DatanodeId| nodes.iter().any(|node| node.id == id && node.is_usable());
    let good = |replica: &&Replica| {
        replica.state == ReplicaState::ReplicaClosed && replica.sequence_id >= container.sequence_id
    };
    if replicas.iter().filter(good).count() >= wanted {
        return None;
    }
    let sources = replicas.iter().filter(good).map(|replica| replica.node);
    let source = sources
        .filter(|id| usable(*id))
        .min_by_key(|id| (busy(*id), *id))?;
    let free = nodes.iter().filter(|node| {
        let holds = replicas.iter().any(|replica| replica.node == node.id);
        node.is_usable() && !holds && node.remaining > container.used_bytes
    });
    let target = free.min_by_key(|node| (busy(node.id), u64::MAX - node.remaining, node.id))?;
    Some(Order {
        source,
        target: target.id,
    })
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
        Some(Order {
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
