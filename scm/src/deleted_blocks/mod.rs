//! Deleting the blocks that nothing refers to any more.
//!
//! OM names them; a transaction per container is put on record through the log; the worker sends
//! it to every datanode that holds a replica, again and again, until each has acknowledged it.
//! Only what is on record counts: what was sent and acknowledged is soft state of the leader, and
//! datanodes do not mind to be told twice.

pub(crate) mod progress;
mod worker;

use std::collections::BTreeMap;

use ozone_common::ids::DatanodeId;
use ozone_proto::hdds::BlockId;
use parking_lot::Mutex;

pub(crate) use worker::{BlockDeletion, NAME};

use crate::container::id_from_wire;
use crate::error::ScmError;
use crate::ops::{AddDeletedBlocks, Command, ContainerBlocks};
use crate::scm::Scm;
use progress::Progress;

/// Most blocks of one log entry.
const BLOCKS_PER_ENTRY: usize = 100_000;
/// Most blocks of one transaction: what a datanode deletes in one go.
const BLOCKS_PER_TRANSACTION: usize = 5_000;

/// What was sent and acknowledged so far.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    progress: Mutex<Progress>,
}

impl Deletions {
    /// A datanode has deleted the blocks of these transactions.
    pub(crate) fn acknowledge(&self, node: DatanodeId, transactions: impl Iterator<Item = u64>) {
        let mut progress = self.progress.lock();
        for id in transactions {
            progress.acknowledge(id, node);
        }
    }

    /// A datanode started anew, and may not know what it was told.
    pub(crate) fn forget_sent(&self, node: DatanodeId) {
        self.progress.lock().forget_sent(node);
    }

    /// Another SCM led in the meantime: everything starts anew.
    pub(crate) fn reset(&self) {
        let mut progress = self.progress.lock();
        *progress = Progress::default();
        progress.start_over();
    }
}

impl Scm {
    /// Puts blocks on record for deletion. They are deleted even if the leader dies at once.
    pub(crate) async fn delete_blocks<'a>(
        &self,
        blocks: impl Iterator<Item = &'a BlockId>,
    ) -> Result<(), ScmError> {
        self.log.require_leader()?;
        let mut entry = AddDeletedBlocks::default();
        let mut size = 0;
        for transaction in group(blocks) {
            size += transaction.local_ids.len();
            entry.containers.push(transaction);
            if size >= BLOCKS_PER_ENTRY {
                self.log
                    .propose(Command::AddDeletedBlocks(std::mem::take(&mut entry)))
                    .await?;
                size = 0;
            }
        }
        if size > 0 {
            self.log.propose(Command::AddDeletedBlocks(entry)).await?;
        }
        self.workers.wake(NAME);
        Ok(())
    }
}

/// Transactions of bounded size, one or more for each container.
fn group<'a>(blocks: impl Iterator<Item = &'a BlockId>) -> Vec<ContainerBlocks> {
    let mut by_container: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for block in blocks.map(|block| &block.container_block_id) {
        let local = u64::try_from(block.local_id).ok();
        if let (Some(container), Some(local)) = (id_from_wire(block.container_id), local) {
            by_container.entry(container.get()).or_default().push(local);
        }
    }
    let mut transactions = Vec::new();
    for (container, mut local_ids) in by_container {
        local_ids.sort_unstable();
        local_ids.dedup();
        transactions.extend(
            local_ids
                .chunks(BLOCKS_PER_TRANSACTION)
                .map(|some| ContainerBlocks {
                    container,
                    local_ids: some.to_vec(),
                }),
        );
    }
    transactions
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_proto::hdds::ContainerBlockId;

    use super::*;

    fn block(container_id: i64, local_id: i64) -> BlockId {
        BlockId {
            container_block_id: ContainerBlockId {
                container_id,
                local_id,
            },
            block_commit_sequence_id: None,
        }
    }

    #[test]
    fn blocks_are_grouped_by_container_without_doubles_and_nonsense() {
        let blocks = [
            block(2, 9),
            block(1, 5),
            block(2, 8),
            block(2, 9),
            block(-1, 3),
            block(3, -7),
        ];
        let grouped = group(blocks.iter());
        let plain: Vec<_> = grouped
            .iter()
            .map(|t| (t.container, t.local_ids.clone()))
            .collect();
        assert_eq!(plain, [(1, vec![5]), (2, vec![8, 9])]);
    }

    #[test]
    fn large_containers_make_several_transactions() {
        let count = i64::try_from(BLOCKS_PER_TRANSACTION).unwrap() + 1;
        let blocks: Vec<_> = (1..=count).map(|local| block(1, local)).collect();
        let grouped = group(blocks.iter());
        assert_eq!(grouped.len(), 2);
        assert_eq!(grouped[1].local_ids, [u64::try_from(count).unwrap()]);
    }
}
