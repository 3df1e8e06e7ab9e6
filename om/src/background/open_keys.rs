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

use crate::error::Result;
use crate::rows::{Rows, decode};
use crate::runner::{Runner, own_request};
use crate::tables;

/// Rows that are looked at, at a time.
const PAGE: usize = 1000;

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
        let mut after = Vec::new();
        while self.runner.leader.group.is_leader() && !gate.is_cancelled() {
            match self.page(after).await? {
                Some(last) => after = last,
                None => break,
            }
        }
        Ok(Next::After(self.interval))
    }
}

impl OpenKeys {
    /// Removes what is old among the keys after `after`; the last one looked at, if there are more.
    async fn page(&self, after: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let leader = &self.runner.leader;
        let age = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        let oldest = leader.clock.wall_ms().saturating_sub(age);
        let (old, last) = leader
            .read(move |rows| {
                let start = (!after.is_empty()).then_some(after.as_slice());
                let page = rows.scan(tables::OPEN_KEY, &[], start, PAGE)?;
                let last = (page.len() == PAGE).then(|| page.last().map(|(key, _)| key.clone()));
                let mut old = Vec::new();
                for (key, value) in page {
                    let row: OpenKeyRow = decode(tables::OPEN_KEY, &value)?;
                    if row.opened_ms.max(0).cast_unsigned() <= oldest {
                        old.push(key.into());
                    }
                }
                Ok((old, last.flatten()))
            })
            .await?;
        if !old.is_empty() {
            tracing::info!(keys = old.len(), "abandoned open keys are removed");
            let request = PurgeRequest {
                open_keys: old,
                ..Default::default()
            };
            leader
                .propose(own_request(Type::Purge, Body::Purge(request)))
                .await?;
        }
        Ok(last)
    }
}
