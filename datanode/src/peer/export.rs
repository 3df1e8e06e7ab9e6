//! Sending a container to another datanode.

use std::sync::Arc;

use bytes::Bytes;
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::import_container_part::Part;
use ozone_proto::scm::{ImportBlock, ImportContainerPart, ImportHeader};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::chunk::Chunk;
use crate::container::{Container, State};
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::node::{Node, on_container};
use crate::rows::BlockRow;

/// Blocks looked up at a time.
const PAGE: usize = 256;
/// Parts that wait for the network.
const QUEUE: usize = 4;

type Parts = mpsc::Sender<ImportContainerPart>;

/// Copies a closed container to the datanode whose peer service is at `address`. Every chunk is
/// verified here before it leaves, and there before it is kept.
pub(crate) async fn export_container(node: &Arc<Node>, id: i64, address: &str) -> OpResult<()> {
    let container = node.containers.get(id)?;
    let state = container.state();
    if !matches!(state, State::Closed | State::QuasiClosed) || !container.lacking().is_empty() {
        let text = format!(
            "container {id} is {} or lacks bytes, it is not copied",
            state.name()
        );
        return Err(OpError::new(Code::UnclosedContainerIo, text));
    }
    let (parts, outgoing) = mpsc::channel(QUEUE);
    let mut client = node.peers.client(address)?;
    let sending = send(&container, parts);
    let importing =
        client.import_container(node.peers.request((id, 0), ReceiverStream::new(outgoing)));
    let (sent, imported) = tokio::join!(sending, importing);
    if sent.is_err() {
        // What was found damaged is reported, and fetched anew where it can be.
        node.containers.note_change(id);
        node.note_lacking();
    }
    // A refusal of the other end says more than that it stopped listening.
    match imported {
        Ok(_) => sent,
        Err(status) => {
            sent?;
            Err(OpError::new(
                Code::IoException,
                format!("{address}: {status}"),
            ))
        }
    }
}

async fn send(container: &Arc<Container>, parts: Parts) -> OpResult<()> {
    let (descriptor, counters) = (container.descriptor(), container.counters());
    let header = ImportHeader {
        container_id: descriptor.id,
        state: descriptor.state.name().to_owned(),
        pipeline_id: descriptor.pipeline_id,
        origin_node_id: descriptor.origin_node_id,
        max_size: descriptor.max_size,
        bcsid: counters.bcsid,
        delete_transaction_id: counters.delete_tx,
        block_count: counters.blocks,
    };
    if !give(&parts, Part::Header(header)).await {
        return Ok(());
    }
    let mut start = 0;
    loop {
        let page = on_container(container, Lane::Read, move |c| c.blocks(start, PAGE)).await?;
        let Some((last, _)) = page.last().copied() else {
            return Ok(());
        };
        for (local, row) in page {
            if !send_block(container, &parts, local, row).await? {
                return Ok(());
            }
        }
        let Some(next) = last.checked_add(1) else {
            return Ok(());
        };
        start = next;
    }
}

/// False when the other end stopped listening.
async fn send_block(
    container: &Arc<Container>,
    parts: &Parts,
    local: i64,
    row: BlockRow,
) -> OpResult<bool> {
    let chunks = on_container(container, Lane::Read, move |c| c.chunks(local)).await?;
    let block = ImportBlock {
        local_id: local,
        size: row.size,
        bcsid: row.bcsid,
        flags: row.flags,
        chunks: chunks.iter().map(Chunk::to_stored).collect(),
    };
    if !give(parts, Part::Block(block)).await {
        return Ok(false);
    }
    for chunk in chunks {
        let read = on_container(container, Lane::Read, move |container| {
            let data = container.raw_bytes(local, chunk.offset, u64::from(chunk.len))?;
            if let Err(error) = chunk.verify(&data) {
                container.check_chunk(local, &chunk)?;
                return Err(error);
            }
            Ok(Bytes::from(data))
        });
        if !give(parts, Part::Data(read.await?)).await {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn give(parts: &Parts, part: Part) -> bool {
    parts
        .send(ImportContainerPart { part: Some(part) })
        .await
        .is_ok()
}
