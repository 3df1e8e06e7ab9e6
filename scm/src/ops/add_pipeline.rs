//! A pipeline is planned.

use std::collections::BTreeSet;

use ozone_common::ids::DatanodeId;
use ozone_proto::hdds::{PipelineState, ReplicationType};

use super::{Answer, Op, Refusal};
use crate::model::{Change, QueueError, View};
use crate::pipeline::{Pipeline, Replication};
use crate::rows::{uuid_from, uuids_from};

/// The command.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AddPipeline {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(int32, tag = "2")]
    pub(crate) factor: i32,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(crate) members: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) suggested_leader: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub(crate) at_ms: u64,
}

impl AddPipeline {
    fn pipeline(&self) -> Option<Pipeline> {
        let members: Vec<DatanodeId> = uuids_from(&self.members)?;
        let replication = Replication::from_proto(ReplicationType::Ratis as i32, self.factor)?;
        let distinct = members.iter().collect::<BTreeSet<_>>().len();
        if distinct != replication.replicas() || members.len() != distinct {
            return None;
        }
        Some(Pipeline {
            id: uuid_from(&self.id)?,
            replication,
            state: PipelineState::PipelineAllocated,
            members,
            suggested_leader: uuid_from(&self.suggested_leader),
            changed_ms: self.at_ms,
        })
    }
}

impl Op for AddPipeline {
    fn name(&self) -> &'static str {
        "AddPipeline"
    }

    fn validate(&self, view: View<'_>) -> Result<(), Refusal> {
        let pipeline = self.pipeline();
        let pipeline = pipeline.ok_or(Refusal::Malformed("as many members as replicas"))?;
        if view.model.pipeline(pipeline.id).is_some() {
            return Err(Refusal::bad_state("pipeline", pipeline.id, "there already"));
        }
        let unknown = pipeline
            .members
            .iter()
            .find(|m| view.model.datanode(**m).is_none());
        if let Some(member) = unknown {
            return Err(Refusal::not_found("datanode", member));
        }
        // Two leaders in a row may both find a datanode without a pipeline of its own.
        let alone = pipeline.replication == Replication::One;
        let twin = view
            .model
            .pipelines()
            .find(|other| alone && other.is_alive() && other.members == pipeline.members);
        match twin {
            Some(twin) => Err(Refusal::bad_state("pipeline", twin.id, "there already")),
            None => Ok(()),
        }
    }

    fn apply(&self, _: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        out.extend(self.pipeline().map(Change::Pipeline));
        Ok(Answer::Done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::{World, add_pipeline, pipeline_id};
    use super::*;

    #[test]
    fn a_planned_pipeline_takes_no_blocks_yet() {
        let mut world = World::with_datanodes(3);
        world.run(&add_pipeline(9, &[1, 2, 3])).unwrap();
        let made = world.model.pipeline(pipeline_id(9)).unwrap();
        assert_eq!(made.state, PipelineState::PipelineAllocated);
        assert!(world.model.open_pipelines(Replication::Three).is_empty());
    }

    #[test]
    fn a_datanode_has_one_single_pipeline_at_a_time() {
        let mut world = World::with_datanodes(1);
        world.run(&add_pipeline(8, &[1])).unwrap();
        let twin = world.run(&add_pipeline(9, &[1]));
        assert!(matches!(twin, Err(Refusal::BadState { .. })));
    }

    #[test]
    fn members_must_be_known_distinct_and_as_many_as_replicas() {
        let mut world = World::with_datanodes(2);
        let unknown = world.run(&add_pipeline(9, &[7]));
        assert!(matches!(unknown, Err(Refusal::NotFound { .. })));
        for members in [&[1u128, 2][..], &[1, 1, 2]] {
            let bad = world.run(&add_pipeline(9, members));
            assert!(matches!(bad, Err(Refusal::Malformed(_))), "{members:?}");
        }
    }
}
