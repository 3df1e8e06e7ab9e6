//! Transactions whose blocks are gone from every replica leave the queue.

use std::collections::BTreeSet;

use super::{Answer, Op, Refusal};
use crate::model::{Change, QueueError, View};
use crate::rows::ROW_VERSION;

/// The command. Answers how many were there.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RemoveDeletedBlocks {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) transactions: Vec<u64>,
}

impl Op for RemoveDeletedBlocks {
    fn name(&self) -> &'static str {
        "RemoveDeletedBlocks"
    }

    fn validate(&self, _: View<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        let mut summary = view.model.deleted().clone();
        let mut removed = 0;
        for id in self.transactions.iter().copied().collect::<BTreeSet<_>>() {
            let Some(row) = view.queue.transaction(id)? else {
                continue;
            };
            removed += 1;
            summary.version = ROW_VERSION;
            summary.transactions = summary.transactions.saturating_sub(1);
            summary.blocks = summary.blocks.saturating_sub(row.local_ids.len() as u64);
            out.push(Change::DeletedBlocksGone(id));
        }
        if removed > 0 {
            out.push(Change::DeletedBlocksSummary(summary));
        }
        Ok(Answer::Count(removed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::World;
    use super::super::{AddDeletedBlocks, ContainerBlocks};
    use super::*;

    #[test]
    fn removing_twice_counts_once() {
        let mut world = World::with_datanodes(1);
        let pipeline = world.open_pipeline(9, &[1]);
        let container = world.add_container(pipeline);
        let add = AddDeletedBlocks {
            containers: vec![ContainerBlocks {
                container,
                local_ids: vec![1, 2, 3],
            }],
        };
        world.run(&add).unwrap();
        world.run(&add).unwrap();
        let remove = RemoveDeletedBlocks {
            transactions: vec![1, 1, 99],
        };
        assert_eq!(world.run(&remove), Ok(Answer::Count(1)));
        assert_eq!(world.run(&remove), Ok(Answer::Count(0)));
        assert_eq!(world.model.deleted().transactions, 1);
        assert_eq!(world.model.deleted().blocks, 3);
        assert_eq!(world.queue().len(), 1);
    }
}
