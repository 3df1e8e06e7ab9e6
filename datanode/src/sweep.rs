//! Closing the files of blocks that nobody writes any more. A client that died leaves its block
//! open; whoever comes back to it finds it opened again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::worker::{Next, WorkError, Worker};
use tokio_util::sync::CancellationToken;

use crate::container::ContainerSet;

/// A block that was not used for this long, or twice that, is closed.
const INTERVAL: Duration = Duration::from_secs(300);

/// The background loop.
pub(crate) struct Sweeper {
    pub(crate) containers: Arc<ContainerSet>,
}

#[async_trait]
impl Worker for Sweeper {
    fn name(&self) -> String {
        "idle blocks".to_owned()
    }

    async fn work(&mut self, _gate: &CancellationToken) -> Result<Next, WorkError> {
        for container in self.containers.list() {
            container.close_idle_blocks();
        }
        Ok(Next::After(INTERVAL))
    }
}
