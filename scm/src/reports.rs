//! Taking registrations and heartbeats: what they say is noted, a look is asked for if anything is
//! new, and the answer carries what follows.

use std::sync::Arc;
use std::time::Duration;

use ozone_common::ids::{DatanodeId, PipelineId};
use ozone_proto::scm::{
    CommandStatus, HeartbeatRequest, HeartbeatResponse, RegisterRequest, RegisterResponse,
};

use crate::container::id_from_wire;
use crate::deleted_blocks;
use crate::error::ScmError;
use crate::node::admission::admit;
use crate::node::{CommandKey, Registration};
use crate::pipeline::reports::Complaint;
use crate::replication;
use crate::rows::datanode_id;
use crate::scm::Scm;

/// When to hear again of a datanode whose pipeline is about to open.
const SOON: Duration = Duration::from_millis(50);
/// When to hear again of a datanode that has just come, because others may be about to.
const SHORTLY: Duration = Duration::from_millis(250);
/// How long a datanode counts as having just come.
const NEW: Duration = Duration::from_secs(15);

impl Scm {
    /// A datanode registers.
    pub(crate) async fn register(
        self: &Arc<Self>,
        request: RegisterRequest,
    ) -> Result<RegisterResponse, ScmError> {
        let refused = admit(&self.identity, &request).err();
        let details = request.datanode.clone().unwrap_or_default();
        let id = datanode_id(&details);
        let (accepted, refusal) = match (&refused, id) {
            (None, Some(id)) => {
                self.take_registration(id, request).await;
                (true, String::new())
            }
            (refused, _) => {
                let refusal = refused
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                tracing::warn!(refusal, "registration refused");
                (false, refusal)
            }
        };
        let (secret_keys, _) = match accepted {
            true => self.secret_keys(),
            false => Default::default(),
        };
        Ok(RegisterResponse {
            accepted,
            refusal,
            cluster_id: self.identity.cluster_id.clone(),
            c_time: self.identity.c_time_wire(),
            scm_id: self.identity.scm_id.to_string(),
            heartbeat_interval_ms: millis(self.settings.heartbeat),
            secret_keys,
        })
    }

    async fn take_registration(&self, id: DatanodeId, request: RegisterRequest) {
        let now = self.clock.monotonic();
        tracing::info!(datanode = %id, containers = request.containers.len(), "datanode registers");
        let registration = Registration {
            details: request.datanode.unwrap_or_default(),
            layout_version: request.layout_version,
            storage: request.storage,
        };
        self.nodes.register(id, registration, now);
        self.reports.take(id, &request.pipelines, true);
        let changed = self.replicas.take(id, &request.containers, true);
        self.replicas_changed(changed);
        self.look_at_all_replicas();
        self.deletions.forget_sent(id);
        self.workers.wake(deleted_blocks::NAME);
        self.look_and_wait().await;
    }

    /// A datanode gives a sign of life, and reports.
    pub(crate) async fn heartbeat(
        self: &Arc<Self>,
        request: HeartbeatRequest,
    ) -> Result<HeartbeatResponse, ScmError> {
        let ours = &self.identity.cluster_id;
        if !request.cluster_id.is_empty() && request.cluster_id != *ours {
            let theirs = &request.cluster_id;
            return Err(ScmError::Refused(format!(
                "heartbeat of cluster {theirs}, this SCM serves cluster {ours}"
            )));
        }
        let now = self.clock.monotonic();
        let parsed = request.datanode_uuid.parse::<DatanodeId>();
        let id = parsed.map_err(|error| ScmError::BadRequest(error.to_string()))?;
        let Some(returned) = self.nodes.heartbeat(id, request.storage.clone(), now) else {
            return Ok(HeartbeatResponse {
                reregister: true,
                ..HeartbeatResponse::default()
            });
        };
        if self.take_reports(id, &request) || returned {
            self.look_and_wait().await;
        }
        Ok(self.answer(id, request.known_secret_keys_version))
    }

    /// True if anything is new.
    fn take_reports(&self, id: DatanodeId, request: &HeartbeatRequest) -> bool {
        let replicas = self
            .replicas
            .take(id, &request.containers, request.full_report);
        let mut changed = !replicas.is_empty();
        self.replicas_changed(replicas);
        changed |= self.reports.take(id, &request.pipelines, false);
        for action in &request.pipeline_actions {
            let Ok(pipeline) = action.pipeline_id.parse::<PipelineId>() else {
                tracing::warn!(node = %id, ?action, "action on a pipeline without an id");
                continue;
            };
            let complaint = Complaint {
                reason: action.reason.clone(),
                can_wait: action.can_wait,
            };
            changed |= self.reports.complain(pipeline, complaint);
        }
        for container in request
            .close_containers
            .iter()
            .filter_map(|id| id_from_wire(*id))
        {
            self.attention.ask_to_close(container);
            changed = true;
        }
        for status in &request.command_status {
            changed |= self.take_status(id, status);
        }
        changed
    }

    /// True if anything is new.
    fn take_status(&self, id: DatanodeId, status: &CommandStatus) -> bool {
        if !status.success {
            let (command, message) = (status.id, &status.message);
            tracing::warn!(node = %id, command, message, "command failed");
        }
        if !status.deleted_transactions.is_empty() {
            let done = status.deleted_transactions.iter();
            let done = done.filter_map(|tx| u64::try_from(*tx).ok());
            self.deletions.acknowledge(id, done);
            self.workers.wake(deleted_blocks::NAME);
        }
        match self.nodes.purpose(id, status.id) {
            Some(CommandKey::ClosePipeline(pipeline)) if status.success => {
                self.reports.left(pipeline, id);
                true
            }
            Some(CommandKey::Replicate(container, _) | CommandKey::DeleteContainer(container))
                if !status.success =>
            {
                self.replication_due.fail(container);
                self.workers.wake(replication::NAME);
                false
            }
            _ => false,
        }
    }

    fn answer(&self, id: DatanodeId, known_keys: u64) -> HeartbeatResponse {
        let now = self.clock.monotonic();
        let (keys, version) = match self.store.model().keys_version() {
            version if version == known_keys => (Vec::new(), version),
            _ => self.secret_keys(),
        };
        // Only the leader decides; what waits here is from when this SCM was that.
        let term = self.log.serving_term();
        let commands = match term {
            Some(_) => self.nodes.take_commands(id, now),
            None => Vec::new(),
        };
        HeartbeatResponse {
            reregister: false,
            term: term.unwrap_or(0),
            next_heartbeat_ms: self.next_heartbeat(id, now),
            commands,
            secret_keys: keys,
            secret_keys_version: version,
        }
    }

    /// When to hear again of a datanode, ms; 0 for the usual interval.
    fn next_heartbeat(&self, id: DatanodeId, now: Duration) -> u64 {
        let model = self.store.model();
        let opening = model.pipelines().any(|pipeline| {
            pipeline.is_alive() && !pipeline.is_open() && pipeline.members.contains(&id)
        });
        let is_new = self.nodes.age(id, now).is_some_and(|age| age < NEW);
        let next = match (opening, is_new || self.nodes.queued(id) > 0) {
            (true, _) => SOON,
            (false, true) => SHORTLY,
            (false, false) => return 0,
        };
        match next < self.settings.heartbeat {
            true => millis(next),
            false => 0,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
