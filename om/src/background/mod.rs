//! What the leader does on its own: gives up silent sessions, takes apart what was deleted, hands
//! freed blocks to SCM, folds inline bytes into blocks. All of it is bounded pieces of work, put into the log like any request.

mod fold;
mod old;
mod open_keys;
mod snapshots;
mod trash;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::namespace::{DeletedRow, FreedBlockRow, InodeRow, Keep, PurgeRequest};
use ozone_proto::om::Type;
use ozone_proto::om::om_request::Body;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::rows::{Rows, decode};
use crate::runner::{Runner, own_request};
use crate::tables::{self, Table};

pub use fold::Fold;
pub use open_keys::OpenKeys;
pub use snapshots::ReclaimSnapshots;
pub use trash::EmptyTrash;
pub use uploads::Uploads;

/// Deleted files or directories taken up by one command.
const KEYS: usize = 200;
/// Rows touched by one command at most.
const ROWS: u32 = 2000;
/// Blocks handed to SCM at a time.
const BLOCKS: usize = 1000;
/// Between looks for silent sessions.
const SESSION_ROUND: Duration = Duration::from_secs(1);

/// Gives up silent sessions.
pub struct SessionWatch(pub Arc<Runner>);

#[async_trait]
impl Worker for SessionWatch {
    fn name(&self) -> String {
        "session-watch".to_owned()
    }

    async fn work(&mut self, _gate: &CancellationToken) -> Result<Next, WorkError> {
        if self.0.leader.group.is_leader() {
            self.0.expire_sessions().await?;
        }
        Ok(Next::After(SESSION_ROUND))
    }
}

/// Reclaims what was deleted.
pub struct Reclaim {
    /// Answers requests.
    pub runner: Arc<Runner>,
    /// Pause when there is nothing to do.
    pub interval: Duration,
    /// How long a freed block is kept for readers that may still hold its location.
    pub grace: Duration,
}

#[async_trait]
impl Worker for Reclaim {
    fn name(&self) -> String {
        "reclaim".to_owned()
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        while self.runner.leader.group.is_leader() && !gate.is_cancelled() {
            let purged = self.purge().await?;
            let sent = self.send_blocks().await?;
            if !purged && !sent {
                break;
            }
        }
        Ok(Next::After(self.interval))
    }
}

impl Reclaim {
    /// Takes a page of deleted directories and files apart; false when there are none.
    async fn purge(&self) -> Result<bool> {
        let deleted_dirs = self.keys(tables::DELETED_DIRECTORY).await?;
        let deleted_rows = self.keys(tables::DELETED).await?;
        if deleted_dirs.is_empty() && deleted_rows.is_empty() {
            return Ok(false);
        }
        let keeps = self.open_files(deleted_dirs.clone()).await?;
        let request = PurgeRequest {
            deleted_rows: deleted_rows.into_iter().map(Into::into).collect(),
            deleted_dirs: deleted_dirs.into_iter().map(Into::into).collect(),
            limit: ROWS,
            keeps,
            ..Default::default()
        };
        self.runner
            .leader
            .propose(own_request(Type::Purge, Body::Purge(request)))
            .await?;
        Ok(true)
    }

    /// The files in deleted directories that somebody has open.
    async fn open_files(&self, deleted_dirs: Vec<Vec<u8>>) -> Result<Vec<Keep>> {
        let files = self.runner.leader.read(move |rows| {
            let mut files = Vec::new();
            for key in deleted_dirs {
                let Some(deleted) = rows.get::<DeletedRow>(tables::DELETED_DIRECTORY, &key)? else {
                    continue;
                };
                let id = deleted.inode.map_or(0, |inode| inode.object_id);
                let prefix = tables::children_prefix(deleted.volume_id, deleted.bucket_id, id);
                for (_, value) in rows.scan(tables::FILE, &prefix, None, ROWS as usize)? {
                    let row: InodeRow = decode(tables::FILE, &value)?;
                    files.push(row.object_id);
                }
            }
            Ok(files)
        });
        let opens = &self.runner.leader.opens;
        let keep = |object_id| Keep {
            object_id,
            sessions: opens.holders(object_id),
        };
        let keeps = files.await?.into_iter().map(keep);
        Ok(keeps.filter(|keep| !keep.sessions.is_empty()).collect())
    }

    async fn keys(&self, table: Table) -> Result<Vec<Vec<u8>>> {
        let look = move |rows: &crate::store::Store| {
            Ok(rows
                .scan(table, &[], None, KEYS)?
                .into_iter()
                .map(|(key, _)| key)
                .collect())
        };
        self.runner.leader.read(look).await
    }

    /// Hands a page of blocks whose grace is over to SCM; false when there are none.
    async fn send_blocks(&self) -> Result<bool> {
        let grace = i64::try_from(self.grace.as_millis()).unwrap_or(i64::MAX);
        let ripe = i64::try_from(self.runner.leader.clock.wall_ms())
            .unwrap_or(i64::MAX)
            .saturating_sub(grace);
        let blocks: Vec<[u64; 2]> = self
            .runner
            .leader
            .read(move |rows| {
                let mut found = Vec::new();
                for (key, value) in rows.scan(tables::FREED_BLOCK, &[], None, BLOCKS)? {
                    let row: FreedBlockRow = decode(tables::FREED_BLOCK, &value)?;
                    if row.freed_ms <= ripe {
                        found.extend(tables::parse_number_key::<2>(&key));
                    }
                }
                Ok(found)
            })
            .await?;
        if blocks.is_empty() {
            return Ok(false);
        }
        self.runner.leader.blocks.delete(&blocks).await?;
        let sent_blocks = blocks
            .iter()
            .map(|b| tables::number_key(b).into())
            .collect();
        let request = PurgeRequest {
            sent_blocks,
            limit: ROWS,
            ..Default::default()
        };
        self.runner
            .leader
            .propose(own_request(Type::Purge, Body::Purge(request)))
            .await?;
        Ok(true)
    }
}
