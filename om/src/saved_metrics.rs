//! `omMetrics`, beside the database: what the OM holds, as JSON, for whoever looks while it does not run.
//! Nothing is read from it here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::disk::{Disk, replace_file};
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::namespace::BucketRow;
use tokio_util::sync::CancellationToken;

use crate::error::{OmError, Result};
use crate::rows::{Rows, decode};
use crate::server::blocking;
use crate::state_machine::OmState;
use crate::tables;

/// Name of the file.
pub const NAME: &str = "omMetrics";
/// Buckets read at a time.
const PAGE: usize = 1024;

/// Writes the file.
#[derive(Clone)]
pub struct SavedMetrics {
    state: Arc<OmState>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    interval: Duration,
}

impl SavedMetrics {
    /// Of the OM with its database in `dir`.
    pub fn new(
        state: Arc<OmState>,
        (disk, dir): (Arc<dyn Disk>, &Path),
        interval: Duration,
    ) -> Self {
        Self {
            state,
            disk,
            path: dir.join(NAME),
            interval,
        }
    }

    /// Writes it as of now.
    pub async fn save(&self) -> Result<()> {
        let this = self.clone();
        blocking(move || {
            let keys = count_keys(&*this.state.store()?)?;
            let text = serde_json::json!({ "numKeys": keys }).to_string();
            let written = replace_file(&*this.disk, &this.path, text.as_bytes());
            written.map_err(|e| OmError::Storage(format!("{}: {e}", this.path.display())))
        })
        .await
    }
}

/// Names in all buckets: as in Ozone, directories count as keys.
pub fn count_keys(rows: &impl Rows) -> Result<u64> {
    let (mut keys, mut after) = (0u64, None);
    loop {
        let page = rows.scan(tables::BUCKET, &[], after.as_deref(), PAGE)?;
        for (_, value) in &page {
            let bucket: BucketRow = decode(tables::BUCKET, value)?;
            keys = keys.saturating_add(bucket.used_namespace);
        }
        match page.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return Ok(keys),
        }
    }
}

#[async_trait]
impl Worker for SavedMetrics {
    fn name(&self) -> String {
        "saved-metrics".to_owned()
    }

    async fn work(&mut self, _gate: &CancellationToken) -> Result<Next, WorkError> {
        self.save().await?;
        Ok(Next::After(self.interval))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ozone_common::disk::RealDisk;
    use ozone_kv::WriteTarget;
    use prost::Message;

    use super::*;

    #[tokio::test]
    async fn the_names_of_all_buckets_are_counted_beside_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(OmState::open(dir.path(), 1).unwrap());
        let store = state.store().unwrap();
        let mut rows = store.overlay();
        for (key, used_namespace) in [("/v/a", 3), ("/v/b", 4)] {
            let bucket = BucketRow {
                version: 1,
                used_namespace,
                ..Default::default()
            };
            let key = key.as_bytes().to_vec();
            rows.put(tables::BUCKET.0, key, bucket.encode_to_vec());
        }
        store.write(rows).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let metrics = SavedMetrics::new(state, (disk, dir.path()), Duration::from_secs(1));
        metrics.save().await.unwrap();
        let text = std::fs::read_to_string(dir.path().join("omMetrics")).unwrap();
        assert_eq!(text, r#"{"numKeys":7}"#);
    }
}
