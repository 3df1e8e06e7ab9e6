//! What follows for a container from what is reported of it: a pure decision.
//!
//! A container closes when it is full, when a datanode asks for it, or when its pipeline is gone.
//! Its replicas agree on a length by closing through the pipeline; replicas whose pipeline is gone
//! are quasi-closed, and the longest of a majority wins, because a majority holds everything that
//! was ever acknowledged. A container that nobody ever wrote, or that is empty wherever it was written, is deleted.

use ozone_common::ids::DatanodeId;
use ozone_proto::hdds::LifeCycleState;
use ozone_proto::scm::ReplicaState;

use super::Container;
use super::replicas::Replica;

/// Share of its size at which a container is closed, in hundredths.
const FULL_PERCENT: u64 = 90;

/// How the pipeline of a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipelineStanding {
    /// It takes blocks.
    Open,
    /// It takes none any more.
    Closed {
        /// All members are alive and have left it: no write is under way.
        cleared: bool,
        /// A member is dead.
        member_lost: bool,
    },
}

/// What a decision sees.
#[derive(Debug, Clone)]
pub(crate) struct Situation<'a> {
    /// The container.
    pub(crate) container: &'a Container,
    /// Its replicas on datanodes that are not dead.
    pub(crate) replicas: &'a [Replica],
    /// Its pipeline.
    pub(crate) pipeline: PipelineStanding,
    /// The members of its pipeline; none once that is forgotten.
    pub(crate) members: Option<&'a [DatanodeId]>,
    /// Bytes that a container may have.
    pub(crate) size_limit: u64,
    /// Whether a datanode or an operator wants it closed.
    pub(crate) close_asked: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The container changes state, with these sums over its replicas.
    Move {
        /// The new state.
        to: LifeCycleState,
        /// Bytes of block data.
        used_bytes: u64,
        /// Blocks.
        blocks: u64,
        /// The last commit.
        sequence_id: u64,
    },
    /// A datanode is to close its replica; by force, at the length that it has.
    Close {
        /// The datanode.
        node: DatanodeId,
        /// Without its pipeline.
        force: bool,
    },
    /// A datanode is to delete its replica; by force, though it holds data.
    Delete {
        /// The datanode.
        node: DatanodeId,
        /// Though it holds data.
        force: bool,
    },
}

impl Situation<'_> {
    fn in_state(&self, state: ReplicaState) -> impl Iterator<Item = &Replica> {
        self.replicas
            .iter()
            .filter(move |replica| replica.state == state)
    }

    fn has(&self, state: ReplicaState) -> bool {
        self.in_state(state).next().is_some()
    }

    /// A move, with the greatest sums among replicas in `state`.
    fn to<'r>(to: LifeCycleState, of: impl Iterator<Item = &'r Replica>) -> Action {
        let (mut used_bytes, mut blocks, mut sequence_id) = (0, 0, 0);
        for replica in of {
            used_bytes = replica.used_bytes.max(used_bytes);
            blocks = replica.blocks.max(blocks);
            sequence_id = replica.sequence_id.max(sequence_id);
        }
        Action::Move {
            to,
            used_bytes,
            blocks,
            sequence_id,
        }
    }

    fn is_full(&self) -> bool {
        let used = self
            .replicas
            .iter()
            .map(|replica| replica.used_bytes)
            .max()
            .unwrap_or(0);
        used >= self.size_limit / 100 * FULL_PERCENT
    }

    /// Commands to close the replicas that still take writes.
    fn close_open(&self) -> Vec<Action> {
        let writable = |replica: &&Replica| {
            matches!(
                replica.state,
                ReplicaState::ReplicaOpen | ReplicaState::ReplicaClosing
            )
        };
        let open = self.replicas.iter().filter(writable);
        open.map(|replica| Action::Close {
            node: replica.node,
            force: false,
        })
        .collect()
    }

    fn decide_open(&self) -> Vec<Action> {
        let ended = |replica: &Replica| replica.state != ReplicaState::ReplicaOpen;
        let over = self.close_asked
            || self.pipeline != PipelineStanding::Open
            || self.is_full()
            || self.replicas.iter().any(ended);
        match over {
            true => vec![Self::to(LifeCycleState::Closing, self.replicas.iter())],
            false => Vec::new(),
        }
    }

    fn decide_closing(&self) -> Vec<Action> {
        if self.has(ReplicaState::ReplicaClosed) {
            let closed = self.in_state(ReplicaState::ReplicaClosed);
            return vec![Self::to(LifeCycleState::Closed, closed)];
        }
        if self.has(ReplicaState::ReplicaQuasiClosed) {
            let closed = self.in_state(ReplicaState::ReplicaQuasiClosed);
            return vec![Self::to(LifeCycleState::QuasiClosed, closed)];
        }
        let cleared = matches!(
            self.pipeline,
            PipelineStanding::Closed { cleared: true, .. }
        );
        if self.replicas.is_empty() && cleared {
            return vec![Self::to(LifeCycleState::Deleting, [].iter())];
        }
        self.close_open()
    }

    fn decide_quasi_closed(&self) -> Vec<Action> {
        if self.has(ReplicaState::ReplicaClosed) {
            let closed = self.in_state(ReplicaState::ReplicaClosed);
            return vec![Self::to(LifeCycleState::Closed, closed)];
        }
        let replication = self.container.replication;
        let lost = matches!(
            self.pipeline,
            PipelineStanding::Closed {
                member_lost: true,
                ..
            }
        );
        let needed = match lost {
            true => replication.majority(),
            false => replication.replicas(),
        };
        if self.in_state(ReplicaState::ReplicaQuasiClosed).count() < needed {
            return self.close_open();
        }
        let quasi = || self.in_state(ReplicaState::ReplicaQuasiClosed);
        let longest = quasi().map(|replica| replica.sequence_id).max();
        let best = quasi().filter(|replica| Some(replica.sequence_id) == longest);
        best.map(|replica| Action::Close {
            node: replica.node,
            force: true,
        })
        .collect()
    }

    fn decide_closed(&self) -> Vec<Action> {
        let closed = || self.in_state(ReplicaState::ReplicaClosed);
        let complete = closed().count() >= self.container.replication.replicas();
        if complete && self.is_empty() {
            return vec![Self::to(LifeCycleState::Deleting, closed())];
        }
        let mut actions = self.close_open();
        let agreed = closed().map(|replica| replica.sequence_id).max();
        // A shorter one is replaced: that takes care of how many there are, and is not decided here.
        let whole = self
            .in_state(ReplicaState::ReplicaQuasiClosed)
            .filter(|replica| Some(replica.sequence_id) >= agreed);
        actions.extend(whole.map(|replica| Action::Close {
            node: replica.node,
            force: true,
        }));
        actions
    }

    /// Whether it holds nothing. Its data may be where it was written, and only there: as long as a member of its
    /// pipeline has not reported its replica, an empty one elsewhere proves nothing.
    fn is_empty(&self) -> bool {
        let has = |member: &DatanodeId| self.replicas.iter().any(|r| r.node == *member);
        let all_reported = self.members.is_none_or(|members| members.iter().all(has));
        self.container.blocks == 0 && all_reported && self.replicas.iter().all(|r| r.empty)
    }

    fn delete_all(&self) -> Vec<Action> {
        let all = self.replicas.iter();
        all.map(|replica| Action::Delete {
            node: replica.node,
            force: false,
        })
        .collect()
    }
}

/// What follows for a container.
pub(crate) fn decide(situation: &Situation<'_>) -> Vec<Action> {
    match situation.container.state {
        LifeCycleState::Open => situation.decide_open(),
        LifeCycleState::Closing => situation.decide_closing(),
        LifeCycleState::QuasiClosed => situation.decide_quasi_closed(),
        LifeCycleState::Closed => situation.decide_closed(),
        LifeCycleState::Deleting if situation.replicas.is_empty() => {
            vec![Situation::to(LifeCycleState::Deleted, [].iter())]
        }
        LifeCycleState::Deleting | LifeCycleState::Deleted => situation.delete_all(),
        LifeCycleState::Recovering => Vec::new(),
    }
}

#[cfg(test)]
#[path = "transition_test.rs"]
mod tests;
