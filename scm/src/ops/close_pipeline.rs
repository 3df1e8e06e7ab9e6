//! A pipeline takes no more blocks, and its open containers start to close.

use std::sync::Arc;

use ozone_common::ids::PipelineId;
use ozone_proto::hdds::{LifeCycleState, PipelineState};

use super::{Answer, Op, Refusal};
use crate::container::Container;
use crate::model::{Change, QueueError, View};
use crate::pipeline::Pipeline;
use crate::rows::uuid_from;

/// The command.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ClosePipeline {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) at_ms: u64,
}

impl ClosePipeline {
    fn find<'a>(&self, view: View<'a>) -> Result<&'a Arc<Pipeline>, Refusal> {
        let id: PipelineId = uuid_from(&self.id).ok_or(Refusal::Malformed("pipeline id"))?;
        let found = view.model.pipeline(id);
        found.ok_or_else(|| Refusal::not_found("pipeline", id))
    }
}

impl Op for ClosePipeline {
    fn name(&self) -> &'static str {
        "ClosePipeline"
    }

    fn validate(&self, view: View<'_>) -> Result<(), Refusal> {
        self.find(view).map(|_| ())
    }

    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        let Some(pipeline) = self.find(view).ok().filter(|p| p.is_alive()) else {
            return Ok(Answer::Done);
        };
        out.push(Change::Pipeline(Pipeline {
            state: PipelineState::PipelineClosed,
            changed_ms: self.at_ms,
            ..pipeline.as_ref().clone()
        }));
        let open = view.model.open_containers(pipeline.id);
        let open = open.filter_map(|id| view.model.container(id));
        out.extend(open.map(|container| {
            Change::Container(Container {
                state: LifeCycleState::Closing,
                changed_ms: self.at_ms,
                ..container.as_ref().clone()
            })
        }));
        Ok(Answer::Done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::ids::ContainerId;

    use super::super::testing::World;
    use super::*;
    use crate::pipeline::Replication;
    use crate::rows::uuid_bytes;

    #[test]
    fn closing_a_pipeline_closes_its_open_containers() {
        let mut world = World::with_datanodes(1);
        let id = world.open_pipeline(9, &[1]);
        let containers = [world.add_container(id), world.add_container(id)];
        let close = ClosePipeline {
            id: uuid_bytes(id),
            at_ms: 5,
        };
        world.run(&close).unwrap();
        world.run(&close).unwrap();
        assert!(world.model.open_pipelines(Replication::One).is_empty());
        assert_eq!(world.model.open_containers(id).count(), 0);
        for container in containers {
            let container = world.model.container(ContainerId(container)).unwrap();
            assert_eq!(container.state, LifeCycleState::Closing);
            assert_eq!(container.changed_ms, 5);
        }
        assert_eq!(world.model.unsettled().count(), 2);
    }
}
