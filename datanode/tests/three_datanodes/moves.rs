//! Members that come back elsewhere, or too late.

use ozone_proto::scm::command::Body;
use ozone_proto::scm::{
    CloseContainer, ClosePipeline, DeleteContainer, ReplicaState, ReplicateContainer,
};
use uuid::Uuid;

use crate::bed::Bed;
use crate::common::client::BlockWriter;
use crate::common::{data, start};

/// Writes and commits a block through the leader, on all members that are `alive`.
async fn store(bed: &Bed, alive: &[Uuid], local: i64) -> BlockWriter {
    let rest: Vec<Uuid> = alive.iter().copied().filter(|m| *m != bed.leader).collect();
    let mut leader = bed.client(bed.leader).await;
    let mut block = BlockWriter::new(1, local);
    let bytes = data(20_000, local as u64);
    block.chunk(&mut leader, &bed.details(&rest), &bytes).await;
    bed.commit(&block).await;
    block
}

async fn restart(bed: &mut Bed, member: Uuid, settings: &[(&str, &str)]) {
    let before = bed.scm.details(member).ports;
    let server = start(&bed.scm, bed.dirs[&member].path(), settings).await;
    bed.datanodes.insert(member, server);
    assert_ne!(bed.scm.details(member).ports, before, "it moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_comes_back_on_other_ports_is_found_by_the_others() {
    let mut bed = Bed::new(&[]).await;
    let moved = bed.others(bed.leader)[0];
    store(&bed, &bed.members, 1).await;
    drop(bed.datanodes.remove(&moved).unwrap());
    let rest = bed.others(moved);
    let missed = store(&bed, &rest, 2).await;
    restart(&mut bed, moved, &[]).await;
    bed.scm.tell_pipeline(&bed.pipeline, &bed.members);
    assert!(bed.read(moved, missed.block).await == missed.written);
    let all = store(&bed, &bed.members, 3).await;
    assert!(bed.read(moved, all.block).await == all.written);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_all_move_at_once_find_one_another() {
    let mut bed = Bed::new(&[]).await;
    let before = store(&bed, &bed.members, 1).await;
    bed.datanodes.clear();
    for member in bed.members.clone() {
        restart(&mut bed, member, &[]).await;
    }
    bed.scm.tell_pipeline(&bed.pipeline, &bed.members);
    bed.leader = bed.scm.leader(&bed.pipeline, &bed.members).await;
    let after = store(&bed, &bed.members, 2).await;
    for member in &bed.members {
        assert!(bed.read(*member, before.block).await == before.written);
        assert!(bed.read(*member, after.block).await == after.written);
    }
}

/// Entries that a member may lack.
const GAP: &[(&str, &str)] = &[("hdds.container.ratis.log.purge.gap", "10")];

#[tokio::test(flavor = "multi_thread")]
async fn a_member_too_far_behind_is_reported_and_gets_copies_of_its_containers() {
    let mut bed = Bed::new(GAP).await;
    let behind = bed.others(bed.leader)[0];
    let mut blocks = vec![store(&bed, &bed.members, 1).await];
    // A majority has it: this one has to have it too.
    bed.read(behind, blocks[0].block).await;
    drop(bed.datanodes.remove(&behind).unwrap());
    let rest = bed.others(behind);
    for local in 2..15 {
        blocks.push(store(&bed, &rest, local).await);
    }
    let action = bed.scm.action(bed.leader).await;
    assert!(action.can_wait, "it goes on until another can take over");
    assert_eq!(action.pipeline_id, bed.pipeline);
    // What SCM does then.
    let close = Body::CloseContainer(CloseContainer {
        container_id: 1,
        pipeline_id: bed.pipeline.clone(),
        force: false,
    });
    assert!(bed.scm.execute(bed.leader, close).await.success);
    let leave = || {
        Body::ClosePipeline(ClosePipeline {
            pipeline_id: bed.pipeline.clone(),
        })
    };
    for member in &rest {
        assert!(bed.scm.execute(*member, leave()).await.success);
    }
    let leave = leave();
    restart(&mut bed, behind, GAP).await;
    assert!(bed.scm.execute(behind, leave).await.success);
    let short = |r: &ozone_proto::scm::ContainerReplica| {
        r.state() == ReplicaState::ReplicaQuasiClosed && r.block_count == 1
    };
    bed.scm.replica(behind, 1, short).await;
    let delete = Body::DeleteContainer(DeleteContainer {
        container_id: 1,
        force: true,
    });
    assert!(bed.scm.execute(behind, delete).await.success);
    let copy = Body::ReplicateContainer(ReplicateContainer {
        container_id: 1,
        target: Some(bed.scm.details(behind)),
    });
    let copied = bed.scm.execute(bed.leader, copy).await;
    assert!(copied.success, "{}", copied.message);
    for block in &blocks {
        assert!(bed.read(behind, block.block).await == block.written);
    }
}
