//! Closing and deleting containers, whoever asks for it.

use std::sync::Arc;

use crate::container::State;
use crate::error::OpResult;
use crate::io::Lane;
use crate::node::{Node, off_thread, on_container};
use crate::pipeline;

/// Closes a container: through the log of its pipeline while this datanode leads it; a member that
/// does not lead stops writing and leaves the rest to the leader. Without a pipeline the replica is
/// closed on its own, by `force` for good.
pub(crate) async fn close(node: &Arc<Node>, id: i64, force: bool) -> OpResult<()> {
    let container = node.containers.get(id)?;
    match (container.state(), force) {
        (State::Closed, _) | (State::QuasiClosed, false) => return Ok(()),
        (State::QuasiClosed, true) => return finish(node, &container, State::Closed).await,
        _ => {}
    }
    let Ok(pipeline) = node.pipelines.get(&container.pipeline_id()) else {
        let state = if force {
            State::Closed
        } else {
            State::QuasiClosed
        };
        return finish(node, &container, state).await;
    };
    on_container(&container, Lane::Write, |container| container.begin_close()).await?;
    node.containers.note_change(id);
    if pipeline.group.is_leader() {
        pipeline::close_in_log(&pipeline, id).await?;
    }
    Ok(())
}

async fn finish(
    node: &Arc<Node>,
    container: &Arc<crate::container::Container>,
    state: State,
) -> OpResult<()> {
    on_container(container, Lane::Sync, move |container| {
        container.close(state)
    })
    .await?;
    node.containers.note_change(container.id());
    Ok(())
}

/// Leaves a pipeline. Containers that its log did not close are closed as they are: SCM compares
/// the replicas.
pub(crate) async fn close_pipeline(node: &Arc<Node>, id: &str) -> OpResult<()> {
    pipeline::close(node, id).await?;
    for container in node.containers.list() {
        let open = matches!(container.state(), State::Open | State::Closing);
        if open && container.pipeline_id() == id {
            finish(node, &container, State::QuasiClosed).await?;
        }
    }
    Ok(())
}

/// Deletes a replica. The logs of pipelines are not replayed over it afterwards.
pub(crate) async fn delete(node: &Arc<Node>, id: i64, force: bool) -> OpResult<()> {
    node.containers.get(id)?;
    let node = node.clone();
    off_thread(move || {
        node.pipelines.flush()?;
        node.containers.delete(id, force)
    })
    .await
}
