//! What becomes of a pipeline: a pure decision from its state and what its members say.

use ozone_proto::hdds::PipelineState;

use super::reports::Complaint;
use super::{Pipeline, Replication};

/// A pipeline that its members do not make within this time is given up; ms.
pub(crate) const CREATION_LIMIT_MS: u64 = 300_000;
/// For so long one that could go on with a majority waits for its last member, which would miss the first bytes and
/// have to fetch them; ms.
const COMPANY_MS: u64 = 5_000;

/// How a member stands to a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It reports the pipeline.
    Serving {
        /// Whether it knows a leader.
        leader: bool,
    },
    /// It has registered, and does not have the pipeline.
    Missing,
    /// Nothing was heard of it since SCM started.
    Silent,
    /// It is dead.
    Lost,
}

/// What a decision sees.
#[derive(Debug, Clone)]
pub(crate) struct Situation<'a> {
    /// The pipeline.
    pub(crate) pipeline: &'a Pipeline,
    /// Its members, in order.
    pub(crate) members: &'a [Standing],
    /// Why a member wants it closed, if one does.
    pub(crate) complaint: Option<&'a Complaint>,
    /// Whether enough healthy datanodes exist for another of its kind.
    pub(crate) replaceable: bool,
    /// Whether containers of it are still on their way to closed.
    pub(crate) busy: bool,
    /// Wall time; ms since 1970.
    pub(crate) now_ms: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Keep,
    /// It takes blocks from now on.
    Open,
    /// It takes no more blocks, for this reason.
    Close(String),
    /// It is gone everywhere, and can be forgotten.
    Remove,
}

impl Situation<'_> {
    /// Whether members were given the time that they need to make it.
    pub(crate) fn is_young(&self) -> bool {
        self.age_ms() < CREATION_LIMIT_MS
    }

    fn age_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.pipeline.changed_ms)
    }

    fn count(&self, is: impl Fn(&Standing) -> bool) -> usize {
        self.members.iter().filter(|member| is(member)).count()
    }

    fn serving(&self) -> usize {
        self.count(|member| matches!(member, Standing::Serving { .. }))
    }

    fn lost(&self) -> usize {
        self.count(|member| *member == Standing::Lost)
    }

    /// Members that will not serve it again: dead, or without it although it is not new.
    fn gone(&self) -> usize {
        let young = self.is_young();
        self.lost() + self.count(|member| *member == Standing::Missing && !young)
    }

    fn judge_allocated(&self) -> Verdict {
        if self.lost() > 0 {
            return Verdict::Close("a member died before it was open".to_owned());
        }
        if !self.is_young() {
            return Verdict::Close("its members did not make it in time".to_owned());
        }
        let led = self.members.contains(&Standing::Serving { leader: true });
        let ready = match self.pipeline.replication {
            Replication::One => self.serving() == 1,
            Replication::Three => led && self.serving() >= self.company(),
        };
        match ready {
            true => Verdict::Open,
            false => Verdict::Keep,
        }
    }

    /// Members of three that are enough to open with.
    fn company(&self) -> usize {
        match self.age_ms() < COMPANY_MS {
            true => Replication::Three.replicas(),
            false => Replication::Three.majority(),
        }
    }

    fn judge_open(&self) -> Verdict {
        let (gone, replication) = (self.gone(), self.pipeline.replication);
        if gone > replication.replicas() - replication.majority() {
            return Verdict::Close(format!("{gone} of {} members are gone", self.members.len()));
        }
        // With a majority it goes on as long as nothing better can be made.
        match gone > 0 && self.replaceable {
            true => Verdict::Close("a member is gone and others can take over".to_owned()),
            false => Verdict::Keep,
        }
    }

    fn judge_closed(&self) -> Verdict {
        let left = |member: &Standing| matches!(member, Standing::Missing | Standing::Lost);
        let empty = self.members.iter().all(left);
        match empty && (!self.busy || self.lost() > 0) {
            true => Verdict::Remove,
            false => Verdict::Keep,
        }
    }
}

/// What becomes of a pipeline.
pub(crate) fn judge(situation: &Situation<'_>) -> Verdict {
    let complaint = situation
        .complaint
        .filter(|_| situation.pipeline.is_alive())
        .filter(|complaint| !complaint.can_wait || situation.replaceable);
    if let Some(complaint) = complaint {
        return Verdict::Close(complaint.reason.clone());
    }
    match situation.pipeline.state {
        PipelineState::PipelineAllocated => situation.judge_allocated(),
        PipelineState::PipelineOpen => situation.judge_open(),
        PipelineState::PipelineClosed => situation.judge_closed(),
        PipelineState::PipelineDormant => Verdict::Keep,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::Standing::{Lost, Missing, Silent};
    use super::*;
    use crate::ops::testing::{node_id, pipeline_id};

    const LED: Standing = Standing::Serving { leader: true };
    const UNLED: Standing = Standing::Serving { leader: false };
    const OLD_MS: u64 = CREATION_LIMIT_MS * 2;

    fn pipeline(state: PipelineState, members: &[Standing]) -> Pipeline {
        let replication = match members.len() {
            1 => Replication::One,
            _ => Replication::Three,
        };
        Pipeline {
            id: pipeline_id(9),
            replication,
            state,
            members: (1..).map(node_id).take(members.len()).collect(),
            suggested_leader: None,
            changed_ms: 0,
        }
    }

    fn verdict(state: PipelineState, members: &[Standing], now_ms: u64) -> Verdict {
        judge(&Situation {
            pipeline: &pipeline(state, members),
            members,
            complaint: None,
            replaceable: false,
            busy: false,
            now_ms,
        })
    }

    fn closes(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Close(_))
    }

    #[test]
    fn a_single_opens_once_reported() {
        let state = PipelineState::PipelineAllocated;
        assert_eq!(verdict(state, &[Missing], 0), Verdict::Keep);
        assert_eq!(verdict(state, &[UNLED], 0), Verdict::Open);
    }

    #[test]
    fn three_open_once_all_are_there_and_one_leads() {
        let state = PipelineState::PipelineAllocated;
        assert_eq!(verdict(state, &[UNLED, UNLED, UNLED], 0), Verdict::Keep);
        assert_eq!(verdict(state, &[LED, UNLED, UNLED], 0), Verdict::Open);
    }

    #[test]
    fn a_majority_with_a_leader_waits_for_the_third_but_not_for_ever() {
        let state = PipelineState::PipelineAllocated;
        let two = [LED, UNLED, Missing];
        assert_eq!(verdict(state, &two, COMPANY_MS - 1), Verdict::Keep);
        assert_eq!(verdict(state, &two, COMPANY_MS), Verdict::Open);
        let unled = [UNLED, UNLED, Missing];
        assert_eq!(verdict(state, &unled, COMPANY_MS), Verdict::Keep);
        let one = [LED, Missing, Missing];
        assert_eq!(verdict(state, &one, COMPANY_MS), Verdict::Keep);
    }

    #[test]
    fn what_is_not_made_in_time_is_closed() {
        let state = PipelineState::PipelineAllocated;
        assert!(closes(verdict(state, &[LED, Missing, Missing], OLD_MS)));
        assert!(closes(verdict(state, &[LED, LED, Lost], 0)));
    }

    #[test]
    fn an_open_one_survives_the_loss_of_a_minority_until_others_can_take_over() {
        let state = PipelineState::PipelineOpen;
        let members = [LED, LED, Lost];
        assert_eq!(verdict(state, &members, OLD_MS), Verdict::Keep);
        let replaceable = Situation {
            pipeline: &pipeline(state, &members),
            members: &members,
            complaint: None,
            replaceable: true,
            busy: false,
            now_ms: OLD_MS,
        };
        assert!(closes(judge(&replaceable)));
        assert!(closes(verdict(state, &[LED, Lost, Lost], OLD_MS)));
        assert!(closes(verdict(state, &[Lost], OLD_MS)));
    }

    #[test]
    fn members_not_heard_of_yet_are_waited_for() {
        let state = PipelineState::PipelineOpen;
        assert_eq!(verdict(state, &[Silent], OLD_MS), Verdict::Keep);
        assert_eq!(
            verdict(state, &[Silent, Silent, Silent], OLD_MS),
            Verdict::Keep
        );
        assert_eq!(verdict(state, &[LED, LED, Missing], 0), Verdict::Keep);
        assert!(closes(verdict(state, &[Missing], OLD_MS)));
    }

    #[test]
    fn a_complaint_closes() {
        let members = [LED];
        let verdict = |can_wait, replaceable| {
            let complaint = Complaint {
                reason: "log disk failed".to_owned(),
                can_wait,
            };
            judge(&Situation {
                pipeline: &pipeline(PipelineState::PipelineOpen, &members),
                members: &members,
                complaint: Some(&complaint),
                replaceable,
                busy: false,
                now_ms: 0,
            })
        };
        let close = Verdict::Close("log disk failed".to_owned());
        assert_eq!(verdict(false, false), close);
        assert_eq!(verdict(true, true), close);
        assert_eq!(verdict(true, false), Verdict::Keep, "nothing can take over");
    }

    #[test]
    fn a_closed_one_is_removed_when_nobody_has_it_and_nothing_closes_through_it() {
        let state = PipelineState::PipelineClosed;
        assert_eq!(verdict(state, &[LED, Missing, Missing], 0), Verdict::Keep);
        assert_eq!(
            verdict(state, &[Silent, Missing, Missing], 0),
            Verdict::Keep
        );
        assert_eq!(
            verdict(state, &[Missing, Missing, Lost], 0),
            Verdict::Remove
        );
        let busy = |members: &[Standing]| {
            judge(&Situation {
                pipeline: &pipeline(state, members),
                members,
                complaint: None,
                replaceable: false,
                busy: true,
                now_ms: 0,
            })
        };
        assert_eq!(busy(&[Missing]), Verdict::Keep);
        assert_eq!(busy(&[Lost]), Verdict::Remove);
    }
}
