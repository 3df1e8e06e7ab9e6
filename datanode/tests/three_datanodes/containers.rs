//! Closing, deleting, copying, scanning.

use std::path::Path;

use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::command::Body;
use ozone_proto::scm::{
    CloseContainer, DeleteBlocks, DeletedBlocksTransaction, ReplicaState, ReplicateContainer,
};
use uuid::Uuid;

use crate::bed::Bed;
use crate::common::client::BlockWriter;
use crate::common::{data, start, until};

#[tokio::test(flavor = "multi_thread")]
async fn all_members_close_at_the_same_point() {
    let bed = Bed::new(&[]).await;
    let rest = bed.details(&bed.others(bed.leader));
    let mut leader = bed.client(bed.leader).await;
    let mut block = BlockWriter::new(1, 7);
    block.chunk(&mut leader, &rest, &data(10_000, 1)).await;
    bed.commit(&block).await;
    for member in &bed.members {
        let close = CloseContainer {
            container_id: 1,
            pipeline_id: bed.pipeline.clone(),
            force: false,
        };
        bed.scm.command(*member, Body::CloseContainer(close));
    }
    let closed = |r: &ozone_proto::scm::ContainerReplica| r.state() == ReplicaState::ReplicaClosed;
    let mut commits = Vec::new();
    for member in &bed.members {
        commits.push(bed.scm.replica(*member, 1, closed).await.bcsid);
    }
    assert!(
        commits.iter().all(|commit| *commit == commits[0]),
        "{commits:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_frees_the_bytes_of_every_replica() {
    let bed = Bed::new(&[]).await;
    let rest = bed.details(&bed.others(bed.leader));
    let mut leader = bed.client(bed.leader).await;
    let mut block = BlockWriter::new(1, 7);
    block.chunk(&mut leader, &rest, &data(10_000, 1)).await;
    bed.commit(&block).await;
    for member in &bed.members {
        bed.read(*member, block.block).await;
        assert!(bed.file(*member, 7).is_some());
        let transaction = DeletedBlocksTransaction {
            tx_id: 1,
            container_id: 1,
            local_ids: vec![7],
        };
        let delete = DeleteBlocks {
            transactions: vec![transaction],
        };
        let status = bed.scm.execute(*member, Body::DeleteBlocks(delete)).await;
        assert_eq!(status.deleted_transactions, [1]);
        assert!(bed.file(*member, 7).is_none());
    }
}

/// A closed container 1 with some blocks on one datanode, and two datanodes without it.
async fn with_closed_container(settings: &[(&str, &str)]) -> (Bed, Uuid, Vec<Vec<u8>>) {
    let mut bed = Bed::new(settings).await;
    let source = bed.leader;
    let (single, _) = bed.scm.pipeline(&[source]).await;
    bed.pipeline.clone_from(&single);
    let mut client = bed.client(source).await;
    let mut blocks = Vec::new();
    for local in 0..5 {
        let bytes = data(100_000 + 7 * local as usize, local as u64);
        client.store((1, local), &bytes).await;
        blocks.push(bytes);
    }
    let close = CloseContainer {
        container_id: 1,
        pipeline_id: single,
        force: false,
    };
    assert!(
        bed.scm
            .execute(source, Body::CloseContainer(close))
            .await
            .success
    );
    (bed, source, blocks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_container_is_copied_whole_and_outlives_a_restart() {
    let (mut bed, source, blocks) = with_closed_container(&[]).await;
    let target = bed.others(source)[0];
    let copy = ReplicateContainer {
        container_id: 1,
        target: Some(bed.scm.details(target)),
    };
    let status = bed
        .scm
        .execute(source, Body::ReplicateContainer(copy.clone()))
        .await;
    assert!(status.success, "{}", status.message);
    let again = bed
        .scm
        .execute(source, Body::ReplicateContainer(copy))
        .await;
    assert!(
        !again.success && again.message.contains("already"),
        "{}",
        again.message
    );
    bed.scm.replica(target, 1, |r| r.block_count == 5).await;
    drop(bed.datanodes.remove(&target).unwrap());
    let restarted = start(&bed.scm, bed.dirs[&target].path(), &[]).await;
    bed.datanodes.insert(target, restarted);
    for (local, bytes) in blocks.iter().enumerate() {
        assert!(bed.read(target, (1, local as i64)).await == *bytes);
    }
    let replica = bed.scm.replica(target, 1, |r| r.block_count == 5).await;
    assert_eq!(replica.state(), ReplicaState::ReplicaClosed);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_data_is_not_copied() {
    let (bed, source, _) = with_closed_container(&[]).await;
    let target = bed.others(source)[0];
    damage(&bed.file(source, 3).unwrap());
    let copy = ReplicateContainer {
        container_id: 1,
        target: Some(bed.scm.details(target)),
    };
    let status = bed
        .scm
        .execute(source, Body::ReplicateContainer(copy))
        .await;
    assert!(
        !status.success && status.message.contains("checksum"),
        "{}",
        status.message
    );
    assert!(bed.datanodes[&target].containers().find(1).is_none());
    assert!(bed.file(target, 0).is_none(), "nothing is left of the copy");
    bed.scm
        .replica(source, 1, |r| r.state() == ReplicaState::ReplicaUnhealthy)
        .await;
}

/// Flips one bit.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[50_000] ^= 8;
    std::fs::write(file, bytes).unwrap();
}

const SCANNING: &[(&str, &str)] = &[
    ("hdds.container.scrub.data.scan.interval", "100ms"),
    ("hdds.container.scrub.volume.bytes.per.second", "1GB"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_scanner_reports_damage_and_the_block_is_not_served() {
    let (bed, source, _) = with_closed_container(SCANNING).await;
    damage(&bed.file(source, 3).unwrap());
    bed.scm
        .replica(source, 1, |r| r.state() == ReplicaState::ReplicaUnhealthy)
        .await;
    let mut client = bed.client(source).await;
    assert_eq!(
        client.read((1, 3), 0, None).await.unwrap_err().0,
        Code::UnableToFindChunk
    );
    client.read((1, 2), 0, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_the_scanner_finds_is_repaired_from_another_member() {
    let bed = Bed::new(SCANNING).await;
    let rest = bed.details(&bed.others(bed.leader));
    let mut leader = bed.client(bed.leader).await;
    let mut block = BlockWriter::new(1, 7);
    block.chunk(&mut leader, &rest, &data(100_000, 1)).await;
    bed.commit(&block).await;
    let file = bed.file(bed.leader, 7).unwrap();
    for member in &bed.members {
        let close = CloseContainer {
            container_id: 1,
            pipeline_id: bed.pipeline.clone(),
            force: false,
        };
        assert!(
            bed.scm
                .execute(*member, Body::CloseContainer(close))
                .await
                .success
        );
    }
    bed.scm
        .replica(bed.leader, 1, |r| r.state() == ReplicaState::ReplicaClosed)
        .await;
    damage(&file);
    until("the repair", async || {
        (std::fs::read(&file).unwrap() == block.written).then_some(())
    })
    .await;
    bed.scm
        .replica(bed.leader, 1, |r| r.state() == ReplicaState::ReplicaClosed)
        .await;
    assert!(bed.read(bed.leader, block.block).await == block.written);
}
