//! CreatePipeline: takes part in a new Raft group.

use std::sync::Arc;

use ozone_proto::scm::CreatePipeline;

use crate::error::{OpError, OpResult};
use crate::node::Node;

pub(super) async fn run(node: &Arc<Node>, command: CreatePipeline) -> OpResult<()> {
    let info = command
        .pipeline
        .ok_or_else(|| OpError::malformed("no pipeline"))?;
    crate::pipeline::create(node, info).await
}
