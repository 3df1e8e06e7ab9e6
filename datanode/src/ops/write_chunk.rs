//! WriteChunk: stores bytes, here and on the members that the client names, without making them
//! exist.
//!
//! The checksums are verified first. Then, in the order in which the chunks of the block came, the
//! chunk is handed to the next member and written to the file here, both at the same time. A member
//! that fails is left out of the answer; whether enough are left is for the client to say.

use std::sync::Arc;

use bytes::Bytes;
use ozone_proto::hdds::DatanodeDetailsProto;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{
    DatanodeBlockId, WriteChunkRequestProto, WriteChunkResponseProto,
};

use super::Call;
use crate::chunk::Chunk;
use crate::container::Container;
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::node::{off_thread, on_container};
use crate::peer::Forward;
use crate::sequence::Turn;
use crate::tokens::Access;

/// Less is verified where it is received.
const SMALL: usize = 64 << 10;

pub(super) async fn run(
    call: &Call,
    request: WriteChunkRequestProto,
    turn: Turn,
) -> OpResult<Response> {
    let block = request.block_id;
    let info = request
        .chunk_data
        .ok_or_else(|| OpError::malformed("no chunk"))?;
    call.allow(&block, Access::Write(info.offset.saturating_add(info.len)))?;
    let data = request
        .data
        .ok_or_else(|| OpError::malformed("chunk without data"))?;
    let chunk = verified(Chunk::from_info(&info)?, &data).await?;
    let container = container(call, request.container_auto_create).await?;

    let mut turn = turn;
    turn.wait().await;
    let next = next_members(call, request.forward);
    let forward = Forward {
        node: call.node.clone(),
        container: call.container,
        pipeline: call.pipeline.clone(),
        token: call.token.clone(),
        block,
        chunk: info,
        data: data.clone(),
    };
    let elsewhere = forward.start(next).await;
    let here = write(&container, block, chunk, data).await;
    turn.pass_on();
    let mut stored = elsewhere.stored().await;
    match here {
        Ok(()) => stored.insert(0, call.node.uuid.to_string()),
        Err(error) if stored.is_empty() => return Err(error),
        Err(error) => {
            tracing::warn!(container = call.container, %error, "a chunk is stored elsewhere only");
        }
    }
    let committed_block_length = match request.block {
        Some(put) => {
            turn.wait_for_all().await;
            Some(super::put_block::commit(call, put).await?)
        }
        None => None,
    };
    Ok(Response::WriteChunk(WriteChunkResponseProto {
        committed_block_length,
        stored,
    }))
}

async fn verified(chunk: Chunk, data: &Bytes) -> OpResult<Chunk> {
    if data.len() <= SMALL {
        chunk.verify(data)?;
        return Ok(chunk);
    }
    let data = data.clone();
    off_thread(move || chunk.verify(&data).map(|()| chunk)).await
}

async fn container(call: &Call, create: Option<bool>) -> OpResult<Arc<Container>> {
    let id = call.container;
    if let Some(container) = call.node.containers.find(id) {
        return Ok(container);
    }
    if create == Some(false) {
        return call.node.containers.get(id);
    }
    // What a datanode outside of the pipeline makes would pass for a replica of it.
    call.node.pipelines.get(&call.pipeline)?;
    let (node, pipeline) = (call.node.clone(), call.pipeline.clone());
    off_thread(move || {
        let new = node.new_container(id, &pipeline, 1);
        node.containers.get_or_create(node.volumes()?, &new)
    })
    .await
}

/// Those named, without this datanode itself.
fn next_members(call: &Call, named: Vec<DatanodeDetailsProto>) -> Vec<DatanodeDetailsProto> {
    let own = call.node.uuid.to_string();
    named
        .into_iter()
        .filter(|member| member.uuid() != own)
        .collect()
}

async fn write(
    container: &Arc<Container>,
    block: DatanodeBlockId,
    chunk: Chunk,
    data: Bytes,
) -> OpResult<()> {
    metrics::counter!("datanode_write_bytes_total").increment(data.len() as u64);
    let work = move |container: &Container| container.write_chunk(block.local_id, &chunk, &data);
    on_container(container, Lane::Write, work).await
}
