//! Containers: super blocks that are replicated as one.
//!
//! Their life is replicated ([`lifecycle`]); who holds which replica is soft state from reports
//! ([`replicas`]); what follows from a report is a pure decision ([`transition`]).

pub(crate) mod lifecycle;
pub(crate) mod replicas;
pub(crate) mod transition;

use ozone_common::ids::{ContainerId, PipelineId};
pub(crate) use ozone_proto::hdds::LifeCycleState;
use ozone_proto::hdds::{self, ReplicationType};

use crate::pipeline::Replication;

/// A container, as it is replicated. Sizes and counts are as of the last change of state; fresher
/// ones come from reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    /// Its id; from 1, never reused.
    pub(crate) id: ContainerId,
    /// Where it is in its life.
    pub(crate) state: LifeCycleState,
    /// The pipeline that writes it while it is open.
    pub(crate) pipeline: PipelineId,
    /// Replicas that it has when healthy.
    pub(crate) replication: Replication,
    /// The service that it was made for.
    pub(crate) owner: String,
    /// Bytes of block data.
    pub(crate) used_bytes: u64,
    /// Blocks.
    pub(crate) blocks: u64,
    /// The last commit that its replicas agree on; 0 until closed.
    pub(crate) sequence_id: u64,
    /// When its state last changed; ms since 1970.
    pub(crate) changed_ms: u64,
}

impl Container {
    /// As Ozone shows it.
    pub(crate) fn to_proto(&self) -> hdds::ContainerInfoProto {
        hdds::ContainerInfoProto {
            container_id: id_to_wire(self.id),
            state: self.state as i32,
            pipeline_id: Some(crate::pipeline::wire::pipeline_id(self.pipeline)),
            used_bytes: self.used_bytes,
            number_of_keys: self.blocks,
            state_enter_time: i64::try_from(self.changed_ms).ok(),
            owner: self.owner.clone(),
            sequence_id: i64::try_from(self.sequence_id).ok(),
            replication_factor: Some(self.replication.factor() as i32),
            replication_type: ReplicationType::Ratis as i32,
            ec_replication_config: None,
        }
    }
}

/// A container id as messages carry it.
pub(crate) fn id_to_wire(id: ContainerId) -> i64 {
    i64::try_from(id.get()).unwrap_or(i64::MAX)
}

/// A container id from a message; none if it cannot be one.
pub(crate) fn id_from_wire(id: i64) -> Option<ContainerId> {
    u64::try_from(id).ok().filter(|id| *id > 0).map(ContainerId)
}
