//! CloseContainer: no more is written to it.

use std::sync::Arc;

use ozone_proto::scm::CloseContainer;

use crate::error::OpResult;
use crate::lifecycle;
use crate::node::Node;

pub(super) async fn run(node: &Arc<Node>, command: CloseContainer) -> OpResult<()> {
    lifecycle::close(node, command.container_id, command.force).await
}
