//! A container is made for an open pipeline; its id comes from the replicated counter.

use ozone_common::ids::{ContainerId, PipelineId};
use ozone_proto::hdds::LifeCycleState;

use super::{Answer, Op, Refusal, sequence};
use crate::container::Container;
use crate::model::{Change, QueueError, View};
use crate::rows::{ROW_VERSION, SequenceRow, uuid_from};

/// The command.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AddContainer {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) pipeline: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) owner: String,
    #[prost(uint64, tag = "3")]
    pub(crate) at_ms: u64,
}

impl Op for AddContainer {
    fn name(&self) -> &'static str {
        "AddContainer"
    }

    fn validate(&self, view: View<'_>) -> Result<(), Refusal> {
        let id: PipelineId = uuid_from(&self.pipeline).ok_or(Refusal::Malformed("pipeline id"))?;
        match view.model.pipeline(id) {
            Some(pipeline) if pipeline.is_open() => Ok(()),
            Some(pipeline) => {
                let state = pipeline.state.as_str_name();
                Err(Refusal::bad_state("pipeline", id, state))
            }
            None => Err(Refusal::not_found("pipeline", id)),
        }
    }

    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        let found = uuid_from::<PipelineId>(&self.pipeline).and_then(|id| view.model.pipeline(id));
        let Some(pipeline) = found else {
            return Ok(Answer::First(0));
        };
        let id = view.model.last_of(sequence::CONTAINER_ID) + 1;
        let counter = SequenceRow {
            version: ROW_VERSION,
            last: id,
        };
        out.push(Change::Sequence(sequence::CONTAINER_ID.to_owned(), counter));
        out.push(Change::Container(Container {
            id: ContainerId(id),
            state: LifeCycleState::Open,
            pipeline: pipeline.id,
            replication: pipeline.replication,
            owner: self.owner.clone(),
            used_bytes: 0,
            blocks: 0,
            sequence_id: 0,
            changed_ms: self.at_ms,
        }));
        Ok(Answer::First(id))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::{World, add_pipeline, pipeline_id};
    use super::*;
    use crate::rows::uuid_bytes;

    #[test]
    fn ids_count_up_and_the_pipeline_lists_them() {
        let mut world = World::with_datanodes(1);
        let pipeline = world.open_pipeline(9, &[1]);
        assert_eq!(world.add_container(pipeline), 1);
        assert_eq!(world.add_container(pipeline), 2);
        let open: Vec<_> = world.model.open_containers(pipeline).collect();
        assert_eq!(open, [ContainerId(1), ContainerId(2)]);
    }

    #[test]
    fn only_open_pipelines_take_containers() {
        let mut world = World::with_datanodes(1);
        world.run(&add_pipeline(9, &[1])).unwrap();
        let add = |id| AddContainer {
            pipeline: uuid_bytes(pipeline_id(id)),
            owner: "om".to_owned(),
            at_ms: 1,
        };
        assert!(matches!(world.run(&add(9)), Err(Refusal::BadState { .. })));
        assert!(matches!(world.run(&add(8)), Err(Refusal::NotFound { .. })));
    }
}
