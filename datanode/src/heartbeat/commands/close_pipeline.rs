//! ClosePipeline: leaves a Raft group; its log is removed.

use std::sync::Arc;

use ozone_proto::scm::ClosePipeline;

use crate::error::OpResult;
use crate::lifecycle;
use crate::node::Node;

pub(super) async fn run(node: &Arc<Node>, command: ClosePipeline) -> OpResult<()> {
    lifecycle::close_pipeline(node, &command.pipeline_id).await
}
