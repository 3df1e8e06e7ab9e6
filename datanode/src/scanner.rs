//! Disks lie: all closed data is read and verified again and again, at a bounded rate.
//!
//! What turns out damaged is no longer served from here, the replica is reported as unhealthy, and
//! the damaged chunks are fetched from another replica where there is one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::worker::{Next, WorkError, Worker};
use tokio_util::sync::CancellationToken;

use crate::container::{Container, State};
use crate::error::OpResult;
use crate::io::Lane;
use crate::node::{Node, on_container};
use crate::volume::Volume;

/// Blocks looked up at a time.
const PAGE: usize = 256;
/// Pause when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// The scanner of one volume.
pub(crate) struct Scanner {
    pub(crate) node: Arc<Node>,
    pub(crate) volume: Arc<Volume>,
    /// Most bytes to read in a second.
    pub(crate) rate: u64,
    /// How often everything is verified.
    pub(crate) interval: Duration,
}

#[async_trait]
impl Worker for Scanner {
    fn name(&self) -> String {
        format!("scanner of {}", self.volume.dir().display())
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        for container in self.node.containers.list() {
            if gate.is_cancelled() || self.volume.failure().is_some() {
                return Ok(Next::Done);
            }
            if self.is_due(&container) {
                self.scan(&container, gate).await?;
            }
        }
        Ok(Next::After(IDLE.min(self.interval)))
    }
}

impl Scanner {
    fn is_due(&self, container: &Container) -> bool {
        let here = container.volume().storage_id() == self.volume.storage_id();
        let closed = matches!(container.state(), State::Closed | State::QuasiClosed);
        let interval = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let scanned = container.descriptor().data_scan_ms.unwrap_or(0);
        here && closed && self.node.clock.wall_ms() >= scanned.saturating_add(interval)
    }

    async fn scan(&self, container: &Arc<Container>, gate: &CancellationToken) -> OpResult<()> {
        let mut start = 0;
        let mut good = true;
        loop {
            let page = on_container(container, Lane::Read, move |c| c.blocks(start, PAGE)).await?;
            let Some((last, _)) = page.last().copied() else {
                break;
            };
            for (local, _) in page {
                good &= self.scan_block(container, local, gate).await?;
                if gate.is_cancelled() {
                    return Ok(());
                }
            }
            let Some(next) = last.checked_add(1) else {
                break;
            };
            start = next;
        }
        if good {
            let now = self.node.clock.wall_ms();
            on_container(container, Lane::Sync, move |c| c.set_scanned(now)).await?;
        } else {
            self.node.containers.note_change(container.id());
            self.node.note_lacking();
        }
        Ok(())
    }

    /// False when the block is damaged.
    async fn scan_block(
        &self,
        container: &Arc<Container>,
        local: i64,
        gate: &CancellationToken,
    ) -> OpResult<bool> {
        let chunks = on_container(container, Lane::Read, move |c| c.chunks(local)).await?;
        for chunk in chunks {
            let bytes = u64::from(chunk.len);
            let work = move |c: &Container| c.check_chunk(local, &chunk);
            if !on_container(container, Lane::Read, work).await? {
                metrics::counter!("datanode_scanner_damaged_blocks_total").increment(1);
                return Ok(false);
            }
            metrics::counter!("datanode_scanner_bytes_total").increment(bytes);
            let pause = Duration::from_secs_f64(bytes as f64 / self.rate.max(1) as f64);
            tokio::select! {
                () = gate.cancelled() => return Ok(true),
                () = self.node.clock.sleep(pause) => {}
            }
        }
        Ok(true)
    }
}
