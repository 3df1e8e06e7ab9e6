//! Which pipelines are missing: a pure decision from who is there and what exists.

use std::collections::HashMap;

use ozone_common::ids::DatanodeId;

use super::{Pipeline, Replication};

/// What may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most three-way pipelines of one datanode.
    pub(crate) three_per_node: usize,
    /// Whether every datanode gets a pipeline of its own.
    pub(crate) ones: bool,
}

/// A pipeline to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewPipeline {
    /// Its members.
    pub(crate) members: Vec<DatanodeId>,
    /// Replicas of each block.
    pub(crate) replication: Replication,
    /// The member that should lead.
    pub(crate) leader: DatanodeId,
}

/// What is to be made for the datanodes in `usable`, beside the pipelines `alive`: one for each
/// datanode alone, and three-way ones of the datanodes that are in the fewest.
pub(crate) fn plan<'a>(
    usable: &[DatanodeId],
    alive: impl Iterator<Item = &'a Pipeline>,
    limits: Limits,
) -> Vec<NewPipeline> {
    let mut load = Load::default();
    for pipeline in alive {
        load.add(
            pipeline.replication,
            &pipeline.members,
            pipeline.suggested_leader,
        );
    }
    let mut plans = Vec::new();
    if limits.ones {
        let alone = usable.iter().filter(|node| !load.ones.contains_key(node));
        plans.extend(alone.map(|node| NewPipeline {
            members: vec![*node],
            replication: Replication::One,
            leader: *node,
        }));
    }
    while let Some(three) = next_three(usable, &load, limits.three_per_node) {
        load.add(Replication::Three, &three.members, Some(three.leader));
        plans.push(three);
    }
    plans
}

/// How much datanodes do already.
#[derive(Debug, Default)]
struct Load {
    ones: HashMap<DatanodeId, usize>,
    threes: HashMap<DatanodeId, usize>,
    leads: HashMap<DatanodeId, usize>,
    together: HashMap<(DatanodeId, DatanodeId), usize>,
}

impl Load {
    fn add(&mut self, kind: Replication, members: &[DatanodeId], leader: Option<DatanodeId>) {
        let count = match kind {
            Replication::One => &mut self.ones,
            Replication::Three => &mut self.threes,
        };
        for member in members {
            *count.entry(*member).or_default() += 1;
        }
        if kind == Replication::One {
            return;
        }
        if let Some(leader) = leader {
            *self.leads.entry(leader).or_default() += 1;
        }
        for a in members {
            for b in members.iter().filter(|b| *b != a) {
                *self.together.entry((*a, *b)).or_default() += 1;
            }
        }
    }

    fn together(&self, node: DatanodeId, others: &[DatanodeId]) -> usize {
        let shared = |other: &DatanodeId| self.together.get(&(node, *other)).copied();
        others.iter().filter_map(shared).sum()
    }
}

fn count(map: &HashMap<DatanodeId, usize>, node: DatanodeId) -> usize {
    map.get(&node).copied().unwrap_or(0)
}

/// The three with room that are in the fewest pipelines, rather strangers than old partners.
fn next_three(usable: &[DatanodeId], load: &Load, limit: usize) -> Option<NewPipeline> {
    let mut members: Vec<DatanodeId> = Vec::new();
    for _ in 0..Replication::Three.replicas() {
        let free = usable.iter().copied();
        let free = free.filter(|n| !members.contains(n) && count(&load.threes, *n) < limit);
        let best = free.min_by_key(|n| (count(&load.threes, *n), load.together(*n, &members), *n));
        members.push(best?);
    }
    let leader = members
        .iter()
        .copied()
        .min_by_key(|n| (count(&load.leads, *n), *n))?;
    Some(NewPipeline {
        members,
        replication: Replication::Three,
        leader,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_proto::hdds::PipelineState;

    use super::*;
    use crate::ops::testing::{node_id, pipeline_id};

    const LIMITS: Limits = Limits {
        three_per_node: 2,
        ones: true,
    };

    fn nodes(range: std::ops::RangeInclusive<u128>) -> Vec<DatanodeId> {
        range.map(node_id).collect()
    }

    fn existing(plans: &[NewPipeline]) -> Vec<Pipeline> {
        let numbered = plans.iter().zip(1..);
        numbered
            .map(|(plan, n)| Pipeline {
                id: pipeline_id(n),
                replication: plan.replication,
                state: PipelineState::PipelineOpen,
                members: plan.members.clone(),
                suggested_leader: Some(plan.leader),
                changed_ms: 0,
            })
            .collect()
    }

    fn threes(plans: &[NewPipeline]) -> Vec<&NewPipeline> {
        let three = |p: &&NewPipeline| p.replication == Replication::Three;
        plans.iter().filter(three).collect()
    }

    #[test]
    fn each_datanode_gets_its_own_and_two_make_no_three() {
        let plans = plan(&nodes(1..=2), std::iter::empty(), LIMITS);
        assert_eq!(plans.len(), 2);
        assert!(threes(&plans).is_empty());
    }

    #[test]
    fn three_datanodes_make_threes_with_different_leaders() {
        let plans = plan(&nodes(1..=3), std::iter::empty(), LIMITS);
        let threes = threes(&plans);
        assert_eq!((plans.len(), threes.len()), (5, 2));
        assert_ne!(threes[0].leader, threes[1].leader);
    }

    #[test]
    fn what_exists_is_not_made_again() {
        let plans = plan(&nodes(1..=3), std::iter::empty(), LIMITS);
        let alive = existing(&plans);
        assert!(plan(&nodes(1..=3), alive.iter(), LIMITS).is_empty());
        let more = plan(&nodes(1..=4), alive.iter(), LIMITS);
        assert_eq!(more.len(), 1);
        assert_eq!(more[0].members, [node_id(4)]);
    }

    #[test]
    fn partners_are_mixed_and_no_one_exceeds_its_limit() {
        let plans = plan(&nodes(1..=6), std::iter::empty(), LIMITS);
        let threes = threes(&plans);
        assert_eq!(threes.len(), 4);
        for node in nodes(1..=6) {
            let of = threes.iter().filter(|p| p.members.contains(&node)).count();
            assert_eq!(of, 2, "{node}");
        }
        let mut sets: Vec<_> = threes
            .iter()
            .map(|p| {
                let mut members = p.members.clone();
                members.sort();
                members
            })
            .collect();
        sets.sort();
        sets.dedup();
        assert_eq!(sets.len(), 4);
    }

    #[test]
    fn singles_can_be_switched_off() {
        let limits = Limits {
            three_per_node: 1,
            ones: false,
        };
        let plans = plan(&nodes(1..=3), std::iter::empty(), limits);
        assert_eq!(plans.len(), 1);
        assert_eq!(plans[0].replication, Replication::Three);
    }
}
