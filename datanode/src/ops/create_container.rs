//! CreateContainer: makes an empty container. Writers need not ask for it: the first chunk does it
//! as well.

use ozone_proto::hdds::datanode::CreateContainerResponseProto;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;

use super::Call;
use crate::error::OpResult;
use crate::node::off_thread;
use crate::tokens::Access;

pub(super) async fn run(call: &Call) -> OpResult<Response> {
    call.allow_container(Access::Write(0))?;
    call.node.pipelines.get(&call.pipeline)?;
    let new = call.node.new_container(call.container, &call.pipeline, 1);
    let node = call.node.clone();
    off_thread(move || node.containers.create(node.volumes()?, &new)).await?;
    Ok(Response::CreateContainer(CreateContainerResponseProto {}))
}
