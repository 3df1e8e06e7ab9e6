//! ReadContainer: the state of a container and what it holds.

use ozone_proto::hdds::datanode::ReadContainerResponseProto;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;

use super::Call;
use crate::error::OpResult;
use crate::tokens::Access;

pub(super) fn run(call: &Call) -> OpResult<Response> {
    call.allow_container(Access::Read)?;
    let container = call.node.containers.get(call.container)?;
    let counters = container.counters();
    Ok(Response::ReadContainer(ReadContainerResponseProto {
        state: Some(container.state().name().to_owned()),
        used_bytes: Some(counters.bytes),
        block_count: Some(counters.blocks),
    }))
}
