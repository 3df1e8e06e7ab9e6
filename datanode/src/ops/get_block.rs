//! GetBlock: what a block consists of, with all checksums.

use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{BlockData, GetBlockRequestProto, GetBlockResponseProto};

use super::{Call, block_id};
use crate::container::Container;
use crate::error::OpResult;
use crate::io::Lane;
use crate::node::on_container;
use crate::rows::BlockRow;
use crate::tokens::Access;

pub(super) async fn run(call: &Call, request: GetBlockRequestProto) -> OpResult<Response> {
    let block = request.block_id;
    call.allow(&block, Access::Read)?;
    let container = call.node.containers.get(call.container)?;
    let bcsid = block.block_commit_sequence_id();
    let block_data = on_container(&container, Lane::Read, move |container| {
        let row = container.readable_block(block.local_id, bcsid)?;
        describe(container, block.local_id, row)
    })
    .await?;
    Ok(Response::GetBlock(GetBlockResponseProto { block_data }))
}

/// A block as answers carry it. Blocks.
pub(super) fn describe(container: &Container, local: i64, row: BlockRow) -> OpResult<BlockData> {
    let chunks = container.chunks(local)?;
    Ok(BlockData {
        block_id: block_id(container.id(), local, row.bcsid),
        flags: Some(row.flags),
        metadata: Vec::new(),
        chunks: chunks.iter().map(|chunk| chunk.to_info(local)).collect(),
        size: i64::try_from(row.size).ok(),
    })
}
