//! What members say of their pipelines: soft state.

use std::collections::{BTreeSet, HashMap};

use ozone_common::ids::{DatanodeId, PipelineId};
use ozone_proto::scm::PipelineReport;
use parking_lot::RwLock;

/// What one member says of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberReport {
    /// The leader that it follows, or is.
    pub(crate) leader: Option<DatanodeId>,
    /// Where it believes the members to be.
    pub(crate) places: Vec<String>,
}

/// Why a member wants a pipeline closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) reason: String,
    /// Only when another pipeline can take its place.
    pub(crate) can_wait: bool,
}

#[derive(Debug, Default)]
struct Known {
    members: HashMap<DatanodeId, MemberReport>,
    complaint: Option<Complaint>,
}

/// Reports of all pipelines, known to SCM or not.
#[derive(Debug, Default)]
pub(crate) struct PipelineReports {
    all: RwLock<HashMap<PipelineId, Known>>,
}

impl PipelineReports {
    /// Takes a member's reports. `complete`: they are all the pipelines that it has. True if
    /// anything is new.
    pub(crate) fn take(
        &self,
        node: DatanodeId,
        reports: &[PipelineReport],
        complete: bool,
    ) -> bool {
        let mut all = self.all.write();
        let mut changed = false;
        let mut named = BTreeSet::new();
        for report in reports {
            let Ok(id) = report.pipeline_id.parse::<PipelineId>() else {
                tracing::warn!(%node, id = report.pipeline_id, "report of a pipeline without an id");
                continue;
            };
            named.insert(id);
            let report = MemberReport {
                leader: leader_of(node, report),
                places: report.places.clone(),
            };
            let members = &mut all.entry(id).or_default().members;
            if members.get(&node) != Some(&report) {
                members.insert(node, report);
                changed = true;
            }
        }
        if complete {
            for (id, known) in all.iter_mut() {
                changed |= !named.contains(id) && known.members.remove(&node).is_some();
            }
            all.retain(|_, known| !known.members.is_empty() || known.complaint.is_some());
        }
        changed
    }

    /// A member wants a pipeline closed. What can wait is no news beside what cannot. True if it is
    /// news.
    pub(crate) fn complain(&self, id: PipelineId, complaint: Complaint) -> bool {
        let mut all = self.all.write();
        let known = &mut all.entry(id).or_default().complaint;
        let news = known
            .as_ref()
            .is_none_or(|old| old.can_wait && !complaint.can_wait);
        if news {
            *known = Some(complaint);
        }
        news
    }

    /// Why a member wants a pipeline closed, if one does.
    pub(crate) fn complaint(&self, id: PipelineId) -> Option<Complaint> {
        self.all.read().get(&id)?.complaint.clone()
    }

    /// What a member says of a pipeline, if it has it.
    pub(crate) fn report(&self, id: PipelineId, member: DatanodeId) -> Option<MemberReport> {
        self.all.read().get(&id)?.members.get(&member).cloned()
    }

    /// Whether any member has the pipeline.
    pub(crate) fn is_reported(&self, id: PipelineId) -> bool {
        let all = self.all.read();
        all.get(&id).is_some_and(|known| !known.members.is_empty())
    }

    /// The leader of a pipeline: the one who says so of itself, else whom the others follow.
    pub(crate) fn leader(&self, id: PipelineId) -> Option<DatanodeId> {
        let all = self.all.read();
        let members = &all.get(&id)?.members;
        let own = members
            .iter()
            .find(|(node, report)| report.leader == Some(**node));
        let own = own.map(|(node, _)| *node);
        own.or_else(|| members.values().find_map(|report| report.leader))
    }

    /// A member has left a pipeline.
    pub(crate) fn left(&self, id: PipelineId, member: DatanodeId) {
        if let Some(known) = self.all.write().get_mut(&id) {
            known.members.remove(&member);
        }
    }

    /// Everything that a datanode said is void.
    pub(crate) fn drop_node(&self, node: DatanodeId) {
        for known in self.all.write().values_mut() {
            known.members.remove(&node);
        }
    }

    /// A pipeline is no longer of interest.
    pub(crate) fn forget(&self, id: PipelineId) {
        self.all.write().remove(&id);
    }

    /// Pipelines that members have and `is_known` does not know, with those members.
    pub(crate) fn strangers(
        &self,
        is_known: impl Fn(PipelineId) -> bool,
    ) -> Vec<(PipelineId, Vec<DatanodeId>)> {
        let all = self.all.read();
        let unknown = all.iter().filter(|(id, _)| !is_known(**id));
        let named = unknown.map(|(id, known)| (*id, known.members.keys().copied().collect()));
        named.collect()
    }
}

fn leader_of(node: DatanodeId, report: &PipelineReport) -> Option<DatanodeId> {
    if report.is_leader {
        return Some(node);
    }
    report
        .leader_uuid
        .parse()
        .ok()
        .filter(|_| report.has_leader)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::ops::testing::{node_id, pipeline_id};

    fn report(pipeline: u128, leader: Option<u128>, node: u128) -> PipelineReport {
        PipelineReport {
            pipeline_id: pipeline_id(pipeline).to_string(),
            is_leader: leader == Some(node),
            has_leader: leader.is_some(),
            leader_uuid: leader.map(|l| node_id(l).to_string()).unwrap_or_default(),
            places: Vec::new(),
        }
    }

    #[test]
    fn a_leader_is_known_from_itself_or_its_followers() {
        let reports = PipelineReports::default();
        assert!(reports.take(node_id(1), &[report(9, None, 1)], false));
        assert_eq!(reports.leader(pipeline_id(9)), None);
        reports.take(node_id(2), &[report(9, Some(3), 2)], false);
        assert_eq!(reports.leader(pipeline_id(9)), Some(node_id(3)));
        reports.take(node_id(1), &[report(9, Some(1), 1)], false);
        assert_eq!(reports.leader(pipeline_id(9)), Some(node_id(1)));
        assert!(!reports.take(node_id(1), &[report(9, Some(1), 1)], false));
    }

    #[test]
    fn a_complete_list_takes_back_what_it_does_not_name() {
        let reports = PipelineReports::default();
        reports.take(node_id(1), &[report(8, None, 1), report(9, None, 1)], true);
        assert!(!reports.take(node_id(1), &[report(9, None, 1)], false));
        assert!(reports.is_reported(pipeline_id(8)));
        assert!(reports.take(node_id(1), &[report(9, None, 1)], true));
        assert!(!reports.is_reported(pipeline_id(8)));
        assert!(reports.report(pipeline_id(9), node_id(1)).is_some());
    }

    #[test]
    fn nonsense_in_a_report_is_passed_over() {
        let reports = PipelineReports::default();
        let bad = PipelineReport {
            pipeline_id: "nonsense".to_owned(),
            ..PipelineReport::default()
        };
        assert!(reports.take(node_id(1), &[bad, report(9, None, 1)], false));
        let strangers = reports.strangers(|_| false);
        assert_eq!(strangers, [(pipeline_id(9), vec![node_id(1)])]);
        assert!(reports.strangers(|id| id == pipeline_id(9)).is_empty());
    }
}
