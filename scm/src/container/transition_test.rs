//! Every decision about a container.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use ozone_common::ids::ContainerId;
use ozone_proto::scm::ReplicaState::{
    ReplicaClosed as Closed, ReplicaClosing as Closing, ReplicaOpen as Open,
    ReplicaQuasiClosed as Quasi,
};

use super::*;
use crate::ops::testing::{node_id, pipeline_id};
use crate::pipeline::Replication;

const LIMIT: u64 = 1000;
const OPEN: PipelineStanding = PipelineStanding::Open;
const LEFT: PipelineStanding = PipelineStanding::Closed {
    cleared: true,
    member_lost: false,
};
const SERVING: PipelineStanding = PipelineStanding::Closed {
    cleared: false,
    member_lost: false,
};
const LOST: PipelineStanding = PipelineStanding::Closed {
    cleared: false,
    member_lost: true,
};

fn container(state: LifeCycleState, replication: Replication) -> Container {
    Container {
        id: ContainerId(1),
        state,
        pipeline: pipeline_id(9),
        replication,
        owner: "om".to_owned(),
        used_bytes: 0,
        blocks: 0,
        sequence_id: 0,
        changed_ms: 0,
    }
}

fn replica(node: u128, state: ReplicaState, sequence_id: u64) -> Replica {
    Replica {
        node: node_id(node),
        state,
        used_bytes: 10,
        blocks: 1,
        sequence_id,
        empty: false,
    }
}

fn decide_three(
    state: LifeCycleState,
    replicas: &[Replica],
    pipeline: PipelineStanding,
) -> Vec<Action> {
    decide(&Situation {
        container: &container(state, Replication::Three),
        replicas,
        pipeline,
        members: Some(&[node_id(1), node_id(2), node_id(3)]),
        size_limit: LIMIT,
        close_asked: false,
    })
}

fn moves_to(actions: &[Action]) -> Option<LifeCycleState> {
    match actions {
        [Action::Move { to, .. }] => Some(*to),
        _ => None,
    }
}

fn close(node: u128, force: bool) -> Action {
    Action::Close {
        node: node_id(node),
        force,
    }
}

#[test]
fn an_open_container_stays_open_while_all_is_well() {
    let replicas = [replica(1, Open, 3), replica(2, Open, 2)];
    assert!(decide_three(LifeCycleState::Open, &replicas, OPEN).is_empty());
    assert!(decide_three(LifeCycleState::Open, &[], OPEN).is_empty());
}

#[test]
fn full_asked_ended_and_orphaned_containers_close() {
    let closing = Some(LifeCycleState::Closing);
    let full = Replica {
        used_bytes: LIMIT * 9 / 10,
        ..replica(1, Open, 1)
    };
    assert_eq!(
        moves_to(&decide_three(LifeCycleState::Open, &[full], OPEN)),
        closing
    );
    let almost = Replica {
        used_bytes: LIMIT * 9 / 10 - 1,
        ..full
    };
    assert_eq!(
        moves_to(&decide_three(LifeCycleState::Open, &[almost], OPEN)),
        None
    );
    let ended = [
        replica(1, Open, 1),
        replica(2, ReplicaState::ReplicaUnhealthy, 1),
    ];
    assert_eq!(
        moves_to(&decide_three(LifeCycleState::Open, &ended, OPEN)),
        closing
    );
    assert_eq!(
        moves_to(&decide_three(LifeCycleState::Open, &[], SERVING)),
        closing
    );
    let asked = decide(&Situation {
        container: &container(LifeCycleState::Open, Replication::One),
        replicas: &[],
        pipeline: OPEN,
        members: Some(&[node_id(1)]),
        size_limit: LIMIT,
        close_asked: true,
    });
    assert_eq!(moves_to(&asked), closing);
}

#[test]
fn closing_asks_each_replica_and_follows_the_first_that_closed() {
    let open = [replica(1, Open, 3), replica(2, Closing, 3)];
    let actions = decide_three(LifeCycleState::Closing, &open, OPEN);
    assert_eq!(actions, [close(1, false), close(2, false)]);
    let closed = [replica(1, Open, 3), replica(2, Closed, 7)];
    let actions = decide_three(LifeCycleState::Closing, &closed, OPEN);
    assert!(matches!(
        actions[..],
        [Action::Move {
            to: LifeCycleState::Closed,
            sequence_id: 7,
            used_bytes: 10,
            ..
        }]
    ));
    let quasi = [replica(1, Open, 3), replica(2, Quasi, 7)];
    let actions = decide_three(LifeCycleState::Closing, &quasi, LOST);
    assert_eq!(moves_to(&actions), Some(LifeCycleState::QuasiClosed));
}

#[test]
fn a_container_that_nobody_wrote_is_deleted_once_nobody_can() {
    let decide = |pipeline| decide_three(LifeCycleState::Closing, &[], pipeline);
    assert!(decide(OPEN).is_empty());
    assert!(decide(SERVING).is_empty());
    assert!(decide(LOST).is_empty());
    assert_eq!(moves_to(&decide(LEFT)), Some(LifeCycleState::Deleting));
}

#[test]
fn quasi_closed_replicas_wait_for_all_members_or_for_a_majority_of_survivors() {
    let two = [replica(1, Quasi, 5), replica(2, Quasi, 7)];
    assert!(decide_three(LifeCycleState::QuasiClosed, &two, LEFT).is_empty());
    let longest = decide_three(LifeCycleState::QuasiClosed, &two, LOST);
    assert_eq!(longest, [close(2, true)]);
    let three = [two[0], two[1], replica(3, Quasi, 7)];
    let longest = decide_three(LifeCycleState::QuasiClosed, &three, LEFT);
    assert_eq!(longest, [close(2, true), close(3, true)]);
    let lone = [replica(1, Quasi, 5)];
    assert!(decide_three(LifeCycleState::QuasiClosed, &lone, LOST).is_empty());
    let forced = [replica(1, Quasi, 5), replica(2, Closed, 7)];
    let closed = decide_three(LifeCycleState::QuasiClosed, &forced, LOST);
    assert_eq!(moves_to(&closed), Some(LifeCycleState::Closed));
}

#[test]
fn replicas_as_long_as_the_closed_container_are_closed_and_shorter_ones_left() {
    let replicas = [
        replica(1, Closed, 7),
        replica(2, Quasi, 5),
        replica(3, Quasi, 7),
    ];
    let actions = decide_three(LifeCycleState::Closed, &replicas, LEFT);
    assert_eq!(actions, [close(3, true)]);
    // One that still closes through the pipeline only lags behind.
    let lagging = [
        replica(1, Closed, 7),
        replica(2, Open, 5),
        replica(3, Closing, 6),
    ];
    let actions = decide_three(LifeCycleState::Closed, &lagging, OPEN);
    assert_eq!(actions, [close(2, false), close(3, false)]);
}

#[test]
fn only_a_container_whose_every_replica_is_empty_is_deleted() {
    let empty = |node| Replica {
        empty: true,
        blocks: 0,
        ..replica(node, Closed, 7)
    };
    let all = [empty(1), empty(2), empty(3)];
    let actions = decide_three(LifeCycleState::Closed, &all, LEFT);
    assert_eq!(moves_to(&actions), Some(LifeCycleState::Deleting));
    assert!(decide_three(LifeCycleState::Closed, &all[..2], LEFT).is_empty());
    let one_full = [empty(1), empty(2), replica(3, Closed, 7)];
    assert!(decide_three(LifeCycleState::Closed, &one_full, LEFT).is_empty());
}

#[test]
fn a_deleted_container_loses_every_replica_that_shows_up() {
    let replicas = [replica(1, Closed, 7)];
    let delete = Action::Delete {
        node: node_id(1),
        force: false,
    };
    assert_eq!(
        decide_three(LifeCycleState::Deleting, &replicas, LEFT),
        [delete]
    );
    assert_eq!(
        decide_three(LifeCycleState::Deleted, &replicas, LEFT),
        [delete]
    );
    let gone = decide_three(LifeCycleState::Deleting, &[], LEFT);
    assert_eq!(moves_to(&gone), Some(LifeCycleState::Deleted));
}

#[test]
fn a_container_is_never_empty_before_each_member_that_wrote_it_has_said_so() {
    let empty = |node| Replica {
        empty: true,
        blocks: 0,
        ..replica(node, Closed, 0)
    };
    let decide = |replication, replicas: &[Replica], members: Option<&[DatanodeId]>| {
        let actions = decide(&Situation {
            container: &container(LifeCycleState::Closed, replication),
            replicas,
            pipeline: LOST,
            members,
            size_limit: LIMIT,
            close_asked: false,
        });
        moves_to(&actions)
    };
    let deleting = Some(LifeCycleState::Deleting);
    let one = |replicas: &[Replica], members| decide(Replication::One, replicas, members);
    let member: Option<&[DatanodeId]> = Some(&[node_id(1)]);
    assert_eq!(one(&[empty(1)], member), deleting);
    assert_eq!(one(&[empty(2)], member), None, "the member is not back");
    assert_eq!(
        one(&[empty(2)], None),
        deleting,
        "its pipeline ended long ago"
    );
    assert_eq!(one(&[empty(2), empty(1)], member), deleting);
    let back = [empty(2), replica(1, Closed, 7)];
    assert_eq!(one(&back, member), None, "it is back, and has the data");
    let members = [node_id(1), node_id(2), node_id(3)];
    let copied = [empty(1), empty(2), empty(4)];
    let three = |replicas: &[Replica]| decide(Replication::Three, replicas, Some(&members));
    assert_eq!(three(&copied), None);
    assert_eq!(three(&[copied[0], copied[1], empty(3)]), deleting);
}
