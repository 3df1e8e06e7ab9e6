//! DeleteContainer: removes this replica. Fine when it is gone.

use std::sync::Arc;

use ozone_proto::scm::DeleteContainer;

use crate::error::OpResult;
use crate::lifecycle;
use crate::node::Node;

pub(super) async fn run(node: &Arc<Node>, command: DeleteContainer) -> OpResult<()> {
    match node.containers.find(command.container_id) {
        Some(_) => lifecycle::delete(node, command.container_id, command.force).await,
        None => Ok(()),
    }
}
