//! GetCommittedBlockLength: how much of a block exists, as far as this replica knows.

use ozone_proto::hdds::datanode::GetCommittedBlockLengthRequestProto;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;

use super::{Call, committed_length};
use crate::error::OpResult;
use crate::io::Lane;
use crate::node::on_container;
use crate::tokens::Access;

pub(super) async fn run(
    call: &Call,
    request: GetCommittedBlockLengthRequestProto,
) -> OpResult<Response> {
    let block = request.block_id;
    call.allow(&block, Access::Read)?;
    let container = call.node.containers.get(call.container)?;
    let bcsid = block.block_commit_sequence_id();
    let work = move |c: &crate::container::Container| c.readable_block(block.local_id, bcsid);
    let row = on_container(&container, Lane::Read, work).await?;
    let length = committed_length(call.container, block.local_id, row.size, row.bcsid);
    Ok(Response::GetCommittedBlockLength(length))
}
