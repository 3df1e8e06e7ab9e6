//! ReplicateContainer: copies a closed container to another datanode.

use std::sync::Arc;

use ozone_proto::scm::ReplicateContainer;

use crate::error::{OpError, OpResult};
use crate::node::Node;
use crate::peer::{PEER_PORT, address, export_container};

pub(super) async fn run(node: &Arc<Node>, command: ReplicateContainer) -> OpResult<()> {
    let target = command
        .target
        .ok_or_else(|| OpError::malformed("no target"))?;
    let address = address(&target, PEER_PORT)?;
    export_container(node, command.container_id, &address).await
}
