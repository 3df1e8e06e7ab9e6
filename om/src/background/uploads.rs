//! Multipart uploads that nobody has completed: their parts take room for as long as they are kept, which is not
//! for ever.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::namespace::{MultipartRow, PurgeRequest};
use ozone_proto::om::Type;
use ozone_proto::om::om_request::Body;
use tokio_util::sync::CancellationToken;

use super::old::OldRows;
use crate::error::Result;
use crate::runner::{Runner, own_request};
use crate::tables;

/// Gives up old uploads.
pub struct Uploads {
    /// Answers requests.
    pub runner: Arc<Runner>,
    /// Pause between looks.
    pub interval: Duration,
    /// Age at which an upload counts as abandoned.
    pub age: Duration,
}

#[async_trait]
impl Worker for Uploads {
    fn name(&self) -> String {
        "multipart-uploads".to_owned()
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        let leader = &self.runner.leader;
        let made = |row: &MultipartRow| row.created_ms;
        let mut old = OldRows::new(leader, tables::MULTIPART_INFO, self.age, made);
        while let Some(uploads) = old.next(gate).await? {
            for upload in uploads {
                tracing::info!("an abandoned multipart upload is given up");
                // It may have thousands of parts: each goes with a command of its own.
                let request = PurgeRequest {
                    uploads: vec![upload.into()],
                    ..Default::default()
                };
                let request = own_request(Type::Purge, Body::Purge(request));
                leader.propose(request).await?;
            }
        }
        Ok(Next::After(self.interval))
    }
}
