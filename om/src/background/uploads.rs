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

use crate::error::Result;
use crate::rows::{Rows, decode};
use crate::runner::{Runner, own_request};
use crate::tables;

/// Rows that are looked at, at a time; of those that are old each goes with a command of its own, as it may have
/// thousands of parts.
const PAGE: usize = 1000;

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

impl Uploads {
    /// Gives up what is old among the uploads after `after`; the last one looked at, if there are more.
    async fn page(&self, after: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let leader = &self.runner.leader;
        let age = i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX);
        let now = i64::try_from(leader.clock.wall_ms()).unwrap_or(i64::MAX);
        let oldest = now.saturating_sub(age);
        let look = move |rows: &crate::store::Store| {
            let start = (!after.is_empty()).then_some(after.as_slice());
            let page = rows.scan(tables::MULTIPART_INFO, &[], start, PAGE)?;
            let last = page.last().filter(|_| page.len() == PAGE);
            let last = last.map(|(key, _)| key.clone());
            let mut old = Vec::new();
            for (key, value) in page {
                let row: MultipartRow = decode(tables::MULTIPART_INFO, &value)?;
                if row.created_ms <= oldest {
                    old.push(key);
                }
            }
            Ok((old, last))
        };
        let (old, last) = leader.read(look).await?;
        for upload in old {
            tracing::info!("an abandoned multipart upload is given up");
            let request = PurgeRequest {
                uploads: vec![upload.into()],
                ..Default::default()
            };
            let request = own_request(Type::Purge, Body::Purge(request));
            leader.propose(request).await?;
        }
        Ok(last)
    }
}
