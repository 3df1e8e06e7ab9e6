//! Blocks that nothing refers to any more are queued for deletion, one transaction per container.

use ozone_common::ids::ContainerId;
use ozone_proto::hdds::LifeCycleState;

use super::{Answer, Op, Refusal, sequence};
use crate::model::{Change, QueueError, View};
use crate::rows::{DeletedBlocksRow, ROW_VERSION, SequenceRow};

/// The command. Blocks of containers that do not exist, or are deleted whole, are dropped: they
/// hold no space. Answers how many transactions were queued.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AddDeletedBlocks {
    #[prost(message, repeated, tag = "1")]
    pub(crate) containers: Vec<ContainerBlocks>,
}

/// Blocks of one container.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContainerBlocks {
    #[prost(uint64, tag = "1")]
    pub(crate) container: u64,
    #[prost(uint64, repeated, tag = "2")]
    pub(crate) local_ids: Vec<u64>,
}

impl Op for AddDeletedBlocks {
    fn name(&self) -> &'static str {
        "AddDeletedBlocks"
    }

    fn validate(&self, _: View<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        let first = view.model.last_of(sequence::DELETED_TX_ID);
        let (mut last, mut summary) = (first, view.model.deleted().clone());
        for blocks in &self.containers {
            let container = view.model.container(ContainerId(blocks.container));
            let exists = container.is_some_and(|c| c.state != LifeCycleState::Deleted);
            if !exists || blocks.local_ids.is_empty() {
                continue;
            }
            last += 1;
            summary.version = ROW_VERSION;
            summary.transactions += 1;
            summary.blocks += blocks.local_ids.len() as u64;
            let row = DeletedBlocksRow {
                version: ROW_VERSION,
                container: blocks.container,
                local_ids: blocks.local_ids.clone(),
            };
            out.push(Change::DeletedBlocks(last, row));
        }
        if last > first {
            let counter = SequenceRow {
                version: ROW_VERSION,
                last,
            };
            out.push(Change::Sequence(
                sequence::DELETED_TX_ID.to_owned(),
                counter,
            ));
            out.push(Change::DeletedBlocksSummary(summary));
        }
        Ok(Answer::Count(last - first))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::World;
    use super::*;

    #[test]
    fn one_transaction_per_container_and_none_for_unknown_ones() {
        let mut world = World::with_datanodes(1);
        let pipeline = world.open_pipeline(9, &[1]);
        let id = world.add_container(pipeline);
        let blocks = |container, local_ids: &[u64]| ContainerBlocks {
            container,
            local_ids: local_ids.to_vec(),
        };
        let op = AddDeletedBlocks {
            containers: vec![blocks(id, &[5, 6]), blocks(404, &[1]), blocks(id, &[])],
        };
        assert_eq!(world.run(&op), Ok(Answer::Count(1)));
        assert_eq!(world.run(&op), Ok(Answer::Count(1)));
        let queue = world.queue();
        assert_eq!(queue.keys().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(queue[&1].local_ids, [5, 6]);
        assert_eq!(world.model.deleted().blocks, 4);
    }
}
