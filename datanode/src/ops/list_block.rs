//! ListBlock: committed blocks of a container, in order of their local ids.

use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{ListBlockRequestProto, ListBlockResponseProto};

use super::Call;
use super::get_block::describe;
use crate::error::OpResult;
use crate::io::Lane;
use crate::node::on_container;
use crate::tokens::Access;

/// Most blocks of one answer: their checksums must fit into a message.
const LIMIT: usize = 1000;

pub(super) async fn run(call: &Call, request: ListBlockRequestProto) -> OpResult<Response> {
    call.allow_container(Access::Read)?;
    let container = call.node.containers.get(call.container)?;
    let start = request.start_local_id.unwrap_or(0).max(0);
    let count = usize::try_from(request.count).unwrap_or(LIMIT).min(LIMIT);
    let block_data = on_container(&container, Lane::Read, move |container| {
        container.check_readable()?;
        let blocks = container.blocks(start, count)?;
        blocks
            .into_iter()
            .map(|(local, row)| describe(container, local, row))
            .collect()
    })
    .await?;
    Ok(Response::ListBlock(ListBlockResponseProto { block_data }))
}
