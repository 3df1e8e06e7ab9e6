//! The worker that carries transactions to the datanodes and off the record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::ids::{ContainerId, DatanodeId};
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_kv::blocking;
use ozone_proto::hdds::LifeCycleState;
use ozone_proto::scm::{DeleteBlocks, DeletedBlocksTransaction, command::Body};
use tokio_util::sync::CancellationToken;

use super::progress::{Holders, Step};
use crate::container::id_to_wire;
use crate::error::ScmError;
use crate::node::{CommandKey, NodeCommand};
use crate::ops::{Command, RemoveDeletedBlocks};
use crate::rows::DeletedBlocksRow;
use crate::scm::Scm;

/// Name of the worker.
pub(crate) const NAME: &str = "scm-block-deletion";
/// Transactions read at a time.
const PAGE: usize = 1000;
/// Commands that may wait for a datanode before it is sent no more blocks to delete.
const QUEUE_LIMIT: usize = 20;

/// Goes through the transactions on record.
pub(crate) struct BlockDeletion {
    scm: Arc<Scm>,
    /// The last transaction looked at in this sweep.
    cursor: u64,
    /// When the next sweep over all of them begins; until then only new ones are looked at.
    next_sweep: Duration,
    /// Numbers commands, so that each has a purpose of its own.
    batch: u64,
}

/// What one round found.
#[derive(Default)]
struct Round {
    done: BTreeSet<u64>,
    tell: BTreeMap<DatanodeId, Vec<DeletedBlocksTransaction>>,
}

#[async_trait]
impl Worker for BlockDeletion {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    async fn work(&mut self, _: &CancellationToken) -> Result<Next, WorkError> {
        if self.scm.log.serving_term().is_none() || self.scm.safemode.is_on() {
            self.cursor = 0;
            return Ok(Next::WhenWoken);
        }
        match self.round().await {
            Ok(next) => Ok(next),
            Err(ScmError::NotLeader { .. } | ScmError::ShuttingDown) => Ok(Next::WhenWoken),
            Err(error) => Err(error.into()),
        }
    }
}

impl BlockDeletion {
    pub(crate) fn new(scm: Arc<Scm>) -> Self {
        Self {
            scm,
            cursor: 0,
            next_sweep: Duration::ZERO,
            batch: 0,
        }
    }

    async fn round(&mut self) -> Result<Next, ScmError> {
        let now = self.scm.clock.monotonic();
        if self.scm.deletions.progress.lock().take_restart() || now >= self.next_sweep {
            self.cursor = 0;
            self.next_sweep = now + self.scm.settings.deletion_interval;
        }
        let page = self.read_page().await?;
        let is_last = page.len() < PAGE;
        let mut round = Round::default();
        self.look_at_news(&mut round, now);
        for (id, row) in page {
            self.cursor = id;
            self.look_at(id, &row, &mut round, now);
        }
        self.tell(round.tell, now);
        self.remove(round.done).await?;
        Ok(match is_last {
            true => Next::After(self.next_sweep.saturating_sub(now)),
            false => Next::Now,
        })
    }

    async fn read_page(&self) -> Result<Vec<(u64, DeletedBlocksRow)>, ScmError> {
        let (store, after) = (self.scm.store.clone(), self.cursor);
        let read = blocking(move || store.deleted_blocks(after, PAGE)).await;
        Ok(read.map_err(|_| ScmError::ShuttingDown)??)
    }

    /// Those that somebody acknowledged may be done.
    fn look_at_news(&self, round: &mut Round, now: Duration) {
        let mut progress = self.scm.deletions.progress.lock();
        for (id, container) in progress.take_news() {
            let done = match self.holders(container) {
                Some(holders) => progress.step(id, &holders, now) == Step::Done,
                None => true,
            };
            if done {
                round.done.insert(id);
            }
        }
    }

    fn look_at(&self, id: u64, row: &DeletedBlocksRow, round: &mut Round, now: Duration) {
        let container = ContainerId(row.container);
        let Some(holders) = self.holders(container) else {
            round.done.insert(id);
            return;
        };
        let mut progress = self.scm.deletions.progress.lock();
        match progress.step(id, &holders, now) {
            Step::Wait => {}
            Step::Done => {
                round.done.insert(id);
            }
            Step::Send(nodes) => {
                for node in nodes
                    .into_iter()
                    .filter(|n| self.scm.nodes.queued(*n) < QUEUE_LIMIT)
                {
                    progress.sent(id, container, node, now);
                    let transaction = DeletedBlocksTransaction {
                        tx_id: i64::try_from(id).unwrap_or(i64::MAX),
                        container_id: id_to_wire(container),
                        local_ids: row
                            .local_ids
                            .iter()
                            .map(|local| local.cast_signed())
                            .collect(),
                    };
                    round.tell.entry(node).or_default().push(transaction);
                }
            }
        }
    }

    /// Who has to delete blocks of a container; none if nobody has to, because it is gone.
    fn holders(&self, id: ContainerId) -> Option<Holders> {
        let container = self.scm.store.model().container(id).cloned()?;
        if container.state == LifeCycleState::Deleted {
            return None;
        }
        let replicas = self.scm.replicas.of(id);
        Some(Holders {
            nodes: replicas.iter().map(|replica| replica.node).collect(),
            needed: container.replication.replicas(),
        })
    }

    fn tell(&mut self, tell: BTreeMap<DatanodeId, Vec<DeletedBlocksTransaction>>, now: Duration) {
        for (node, transactions) in tell {
            self.batch += 1;
            let command = NodeCommand {
                key: CommandKey::DeleteBlocks(self.batch),
                body: Body::DeleteBlocks(DeleteBlocks { transactions }),
                patience: Duration::ZERO,
            };
            self.scm.nodes.tell(node, command, now);
        }
    }

    async fn remove(&self, done: BTreeSet<u64>) -> Result<(), ScmError> {
        if done.is_empty() {
            return Ok(());
        }
        let transactions = done.iter().copied().collect();
        let remove = Command::RemoveDeletedBlocks(RemoveDeletedBlocks { transactions });
        self.scm.log.propose(remove).await?;
        let mut progress = self.scm.deletions.progress.lock();
        done.into_iter().for_each(|id| progress.forget(id));
        Ok(())
    }
}
