//! Fetching committed bytes that this replica does not have: because it was left out of a write,
//! because a power cut took what was not fsynced, or because the scanner found them damaged.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::worker::{Next, WorkError, Worker};
use tokio_util::sync::CancellationToken;

use crate::chunk::Chunk;
use crate::container::{Container, State};
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::node::{Node, on_container};

/// Name of the worker.
pub(crate) const NAME: &str = "repair";
/// Pause before blocks that could not be repaired are tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The background loop.
pub(crate) struct Repairer {
    pub(crate) node: Arc<Node>,
}

#[async_trait]
impl Worker for Repairer {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        let mut left = 0usize;
        for container in self.node.containers.list() {
            let usable =
                container.state() != State::Deleted && container.volume().failure().is_none();
            for (local, _) in container.lacking().into_iter().filter(|_| usable) {
                if gate.is_cancelled() {
                    return Ok(Next::Done);
                }
                if let Err(error) = repair(&self.node, &container, local).await {
                    tracing::info!(block = %format!("{}/{local}", container.id()), %error, "not repaired yet");
                    left += 1;
                }
            }
        }
        Ok(if left > 0 {
            Next::After(RETRY)
        } else {
            Next::WhenWoken
        })
    }
}

async fn repair(node: &Arc<Node>, container: &Arc<Container>, local: i64) -> OpResult<()> {
    loop {
        let chunks = on_container(container, Lane::Read, move |c| c.chunks_to_fetch(local)).await?;
        for chunk in chunks {
            fetch(node, container, local, chunk).await?;
        }
        if on_container(container, Lane::Sync, move |c| c.repaired(local)).await? {
            break;
        }
    }
    container.finish_block(local);
    metrics::counter!("datanode_blocks_repaired_total").increment(1);
    tracing::info!(block = %format!("{}/{local}", container.id()), "block repaired from another replica");
    node.containers.note_change(container.id());
    Ok(())
}

async fn fetch(
    node: &Arc<Node>,
    container: &Arc<Container>,
    local: i64,
    chunk: Chunk,
) -> OpResult<()> {
    let mut last = OpError::internal("no other member of the pipeline is known");
    for member in node.pipelines.members(&container.pipeline_id())? {
        if member.uuid == node.uuid {
            continue;
        }
        let fetched = node
            .peers
            .fetch(&member.address, (container.id(), local), &chunk)
            .await;
        let chunk = chunk.clone();
        let stored = match fetched {
            Ok(data) => {
                let work = move |c: &Container| c.store_fetched(local, &chunk, &data);
                on_container(container, Lane::Write, work).await
            }
            Err(error) => Err(error),
        };
        match stored {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}
