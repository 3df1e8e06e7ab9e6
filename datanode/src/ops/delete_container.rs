//! DeleteContainer: removes this replica; one with blocks, or one still open, only by force.

use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{DeleteContainerRequestProto, DeleteContainerResponseProto};

use super::Call;
use crate::error::OpResult;
use crate::tokens::Access;

pub(super) async fn run(call: &Call, request: DeleteContainerRequestProto) -> OpResult<Response> {
    call.allow_container(Access::Delete)?;
    crate::lifecycle::delete(&call.node, call.container, request.force_delete()).await?;
    Ok(Response::DeleteContainer(DeleteContainerResponseProto {}))
}
