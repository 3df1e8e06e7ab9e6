//! Which pipeline and which container take the next block: pure choices.

use std::collections::HashSet;

use ozone_common::ids::{ContainerId, DatanodeId, PipelineId};
use ozone_proto::hdds::ExcludeListProto;

use crate::container::id_from_wire;
use crate::pipeline::Pipeline;
use crate::pipeline::wire::parse_pipeline_id;

/// What a client had trouble with, and wants no block on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Excluded {
    pub(crate) nodes: HashSet<DatanodeId>,
    pub(crate) containers: HashSet<ContainerId>,
    pub(crate) pipelines: HashSet<PipelineId>,
}

impl Excluded {
    /// From a request; what is no id is passed over.
    pub(crate) fn from_proto(list: &ExcludeListProto) -> Self {
        let nodes = list.datanodes.iter().filter_map(|id| id.parse().ok());
        let containers = list.container_ids.iter().filter_map(|id| id_from_wire(*id));
        let pipelines = list.pipeline_ids.iter().filter_map(parse_pipeline_id);
        Self {
            nodes: nodes.collect(),
            containers: containers.collect(),
            pipelines: pipelines.collect(),
        }
    }

    fn allows(&self, pipeline: &Pipeline) -> bool {
        !self.pipelines.contains(&pipeline.id)
            && !pipeline
                .members
                .iter()
                .any(|member| self.nodes.contains(member))
    }
}

/// The pipelines that may take a block: those not excluded, or all when that leaves none.
pub(crate) fn candidates<P: AsRef<Pipeline>>(open: Vec<P>, excluded: &Excluded) -> Vec<P> {
    if open
        .iter()
        .any(|pipeline| excluded.allows(pipeline.as_ref()))
    {
        let allowed = open.into_iter();
        return allowed
            .filter(|pipeline| excluded.allows(pipeline.as_ref()))
            .collect();
    }
    open
}

/// The container that takes a block of `size` bytes: the `turn`th of those with room, rather one
/// that is not excluded. `used` tells how full a container is.
pub(crate) fn container(
    open: &[ContainerId],
    excluded: &Excluded,
    size: u64,
    limit: u64,
    turn: usize,
    used: impl Fn(ContainerId) -> u64,
) -> Option<ContainerId> {
    let roomy = |id: &ContainerId| used(*id).saturating_add(size) <= limit;
    let wanted = |id: &ContainerId| !excluded.containers.contains(id);
    let rotated = || {
        open.iter()
            .cycle()
            .skip(turn % open.len().max(1))
            .take(open.len())
    };
    rotated().copied().find(|id| wanted(id) && roomy(id))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::sync::Arc;

    use ozone_proto::hdds::PipelineState;

    use super::*;
    use crate::ops::testing::{node_id, pipeline_id};
    use crate::pipeline::{Replication, wire};

    fn pipeline(id: u128, members: &[u128]) -> Arc<Pipeline> {
        Arc::new(Pipeline {
            id: pipeline_id(id),
            replication: Replication::Three,
            state: PipelineState::PipelineOpen,
            members: members.iter().map(|n| node_id(*n)).collect(),
            suggested_leader: None,
            changed_ms: 0,
        })
    }

    fn ids(pipelines: &[Arc<Pipeline>]) -> Vec<PipelineId> {
        pipelines.iter().map(|pipeline| pipeline.id).collect()
    }

    #[test]
    fn exclusions_count_until_they_leave_nothing() {
        let open = vec![pipeline(1, &[1, 2, 3]), pipeline(2, &[4, 5, 6])];
        let list = ExcludeListProto {
            datanodes: vec![node_id(2).to_string(), "nonsense".to_owned()],
            container_ids: vec![],
            pipeline_ids: vec![],
        };
        let mut excluded = Excluded::from_proto(&list);
        assert_eq!(ids(&candidates(open.clone(), &excluded)), [pipeline_id(2)]);
        excluded.pipelines.insert(pipeline_id(2));
        assert_eq!(candidates(open, &excluded).len(), 2);
        let by_id = ExcludeListProto {
            pipeline_ids: vec![wire::pipeline_id(pipeline_id(7))],
            ..ExcludeListProto::default()
        };
        assert!(
            Excluded::from_proto(&by_id)
                .pipelines
                .contains(&pipeline_id(7))
        );
    }

    #[test]
    fn containers_take_turns_and_full_ones_are_passed_over() {
        let open = [ContainerId(1), ContainerId(2), ContainerId(3)];
        let none = Excluded::default();
        let pick = |turn| {
            container(&open, &none, 10, 100, turn, |id| match id.get() {
                2 => 95,
                _ => 0,
            })
        };
        assert_eq!(pick(0), Some(ContainerId(1)));
        assert_eq!(pick(1), Some(ContainerId(3)));
        assert_eq!(pick(2), Some(ContainerId(3)));
        assert_eq!(pick(3), Some(ContainerId(1)));
        let full = container(&open, &none, 10, 100, 0, |_| 91);
        assert_eq!(full, None);
        assert_eq!(container(&[], &none, 10, 100, 5, |_| 0), None);
    }

    #[test]
    fn excluded_containers_are_not_chosen() {
        let open = [ContainerId(1), ContainerId(2)];
        let excluded = Excluded {
            containers: HashSet::from([ContainerId(1)]),
            ..Excluded::default()
        };
        let pick = container(&open, &excluded, 1, 100, 0, |_| 0);
        assert_eq!(pick, Some(ContainerId(2)));
    }
}
