//! Containers: moved on in their life as the decisions say; datanodes told.

use std::time::Duration;

use ozone_common::ids::ContainerId;
use ozone_proto::scm::{self as wire, command::Body};

use super::Coordinator;
use crate::container::transition::{Action, PipelineStanding, Situation, decide};
use crate::container::{Container, LifeCycleState, id_to_wire};
use crate::error::ScmError;
use crate::node::{CommandKey, NodeCommand};
use crate::ops::{Command, MoveContainer};
use crate::pipeline::transition::Standing;

/// How long a datanode has to close a replica before it is told again.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a datanode has to delete a replica before it is told again.
const DELETE_PATIENCE: Duration = Duration::from_secs(60);

impl Coordinator {
    /// Decides on every container that changed, and again on those that moved.
    pub(super) async fn look_at_containers(&self, now: Duration) -> Result<(), ScmError> {
        loop {
            let changed = self.scm.attention.take();
            if changed.is_empty() {
                return Ok(());
            }
            let mut moves = Vec::new();
            for id in changed {
                moves.extend(self.look_at_container(id, now));
            }
            if moves.is_empty() {
                return Ok(());
            }
            let moved: Vec<_> = moves.iter().map(|to| ContainerId(to.id)).collect();
            let commands = moves.into_iter().map(Command::MoveContainer).collect();
            self.propose_all(commands).await?;
            self.scm.replicas_changed(moved);
        }
    }

    /// Tells datanodes what follows, and gives the move that does.
    fn look_at_container(&self, id: ContainerId, now: Duration) -> Option<MoveContainer> {
        let found = self.scm.store.model().container(id).cloned();
        let Some(container) = found else {
            tracing::warn!(container = %id, "datanodes report a container that SCM does not know");
            return None;
        };
        if container.state != LifeCycleState::Open {
            self.scm.attention.settle_close(id);
        }
        let pipeline = self.scm.store.model().pipeline(container.pipeline).cloned();
        let members = pipeline.map(|pipeline| pipeline.members.clone());
        let actions = decide(&Situation {
            container: &container,
            replicas: &self.scm.replicas.of(id),
            members: members.as_deref(),
            pipeline: self.pipeline_standing(&container, now),
            size_limit: self.scm.settings.container_size,
            close_asked: self.scm.attention.is_close_asked(id),
        });
        let mut moved = None;
        for action in actions {
            match action {
                Action::Move {
                    to,
                    used_bytes,
                    blocks,
                    sequence_id,
                } => {
                    tracing::info!(container = %id, to = to.as_str_name(), "container moves on");
                    moved = Some(MoveContainer {
                        id: id.get(),
                        to: to as i32,
                        used_bytes,
                        blocks,
                        sequence_id,
                        at_ms: self.scm.clock.wall_ms(),
                    });
                }
                Action::Close { node, force } => {
                    let command = close_command(&container, force);
                    self.scm.nodes.tell(node, command, now);
                }
                Action::Delete { node, force } => {
                    self.scm.nodes.tell(node, delete_command(id, force), now);
                }
            }
        }
        moved
    }

    fn pipeline_standing(&self, container: &Container, now: Duration) -> PipelineStanding {
        let pipeline = self.scm.store.model().pipeline(container.pipeline).cloned();
        // A pipeline with containers that still close is only forgotten when a member is lost.
        let Some(pipeline) = pipeline else {
            return PipelineStanding::Closed {
                cleared: false,
                member_lost: true,
            };
        };
        if pipeline.is_alive() {
            return PipelineStanding::Open;
        }
        let members = self.standings(&pipeline, now);
        PipelineStanding::Closed {
            cleared: members.iter().all(|member| *member == Standing::Missing),
            member_lost: members.contains(&Standing::Lost),
        }
    }
}

fn close_command(container: &Container, force: bool) -> NodeCommand {
    NodeCommand {
        key: CommandKey::CloseContainer(container.id, force),
        body: Body::CloseContainer(wire::CloseContainer {
            container_id: id_to_wire(container.id),
            pipeline_id: container.pipeline.to_string(),
            force,
        }),
        patience: CLOSE_PATIENCE,
    }
}

fn delete_command(id: ContainerId, force: bool) -> NodeCommand {
    NodeCommand {
        key: CommandKey::DeleteContainer(id),
        body: Body::DeleteContainer(wire::DeleteContainer {
            container_id: id_to_wire(id),
            force,
        }),
        patience: DELETE_PATIENCE,
    }
}
