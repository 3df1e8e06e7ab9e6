//! Gives up what only deleted snapshots still see.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::namespace::ReclaimSnapshotRequest;
use ozone_proto::om::Type;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use tokio_util::sync::CancellationToken;

use super::ROWS;
use crate::error::Result;
use crate::rows::Rows;
use crate::runner::{Runner, own_request};
use crate::tables;

/// Deleted snapshots looked at in a round.
const SNAPSHOTS: usize = 100;

/// Reclaims deleted snapshots.
pub struct ReclaimSnapshots {
    /// Answers requests.
    pub runner: Arc<Runner>,
    /// Pause between rounds.
    pub interval: Duration,
}

#[async_trait]
impl Worker for ReclaimSnapshots {
    fn name(&self) -> String {
        "reclaim-snapshots".to_owned()
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        if self.runner.leader.group.is_leader() {
            for [bucket_id, index] in self.deleted().await? {
                while !gate.is_cancelled() && !self.reclaim(bucket_id, index).await? {}
            }
        }
        Ok(Next::After(self.interval))
    }
}

impl ReclaimSnapshots {
    async fn deleted(&self) -> Result<Vec<[u64; 2]>> {
        let found = self
            .runner
            .leader
            .read(|rows| rows.scan(tables::SNAPSHOT_DELETED, &[], None, SNAPSHOTS));
        let keys = found.await?.into_iter().map(|(key, _)| key);
        Ok(keys
            .filter_map(|key| tables::parse_number_key::<2>(&key))
            .collect())
    }

    /// One piece; true when nothing is left of the snapshot.
    async fn reclaim(&self, bucket_id: u64, index: u64) -> Result<bool> {
        let request = ReclaimSnapshotRequest {
            bucket_id,
            index,
            limit: ROWS,
        };
        let request = own_request(Type::ReclaimSnapshot, Body::ReclaimSnapshot(request));
        let answer = self.runner.leader.propose(request).await?;
        Ok(!matches!(answer.body, Some(Reply::ReclaimSnapshot(r)) if !r.done))
    }
}
