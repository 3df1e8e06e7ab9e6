//! Pipelines: opened, closed, forgotten and made as the decisions say; members told.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use ozone_common::ids::{DatanodeId, PipelineId};
use ozone_proto::scm::{self as wire, command::Body};

use super::Coordinator;
use crate::container::LifeCycleState;
use crate::error::ScmError;
use crate::node::{CommandKey, Health, NodeCommand};
use crate::ops::{AddPipeline, ClosePipeline, Command, OpenPipeline, RemovePipeline};
use crate::pipeline::Pipeline;
use crate::pipeline::create::{NewPipeline, plan};
use crate::pipeline::reports::MemberReport;
use crate::pipeline::transition::{Situation, Standing, Verdict, judge};
use crate::rows::uuid_bytes;

/// How long after its registration a datanode's silence about a pipeline means nothing: it may be
/// opening it.
const SETTLING: Duration = Duration::from_secs(60);
/// How long a datanode has to act before it is told again.
const PATIENCE: Duration = Duration::from_secs(10);

impl Coordinator {
    /// True if any pipeline changed.
    pub(super) async fn look_at_pipelines(&self, now: Duration) -> Result<bool, ScmError> {
        let judged = self.judge_pipelines(now);
        let mut changed = self.propose_all(judged).await?;
        let planned = self.plan_pipelines();
        changed += self.propose_all(planned).await?;
        Ok(changed > 0)
    }

    /// How a member stands to a pipeline.
    pub(super) fn standing(&self, id: PipelineId, member: DatanodeId, now: Duration) -> Standing {
        let view = self.scm.nodes.view(member);
        if view.as_ref().is_none_or(|view| view.health == Health::Dead) {
            return Standing::Lost;
        }
        if let Some(report) = self.scm.reports.report(id, member) {
            return Standing::Serving {
                leader: report.leader.is_some(),
            };
        }
        match self.scm.nodes.age(member, now) {
            Some(age) if age >= SETTLING => Standing::Missing,
            _ => Standing::Silent,
        }
    }

    pub(super) fn standings(&self, pipeline: &Pipeline, now: Duration) -> Vec<Standing> {
        let members = pipeline.members.iter();
        members
            .map(|member| self.standing(pipeline.id, *member, now))
            .collect()
    }

    fn pipelines(&self) -> Vec<Arc<Pipeline>> {
        self.scm.store.model().pipelines().cloned().collect()
    }

    fn judge_pipelines(&self, now: Duration) -> Vec<Command> {
        let (at_ms, busy) = (self.scm.clock.wall_ms(), self.busy_pipelines());
        let usable = self
            .scm
            .nodes
            .views()
            .iter()
            .filter(|node| node.is_usable())
            .count();
        let mut commands = Vec::new();
        for pipeline in self.pipelines() {
            let complaint = self.scm.reports.complaint(pipeline.id);
            let verdict = judge(&Situation {
                pipeline: &pipeline,
                members: &self.standings(&pipeline, now),
                complaint: complaint.as_ref(),
                replaceable: usable >= pipeline.replication.replicas(),
                busy: busy.contains(&pipeline.id),
                now_ms: at_ms,
            });
            let id = uuid_bytes(pipeline.id);
            match verdict {
                Verdict::Keep => {}
                Verdict::Open => {
                    tracing::info!(pipeline = %pipeline.id, kind = %pipeline.replication, "pipeline opens");
                    commands.push(Command::OpenPipeline(OpenPipeline { id }));
                }
                Verdict::Close(reason) => {
                    tracing::info!(pipeline = %pipeline.id, reason, "pipeline closes");
                    commands.push(Command::ClosePipeline(ClosePipeline { id, at_ms }));
                }
                Verdict::Remove => {
                    self.scm.reports.forget(pipeline.id);
                    commands.push(Command::RemovePipeline(RemovePipeline { id }));
                }
            }
        }
        commands
    }

    /// Pipelines with containers that still close.
    fn busy_pipelines(&self) -> HashSet<PipelineId> {
        let model = self.scm.store.model();
        let unsettled = model.unsettled().filter_map(|id| model.container(id));
        let closing = unsettled.filter(|container| container.state != LifeCycleState::Deleting);
        closing.map(|container| container.pipeline).collect()
    }

    fn plan_pipelines(&self) -> Vec<Command> {
        let views = self.scm.nodes.views();
        let model = self.scm.store.model();
        // A pipeline can only be made of datanodes that are on record.
        let usable = views
            .iter()
            .filter(|v| v.is_usable() && model.datanode(v.id).is_some());
        let usable: Vec<_> = usable.map(|view| view.id).collect();
        let alive = model
            .pipelines()
            .map(AsRef::as_ref)
            .filter(|p: &&Pipeline| p.is_alive());
        let planned = plan(&usable, alive, self.scm.settings.pipelines);
        let command = |new: NewPipeline| {
            Command::AddPipeline(AddPipeline {
                id: uuid_bytes(self.scm.rng.uuid()),
                factor: new.replication.factor() as i32,
                members: new.members.iter().map(|m| uuid_bytes(*m)).collect(),
                suggested_leader: uuid_bytes(new.leader),
                at_ms: self.scm.clock.wall_ms(),
            })
        };
        planned.into_iter().map(command).collect()
    }

    /// Tells members to make what they lack and to leave what is closed or unknown.
    pub(super) fn tell_members(&self, now: Duration) {
        for pipeline in self.pipelines() {
            for member in &pipeline.members {
                let report = self.scm.reports.report(pipeline.id, *member);
                match (pipeline.is_alive(), report) {
                    (true, None) => self.tell_to_create(&pipeline, *member, now),
                    (true, Some(report)) => self.tell_places(&pipeline, *member, &report, now),
                    (false, Some(_)) => self.tell_to_leave(pipeline.id, *member, now),
                    (false, None) => {}
                }
            }
        }
        let model_knows = |id| self.scm.store.model().pipeline(id).is_some();
        for (id, members) in self.scm.reports.strangers(model_knows) {
            for member in members {
                self.tell_to_leave(id, member, now);
            }
        }
    }

    /// Tells a member where the others are, when it believes them elsewhere.
    fn tell_places(
        &self,
        pipeline: &Pipeline,
        member: DatanodeId,
        report: &MemberReport,
        now: Duration,
    ) {
        let info = self.scm.pipeline_to_wire(pipeline);
        let places = info.places();
        if report.places == places {
            return;
        }
        let command = NodeCommand {
            key: CommandKey::PipelineMoved(pipeline.id, fingerprint(&places)),
            body: Body::CreatePipeline(wire::CreatePipeline {
                pipeline: Some(info),
            }),
            patience: PATIENCE,
        };
        self.scm.nodes.tell(member, command, now);
    }

    fn tell_to_create(&self, pipeline: &Pipeline, member: DatanodeId, now: Duration) {
        let young = self.scm.clock.wall_ms().saturating_sub(pipeline.changed_ms)
            < crate::pipeline::transition::CREATION_LIMIT_MS;
        if !young || self.scm.nodes.age(member, now).is_none() {
            return;
        }
        let create = wire::CreatePipeline {
            pipeline: Some(self.scm.pipeline_to_wire(pipeline)),
        };
        let command = NodeCommand {
            key: CommandKey::CreatePipeline(pipeline.id),
            body: Body::CreatePipeline(create),
            patience: PATIENCE,
        };
        self.scm.nodes.tell(member, command, now);
    }

    fn tell_to_leave(&self, id: PipelineId, member: DatanodeId, now: Duration) {
        let command = NodeCommand {
            key: CommandKey::ClosePipeline(id),
            body: Body::ClosePipeline(wire::ClosePipeline {
                pipeline_id: id.to_string(),
            }),
            patience: PATIENCE,
        };
        self.scm.nodes.tell(member, command, now);
    }
}

/// Tells one list of places from another, within this process.
fn fingerprint(places: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    places.hash(&mut hasher);
    hasher.finish()
}
