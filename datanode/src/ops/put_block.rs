//! PutBlock: makes the bytes written so far exist.

use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{
    GetCommittedBlockLengthResponseProto, PutBlockRequestProto, PutBlockResponseProto,
};

use super::{Call, committed_length};
use crate::chunk::Chunk;
use crate::error::OpResult;
use crate::io::Lane;
use crate::node::on_container;
use crate::pipeline::Proposal;
use crate::sequence::Turn;
use crate::tokens::Access;

pub(super) async fn run(
    call: &Call,
    request: PutBlockRequestProto,
    turn: Turn,
) -> OpResult<Response> {
    let mut turn = turn;
    // The chunks that came before are on their way to the other members as well.
    turn.wait_for_all().await;
    let committed_block_length = commit(call, request).await?;
    Ok(Response::PutBlock(PutBlockResponseProto {
        committed_block_length,
    }))
}

/// Commits a block, whether it came alone or with its last chunk.
pub(super) async fn commit(
    call: &Call,
    request: PutBlockRequestProto,
) -> OpResult<GetCommittedBlockLengthResponseProto> {
    let data = &request.block_data;
    let block = data.block_id;
    let ends = data.chunks.iter().map(|c| c.offset.saturating_add(c.len));
    let size = data.size.and_then(|size| u64::try_from(size).ok());
    let reach = ends.chain(size).max().unwrap_or(0);
    call.allow(&block, Access::Write(reach))?;
    let chunks: Vec<Chunk> = data
        .chunks
        .iter()
        .map(Chunk::from_info)
        .collect::<OpResult<_>>()?;
    let end = chunks.last().map_or(0, Chunk::end);
    if request.in_place == Some(true) {
        take_in(call, block.local_id, chunks.clone()).await?;
    }
    let proposal = Proposal {
        pipeline: call.pipeline.clone(),
        container: call.container,
        local: block.local_id,
        size: size.unwrap_or(end),
        flags: data.flags.unwrap_or(0),
        chunks,
        sync: request.sync.unwrap_or(false),
        eof: request.eof.unwrap_or(true),
    };
    let done = crate::pipeline::commit_block(&call.node, proposal).await?;
    Ok(committed_length(
        call.container,
        block.local_id,
        done.length,
        done.bcsid,
    ))
}

/// Takes in the chunks that the client has put into the file.
async fn take_in(call: &Call, local: i64, chunks: Vec<Chunk>) -> OpResult<()> {
    let container = call.node.containers.get(call.container)?;
    let taken = on_container(&container, Lane::Write, move |container| {
        container.take_in_placed(local, &chunks)
    });
    let bytes = taken.await?;
    metrics::counter!("datanode_write_bytes_total").increment(bytes);
    metrics::counter!("datanode_placed_bytes_total").increment(bytes);
    Ok(())
}
