//! CloseContainer: through the log of the pipeline while there is one, so that all replicas close at
//! the same point.

use ozone_proto::hdds::datanode::CloseContainerResponseProto;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;

use super::Call;
use crate::error::OpResult;
use crate::tokens::Access;

pub(super) async fn run(call: &Call) -> OpResult<Response> {
    call.allow_container(Access::Write(0))?;
    crate::lifecycle::close(&call.node, call.container, false).await?;
    let answer = CloseContainerResponseProto {
        hash: None,
        container_id: Some(call.container),
    };
    Ok(Response::CloseContainer(answer))
}
