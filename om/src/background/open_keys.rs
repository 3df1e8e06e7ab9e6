//! Keys that were opened for writing and never committed: whoever wrote them is gone. Their blocks went
//! with the session; what is left is a row, which is removed when it is old.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::namespace::{OpenKeyRow, PurgeRequest};
use ozone_proto::om::Type;
use ozone_proto::om::om_request::Body;
use tokio_util::sync::CancellationToken;

use super::old::OldRows;
use crate::error::Result;
use crate::runner::{Runner, own_request};
use crate::tables;

/// Removes old open keys.
pub struct OpenKeys {
    /// Answers requests.
    pub runner: Arc<Runner>,
    /// Pause between looks.
    pub interval: Duration,
    /// Age at which a key counts as abandoned.
    pub age: Duration,
}

#[async_trait]
impl Worker for OpenKeys {
    fn name(&self) -> String {
        "open-keys".to_owned()
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        let leader = &self.runner.leader;
        let opened = |row: &OpenKeyRow| row.opened_ms;
        let mut old = OldRows::new(leader, tables::OPEN_KEY, self.age, opened);
        while let Some(keys) = old.next(gate).await? {
            tracing::info!(keys = keys.len(), "abandoned open keys are removed");
            let request = PurgeRequest {
                open_keys: keys.into_iter().map(Into::into).collect(),
                ..Default::default()
            };
            let request = own_request(Type::Purge, Body::Purge(request));
            leader.propose(request).await?;
        }
        Ok(Next::After(self.interval))
    }
}
