//! The datanodes of the cluster as their reports show them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ozone_common::ids::DatanodeId;
use ozone_proto::hdds::DatanodeDetailsProto;
use ozone_proto::scm::{Command, StorageReport};
use parking_lot::RwLock;

use super::commands::CommandQueue;
use super::health::Patience;
use super::space::Space;
use super::{CommandKey, Health, NodeCommand};

/// Most commands in one heartbeat's answer.
const COMMANDS_PER_HEARTBEAT: usize = 200;

/// What decisions see of a datanode.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeView {
    /// Its id.
    pub(crate) id: DatanodeId,
    /// Whether it is alive.
    pub(crate) health: Health,
    /// Whether it has registered since SCM started.
    pub(crate) registered: bool,
    /// Bytes that it may still store.
    pub(crate) remaining: u64,
}

impl NodeView {
    /// Whether it may take new data.
    pub(crate) fn is_usable(&self) -> bool {
        self.registered && self.health == Health::Healthy
    }
}

/// What a datanode says when it registers.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    /// Where it is reached.
    pub(crate) details: DatanodeDetailsProto,
    /// Layout of its data.
    pub(crate) layout_version: u32,
    /// Its disks.
    pub(crate) storage: Vec<StorageReport>,
}

/// Everything known of a datanode, for operators.
#[derive(Debug, Clone)]
pub(crate) struct NodeStatus {
    /// Where it is reached.
    pub(crate) details: Arc<DatanodeDetailsProto>,
    /// Whether it is alive.
    pub(crate) health: Health,
    /// Its disks.
    pub(crate) storage: Vec<StorageReport>,
}

#[derive(Debug)]
struct Node {
    details: Arc<DatanodeDetailsProto>,
    /// Monotonic time of the last sign of life; of SCM's start when there was none.
    seen: Duration,
    /// Monotonic time of the registration, if there was one since SCM started.
    registered: Option<Duration>,
    health: Health,
    layout_version: u32,
    storage: Vec<StorageReport>,
    queue: CommandQueue,
}

impl Node {
    fn space(&self) -> Space {
        Space::of(self.storage.iter())
    }
}

/// All datanodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    patience: Patience,
    all: RwLock<HashMap<DatanodeId, Node>>,
    next_command: AtomicI64,
}

impl Nodes {
    /// No datanodes yet. Command ids start at `first_command`, so that answers to commands of an
    /// earlier run are not taken for answers to new ones.
    pub(crate) fn new(patience: Patience, first_command: i64) -> Self {
        Self {
            patience,
            all: RwLock::default(),
            next_command: AtomicI64::new(first_command),
        }
    }

    /// Takes in a datanode that registered in an earlier run; it counts as silent from `now`.
    pub(crate) fn expect(&self, id: DatanodeId, details: &DatanodeDetailsProto, now: Duration) {
        self.all.write().entry(id).or_insert_with(|| Node {
            details: Arc::new(details.clone()),
            seen: now,
            registered: None,
            health: Health::Healthy,
            layout_version: 0,
            storage: Vec::new(),
            queue: CommandQueue::default(),
        });
    }

    /// A datanode registers. What it was told before is forgotten.
    pub(crate) fn register(&self, id: DatanodeId, registration: Registration, now: Duration) {
        let Registration {
            details,
            layout_version,
            storage,
        } = registration;
        self.expect(id, &details, now);
        if let Some(node) = self.all.write().get_mut(&id) {
            node.details = Arc::new(details);
            node.layout_version = layout_version;
            node.registered = Some(now);
            node.seen = now;
            node.health = Health::Healthy;
            node.storage = storage;
            node.queue.reset();
        }
    }

    /// A registered datanode gives a sign of life. None if it has to register first, else whether
    /// it was given up or silent before.
    pub(crate) fn heartbeat(
        &self,
        id: DatanodeId,
        storage: Vec<StorageReport>,
        now: Duration,
    ) -> Option<bool> {
        let mut all = self.all.write();
        let node = all.get_mut(&id).filter(|node| node.registered.is_some())?;
        // What a dead datanode held is forgotten: it has to report everything anew.
        if node.health == Health::Dead {
            return None;
        }
        node.seen = now;
        if !storage.is_empty() {
            node.storage = storage;
        }
        let returned = node.health != Health::Healthy;
        node.health = Health::Healthy;
        Some(returned)
    }

    /// Judges everyone by the time since the last sign of life; gives those who changed.
    pub(crate) fn refresh(&self, now: Duration) -> Vec<(DatanodeId, Health)> {
        let mut changed = Vec::new();
        for (id, node) in self.all.write().iter_mut() {
            let health = self.patience.judge(now.saturating_sub(node.seen));
            if health != node.health {
                node.health = health;
                changed.push((*id, health));
                if health == Health::Dead {
                    node.queue.reset();
                }
            }
        }
        changed
    }

    /// Queues a command. False if the datanode is unknown, or has been told a short time ago.
    pub(crate) fn tell(&self, id: DatanodeId, command: NodeCommand, now: Duration) -> bool {
        let mut all = self.all.write();
        let node = all.get_mut(&id).filter(|node| node.health != Health::Dead);
        node.is_some_and(|node| node.queue.push(command, now))
    }

    /// Takes the commands for a datanode.
    pub(crate) fn take_commands(&self, id: DatanodeId, now: Duration) -> Vec<Command> {
        let mut all = self.all.write();
        let Some(node) = all.get_mut(&id) else {
            return Vec::new();
        };
        let next = || self.next_command.fetch_add(1, Ordering::Relaxed);
        node.queue.take(COMMANDS_PER_HEARTBEAT, now, next)
    }

    /// What a command that was sent to a datanode was for.
    pub(crate) fn purpose(&self, id: DatanodeId, command: i64) -> Option<CommandKey> {
        self.all.read().get(&id)?.queue.purpose(command)
    }

    /// Commands that wait for a datanode.
    pub(crate) fn queued(&self, id: DatanodeId) -> usize {
        self.all.read().get(&id).map_or(0, |node| node.queue.len())
    }

    /// How long ago a datanode registered; none if it has not since SCM started.
    pub(crate) fn age(&self, id: DatanodeId, now: Duration) -> Option<Duration> {
        let registered = self.all.read().get(&id)?.registered?;
        Some(now.saturating_sub(registered))
    }

    /// What decisions see of one datanode.
    pub(crate) fn view(&self, id: DatanodeId) -> Option<NodeView> {
        self.all.read().get(&id).map(|node| view(id, node))
    }

    /// What decisions see, in order of id.
    pub(crate) fn views(&self) -> Vec<NodeView> {
        let all = self.all.read();
        let mut views: Vec<_> = all.iter().map(|(id, node)| view(*id, node)).collect();
        views.sort_by_key(|view| view.id);
        views
    }

    /// Datanodes that have registered since SCM started and are alive.
    pub(crate) fn registered(&self) -> usize {
        let all = self.all.read();
        let alive = |node: &&Node| node.registered.is_some() && node.health != Health::Dead;
        all.values().filter(alive).count()
    }

    /// Those who registered since SCM started and are alive: where they are, and their layout.
    pub(crate) fn registrations(&self) -> Vec<(DatanodeId, Arc<DatanodeDetailsProto>, u32)> {
        let all = self.all.read();
        let alive = |node: &Node| node.registered.is_some() && node.health != Health::Dead;
        let alive = all.iter().filter(|(_, node)| alive(node));
        alive
            .map(|(id, node)| (*id, node.details.clone(), node.layout_version))
            .collect()
    }

    /// Where a datanode is reached.
    pub(crate) fn details(&self, id: DatanodeId) -> Option<Arc<DatanodeDetailsProto>> {
        self.all.read().get(&id).map(|node| node.details.clone())
    }

    /// Sums over the datanodes that are alive.
    pub(crate) fn space(&self) -> Space {
        let all = self.all.read();
        let alive = all.values().filter(|node| node.health != Health::Dead);
        Space::of(alive.flat_map(|node| &node.storage))
    }

    /// Everything, for operators, in order of id.
    pub(crate) fn status(&self) -> Vec<(DatanodeId, NodeStatus)> {
        let all = self.all.read();
        let mut status: Vec<_> = all
            .iter()
            .map(|(id, node)| {
                let status = NodeStatus {
                    details: node.details.clone(),
                    health: node.health,
                    storage: node.storage.clone(),
                };
                (*id, status)
            })
            .collect();
        status.sort_by_key(|(id, _)| *id);
        status
    }
}

fn view(id: DatanodeId, node: &Node) -> NodeView {
    NodeView {
        id,
        health: node.health,
        registered: node.registered.is_some(),
        remaining: node.space().remaining,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::ops::testing::{details, node_id};

    fn nodes() -> Nodes {
        let patience = Patience {
            stale: Duration::from_secs(5),
            dead: Duration::from_secs(10),
        };
        Nodes::new(patience, 100)
    }

    fn register(nodes: &Nodes, n: u128, storage: Vec<StorageReport>, now: Duration) {
        let registration = Registration {
            details: details(n),
            layout_version: 1,
            storage,
        };
        nodes.register(node_id(n), registration, now);
    }

    fn disk(capacity: u64, failed: bool) -> StorageReport {
        StorageReport {
            capacity,
            used: 1,
            remaining: capacity - 1,
            failed,
            ..StorageReport::default()
        }
    }

    #[test]
    fn silence_makes_stale_then_dead_and_a_heartbeat_heals() {
        let nodes = nodes();
        let at = Duration::from_secs;
        register(&nodes, 1, vec![], at(0));
        assert!(nodes.refresh(at(4)).is_empty());
        assert_eq!(nodes.refresh(at(5)), [(node_id(1), Health::Stale)]);
        assert_eq!(nodes.heartbeat(node_id(1), vec![], at(6)), Some(true));
        assert_eq!(nodes.heartbeat(node_id(1), vec![], at(6)), Some(false));
        assert_eq!(nodes.refresh(at(16)), [(node_id(1), Health::Dead)]);
        assert_eq!(nodes.registered(), 0);
    }

    #[test]
    fn unknown_expected_and_dead_datanodes_have_to_register() {
        let nodes = nodes();
        let at = Duration::from_secs;
        assert_eq!(nodes.heartbeat(node_id(1), vec![], at(0)), None);
        nodes.expect(node_id(1), &details(1), at(0));
        assert_eq!(nodes.heartbeat(node_id(1), vec![], at(0)), None);
        assert_eq!(nodes.refresh(at(10)), [(node_id(1), Health::Dead)]);
        register(&nodes, 1, vec![], at(11));
        assert!(nodes.views()[0].is_usable());
        nodes.refresh(at(30));
        assert_eq!(nodes.heartbeat(node_id(1), vec![], at(31)), None);
    }

    #[test]
    fn failed_disks_and_dead_datanodes_hold_no_space() {
        let nodes = nodes();
        let disks = vec![disk(100, false), disk(1000, true)];
        register(&nodes, 1, disks, Duration::ZERO);
        assert_eq!(nodes.space().capacity, 100);
        assert_eq!(nodes.space().remaining, 99);
        nodes.refresh(Duration::from_secs(60));
        assert_eq!(nodes.space(), Space::default());
    }
}
