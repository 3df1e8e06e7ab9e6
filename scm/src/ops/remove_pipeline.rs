//! A closed pipeline that no member has any more is forgotten.

use ozone_common::ids::PipelineId;

use super::{Answer, Op, Refusal};
use crate::model::{Change, QueueError, View};
use crate::rows::uuid_from;

/// The command.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RemovePipeline {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
}

impl Op for RemovePipeline {
    fn name(&self) -> &'static str {
        "RemovePipeline"
    }

    fn validate(&self, view: View<'_>) -> Result<(), Refusal> {
        let id: PipelineId = uuid_from(&self.id).ok_or(Refusal::Malformed("pipeline id"))?;
        match view.model.pipeline(id) {
            Some(pipeline) if pipeline.is_alive() => {
                Err(Refusal::bad_state("pipeline", id, "not closed"))
            }
            _ => Ok(()),
        }
    }

    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        let id = uuid_from::<PipelineId>(&self.id);
        let there = id.filter(|id| view.model.pipeline(*id).is_some());
        out.extend(there.map(Change::PipelineGone));
        Ok(Answer::Done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::ClosePipeline;
    use super::super::testing::World;
    use super::*;
    use crate::rows::uuid_bytes;

    #[test]
    fn only_a_closed_pipeline_is_forgotten() {
        let mut world = World::with_datanodes(1);
        let id = world.open_pipeline(9, &[1]);
        let remove = RemovePipeline { id: uuid_bytes(id) };
        assert!(matches!(world.run(&remove), Err(Refusal::BadState { .. })));
        world
            .run(&ClosePipeline {
                id: uuid_bytes(id),
                at_ms: 2,
            })
            .unwrap();
        world.run(&remove).unwrap();
        assert!(world.model.pipeline(id).is_none());
        world.run(&remove).unwrap();
    }
}
