//! Pipelines as messages carry them.

use ozone_common::ids::{DatanodeId, PipelineId};
use ozone_proto::hdds::{self, DatanodeDetailsProto, ReplicationType};

use super::Pipeline;

/// A UUID in the two halves that Java knows.
pub(crate) fn uuid_halves(id: uuid::Uuid) -> hdds::Uuid {
    let (high, low) = id.as_u64_pair();
    hdds::Uuid {
        most_sig_bits: high.cast_signed(),
        least_sig_bits: low.cast_signed(),
    }
}

/// A pipeline's id.
pub(crate) fn pipeline_id(id: PipelineId) -> hdds::PipelineId {
    hdds::PipelineId {
        id: Some(id.to_string()),
        uuid128: Some(uuid_halves(id.uuid())),
    }
}

/// The id in a message, in either of its forms.
pub(crate) fn parse_pipeline_id(id: &hdds::PipelineId) -> Option<PipelineId> {
    id.text().parse().ok()
}

/// A pipeline with its members' details, in the order of the members. A member that nobody knows
/// is left out.
pub(crate) fn to_proto(
    pipeline: &Pipeline,
    leader: Option<DatanodeId>,
    details: impl Fn(DatanodeId) -> Option<DatanodeDetailsProto>,
) -> hdds::Pipeline {
    let members: Vec<_> = pipeline
        .members
        .iter()
        .filter_map(|id| details(*id))
        .collect();
    hdds::Pipeline {
        member_orders: (0..).take(members.len()).collect(),
        members,
        state: Some(pipeline.state as i32),
        r#type: Some(ReplicationType::Ratis as i32),
        factor: Some(pipeline.replication.factor() as i32),
        id: pipeline_id(pipeline.id),
        leader_id: leader.map(|id| id.to_string()),
        creation_time_stamp: Some(pipeline.changed_ms),
        suggested_leader_id: pipeline.suggested_leader.map(|id| uuid_halves(id.uuid())),
        member_replica_indexes: Vec::new(),
        ec_replication_config: None,
        leader_id128: leader.map(|id| uuid_halves(id.uuid())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_both_forms() {
        let id: PipelineId = "f0000000-0000-0001-8000-000000000002".parse().unwrap();
        let full = pipeline_id(id);
        assert_eq!(parse_pipeline_id(&full), Some(id));
        let halves = hdds::PipelineId { id: None, ..full };
        assert_eq!(parse_pipeline_id(&halves), Some(id));
        let text = hdds::PipelineId {
            id: Some("x".to_owned()),
            uuid128: None,
        };
        assert_eq!(parse_pipeline_id(&text), None);
    }
}
