//! Pipelines: groups of datanodes that replicate blocks together.
//!
//! A pipeline is planned by SCM ([`create`]), made by its members on command, opened once they
//! report it, and closed for good when a member is lost ([`transition`]). What members report is
//! soft state ([`reports`]); the rest is replicated.

pub(crate) mod create;
pub(crate) mod reports;
pub(crate) mod transition;
pub(crate) mod wire;

use ozone_common::ids::{DatanodeId, PipelineId};
pub(crate) use ozone_proto::hdds::PipelineState;
use ozone_proto::hdds::{ReplicationFactor, ReplicationType};

/// How many datanodes hold each block of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Replication {
    /// RATIS/ONE: one replica.
    One,
    /// RATIS/THREE: three replicas, acknowledged by two.
    Three,
}

impl Replication {
    /// The replication that a client's words stand for; none if this system has no such thing.
    pub(crate) fn from_proto(kind: i32, factor: i32) -> Option<Self> {
        let ratis = ReplicationType::try_from(kind) == Ok(ReplicationType::Ratis);
        match ReplicationFactor::try_from(factor) {
            Ok(ReplicationFactor::One) if ratis => Some(Self::One),
            Ok(ReplicationFactor::Three) if ratis => Some(Self::Three),
            _ => None,
        }
    }

    /// Replicas of a healthy container.
    pub(crate) fn replicas(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }

    /// Replicas that hold everything that was ever acknowledged.
    pub(crate) fn majority(self) -> usize {
        self.replicas() / 2 + 1
    }

    /// As Ozone names it on the wire.
    pub(crate) fn factor(self) -> ReplicationFactor {
        match self {
            Self::One => ReplicationFactor::One,
            Self::Three => ReplicationFactor::Three,
        }
    }
}

impl std::fmt::Display for Replication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RATIS/{}", self.factor().as_str_name())
    }
}

/// A pipeline, as it is replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pipeline {
    /// Its id, which is also the id of its Raft group.
    pub(crate) id: PipelineId,
    /// Replicas of each block.
    pub(crate) replication: Replication,
    /// ALLOCATED until its members report it, OPEN while it takes blocks, then CLOSED.
    pub(crate) state: PipelineState,
    /// Its datanodes.
    pub(crate) members: Vec<DatanodeId>,
    /// The member that should lead, so that leaders are spread evenly.
    pub(crate) suggested_leader: Option<DatanodeId>,
    /// When it was planned, or closed; ms since 1970.
    pub(crate) changed_ms: u64,
}

impl Pipeline {
    /// Whether it may take blocks, now or soon.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(
            self.state,
            PipelineState::PipelineAllocated | PipelineState::PipelineOpen
        )
    }

    /// Whether it takes blocks.
    pub(crate) fn is_open(&self) -> bool {
        self.state == PipelineState::PipelineOpen
    }
}
