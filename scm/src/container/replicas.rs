//! Who holds which replica of a container: soft state from reports.

use std::collections::{BTreeSet, HashMap};

use ozone_common::ids::{ContainerId, DatanodeId};
use ozone_proto::scm::{ContainerReplica, ReplicaState};
use parking_lot::RwLock;

use super::id_from_wire;

/// One replica as its datanode reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replica {
    /// The datanode that holds it.
    pub(crate) node: DatanodeId,
    /// Where it is in its life.
    pub(crate) state: ReplicaState,
    /// Bytes of block data.
    pub(crate) used_bytes: u64,
    /// Blocks.
    pub(crate) blocks: u64,
    /// Its last commit.
    pub(crate) sequence_id: u64,
    /// Whether it holds no data at all.
    pub(crate) empty: bool,
}

#[derive(Debug, Default)]
struct Maps {
    by_container: HashMap<ContainerId, Vec<Replica>>,
    by_node: HashMap<DatanodeId, BTreeSet<ContainerId>>,
}

/// All replicas.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    maps: RwLock<Maps>,
}

impl Replicas {
    /// Takes a datanode's report; `complete`: it names everything that the datanode has. Gives the
    /// containers for which anything is new.
    pub(crate) fn take(
        &self,
        node: DatanodeId,
        report: &[ContainerReplica],
        complete: bool,
    ) -> Vec<ContainerId> {
        let mut maps = self.maps.write();
        let mut changed = Vec::new();
        let mut named = BTreeSet::new();
        for entry in report {
            let (Some(id), Some(replica)) = (id_from_wire(entry.container_id), parse(node, entry))
            else {
                tracing::warn!(%node, ?entry, "report of a replica that cannot be");
                continue;
            };
            let differs = match replica.state {
                ReplicaState::ReplicaDeleted => maps.remove(id, node),
                _ => {
                    named.insert(id);
                    maps.set(id, replica)
                }
            };
            if differs {
                changed.push(id);
            }
        }
        if complete {
            let held = maps.by_node.get(&node).cloned().unwrap_or_default();
            for id in held.difference(&named) {
                maps.remove(*id, node);
                changed.push(*id);
            }
        }
        changed
    }

    /// Everything that a datanode held is lost. Gives the containers.
    pub(crate) fn drop_node(&self, node: DatanodeId) -> Vec<ContainerId> {
        let mut maps = self.maps.write();
        let held = maps.by_node.remove(&node).unwrap_or_default();
        for id in &held {
            if let Some(replicas) = maps.by_container.get_mut(id) {
                replicas.retain(|replica| replica.node != node);
            }
        }
        held.into_iter().collect()
    }

    /// The replicas of a container.
    pub(crate) fn of(&self, id: ContainerId) -> Vec<Replica> {
        let maps = self.maps.read();
        maps.by_container.get(&id).cloned().unwrap_or_default()
    }

    /// Bytes of block data in the fullest replica of a container.
    pub(crate) fn used_bytes(&self, id: ContainerId) -> u64 {
        let maps = self.maps.read();
        let replicas = maps.by_container.get(&id).into_iter().flatten();
        replicas
            .map(|replica| replica.used_bytes)
            .max()
            .unwrap_or(0)
    }

    /// Replicas that a datanode holds.
    pub(crate) fn count_of(&self, node: DatanodeId) -> usize {
        let maps = self.maps.read();
        maps.by_node.get(&node).map_or(0, BTreeSet::len)
    }
}

impl Maps {
    fn set(&mut self, id: ContainerId, replica: Replica) -> bool {
        self.by_node.entry(replica.node).or_default().insert(id);
        let replicas = self.by_container.entry(id).or_default();
        match replicas.iter_mut().find(|old| old.node == replica.node) {
            Some(old) if *old == replica => false,
            Some(old) => {
                *old = replica;
                true
            }
            None => {
                replicas.push(replica);
                true
            }
        }
    }

    fn remove(&mut self, id: ContainerId, node: DatanodeId) -> bool {
        if let Some(replicas) = self.by_container.get_mut(&id) {
            replicas.retain(|replica| replica.node != node);
            if replicas.is_empty() {
                self.by_container.remove(&id);
            }
        }
        self.by_node
            .get_mut(&node)
            .is_some_and(|held| held.remove(&id))
    }
}

fn parse(node: DatanodeId, entry: &ContainerReplica) -> Option<Replica> {
    let state = ReplicaState::try_from(entry.state).ok()?;
    (state != ReplicaState::ReplicaUnknown).then_some(Replica {
        node,
        state,
        used_bytes: entry.used_bytes,
        blocks: entry.block_count,
        sequence_id: entry.bcsid,
        empty: entry.empty,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::ops::testing::node_id;

    fn entry(id: i64, state: ReplicaState, used_bytes: u64) -> ContainerReplica {
        ContainerReplica {
            container_id: id,
            state: state as i32,
            used_bytes,
            ..ContainerReplica::default()
        }
    }

    #[test]
    fn only_news_are_news() {
        let replicas = Replicas::default();
        let report = [entry(1, ReplicaState::ReplicaOpen, 5)];
        assert_eq!(replicas.take(node_id(1), &report, false), [ContainerId(1)]);
        assert!(replicas.take(node_id(1), &report, false).is_empty());
        replicas.take(node_id(2), &[entry(1, ReplicaState::ReplicaOpen, 9)], false);
        assert_eq!(replicas.of(ContainerId(1)).len(), 2);
        assert_eq!(replicas.used_bytes(ContainerId(1)), 9);
    }

    #[test]
    fn a_complete_report_takes_back_what_it_does_not_name() {
        let replicas = Replicas::default();
        let open = |id| entry(id, ReplicaState::ReplicaOpen, 0);
        replicas.take(node_id(1), &[open(1), open(2)], true);
        assert!(replicas.take(node_id(1), &[open(1)], false).is_empty());
        assert_eq!(
            replicas.take(node_id(1), &[open(1)], true),
            [ContainerId(2)]
        );
        assert_eq!(replicas.count_of(node_id(1)), 1);
        assert!(replicas.of(ContainerId(2)).is_empty());
    }

    #[test]
    fn deleted_replicas_and_lost_datanodes_hold_nothing() {
        let replicas = Replicas::default();
        replicas.take(
            node_id(1),
            &[entry(1, ReplicaState::ReplicaClosed, 0)],
            true,
        );
        replicas.take(
            node_id(2),
            &[entry(1, ReplicaState::ReplicaClosed, 0)],
            true,
        );
        let deleted = [entry(1, ReplicaState::ReplicaDeleted, 0)];
        assert_eq!(replicas.take(node_id(1), &deleted, false), [ContainerId(1)]);
        assert_eq!(replicas.drop_node(node_id(2)), [ContainerId(1)]);
        assert!(replicas.of(ContainerId(1)).is_empty());
    }

    #[test]
    fn nonsense_in_a_report_is_passed_over() {
        let replicas = Replicas::default();
        let mut bad = entry(2, ReplicaState::ReplicaOpen, 0);
        bad.state = 99;
        let report = [
            entry(-1, ReplicaState::ReplicaOpen, 0),
            bad,
            entry(3, ReplicaState::ReplicaOpen, 0),
        ];
        assert_eq!(replicas.take(node_id(1), &report, true), [ContainerId(3)]);
    }
}
