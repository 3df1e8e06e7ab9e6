//! The members of a planned pipeline have made it: it takes blocks from now on.

use ozone_common::ids::PipelineId;
use ozone_proto::hdds::PipelineState;

use super::{Answer, Op, Refusal};
use crate::model::{Change, QueueError, View};
use crate::pipeline::Pipeline;
use crate::rows::uuid_from;

/// The command.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OpenPipeline {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
}

impl Op for OpenPipeline {
    fn name(&self) -> &'static str {
        "OpenPipeline"
    }

    fn validate(&self, view: View<'_>) -> Result<(), Refusal> {
        let id = uuid_from(&self.id).ok_or(Refusal::Malformed("pipeline id"))?;
        let found = view.model.pipeline(id);
        let pipeline = found.ok_or_else(|| Refusal::not_found("pipeline", id))?;
        match pipeline.is_alive() {
            true => Ok(()),
            false => Err(Refusal::bad_state("pipeline", id, "closed")),
        }
    }

    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        let found = uuid_from::<PipelineId>(&self.id).and_then(|id| view.model.pipeline(id));
        if let Some(pipeline) = found.filter(|pipeline| !pipeline.is_open()) {
            out.push(Change::Pipeline(Pipeline {
                state: PipelineState::PipelineOpen,
                ..pipeline.as_ref().clone()
            }));
        }
        Ok(Answer::Done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::World;
    use super::super::{ClosePipeline, OpenPipeline};
    use super::*;
    use crate::pipeline::Replication;
    use crate::rows::uuid_bytes;

    #[test]
    fn an_opened_pipeline_can_be_chosen_and_a_closed_one_stays_closed() {
        let mut world = World::with_datanodes(1);
        let id = world.open_pipeline(9, &[1]);
        assert_eq!(world.model.open_pipelines(Replication::One), [id]);
        let open = OpenPipeline { id: uuid_bytes(id) };
        world.run(&open).unwrap();
        let close = ClosePipeline {
            id: uuid_bytes(id),
            at_ms: 2,
        };
        world.run(&close).unwrap();
        assert!(matches!(world.run(&open), Err(Refusal::BadState { .. })));
    }
}
