//! A container moves on in its life.

use ozone_common::ids::ContainerId;
use ozone_proto::hdds::LifeCycleState;

use super::{Answer, Op, Refusal};
use crate::container::Container;
use crate::container::lifecycle::{Step, step};
use crate::model::{Change, QueueError, View};

/// The command. Sizes and counts never go down: a late report must not undo a fresh one.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MoveContainer {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(int32, tag = "2")]
    pub(crate) to: i32,
    #[prost(uint64, tag = "3")]
    pub(crate) used_bytes: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) blocks: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) sequence_id: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) at_ms: u64,
}

impl MoveContainer {
    fn target(&self) -> Result<LifeCycleState, Refusal> {
        LifeCycleState::try_from(self.to).map_err(|_| Refusal::Malformed("container state"))
    }
}

impl Op for MoveContainer {
    fn name(&self) -> &'static str {
        "MoveContainer"
    }

    fn validate(&self, view: View<'_>) -> Result<(), Refusal> {
        let to = self.target()?;
        let found = view.model.container(ContainerId(self.id));
        let container = found.ok_or_else(|| Refusal::not_found("container", self.id))?;
        match step(container.state, to) {
            Step::Refused => {
                let state = container.state.as_str_name();
                Err(Refusal::bad_state("container", self.id, state))
            }
            Step::Move | Step::Nothing => Ok(()),
        }
    }

    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        let found = view.model.container(ContainerId(self.id));
        let (Some(container), Ok(state)) = (found, self.target()) else {
            return Ok(Answer::Done);
        };
        if step(container.state, state) == Step::Move {
            out.push(Change::Container(Container {
                state,
                used_bytes: container.used_bytes.max(self.used_bytes),
                blocks: container.blocks.max(self.blocks),
                sequence_id: container.sequence_id.max(self.sequence_id),
                changed_ms: self.at_ms,
                ..container.as_ref().clone()
            }));
        }
        Ok(Answer::Done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::World;
    use super::*;

    fn to(id: u64, state: LifeCycleState) -> MoveContainer {
        MoveContainer {
            id,
            to: state as i32,
            used_bytes: 10,
            blocks: 2,
            sequence_id: 7,
            at_ms: 3,
        }
    }

    #[test]
    fn closing_and_closed_keep_what_was_reported() {
        let mut world = World::with_datanodes(1);
        let pipeline = world.open_pipeline(9, &[1]);
        let id = world.add_container(pipeline);
        world.run(&to(id, LifeCycleState::Closing)).unwrap();
        world.run(&to(id, LifeCycleState::Closed)).unwrap();
        let late = MoveContainer {
            used_bytes: 1,
            ..to(id, LifeCycleState::Closing)
        };
        world.run(&late).unwrap();
        let container = world.model.container(ContainerId(id)).unwrap();
        assert_eq!(container.state, LifeCycleState::Closed);
        assert_eq!((container.used_bytes, container.sequence_id), (10, 7));
        assert_eq!(world.model.unsettled().count(), 0);
    }

    #[test]
    fn jumps_and_unknown_containers_are_refused() {
        let mut world = World::with_datanodes(1);
        let pipeline = world.open_pipeline(9, &[1]);
        let id = world.add_container(pipeline);
        let jump = world.run(&to(id, LifeCycleState::Closed));
        assert!(matches!(jump, Err(Refusal::BadState { .. })));
        let unknown = world.run(&to(77, LifeCycleState::Closing));
        assert!(matches!(unknown, Err(Refusal::NotFound { .. })));
    }
}
