//! The life of containers: closed, deleted, their bytes given back.

use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::{CreateContainerRequestProto, Result as Code, Type};
use ozone_proto::scm::command::Body;
use ozone_proto::scm::{
    CloseContainer, ClosePipeline, DeleteBlocks, DeleteContainer, DeletedBlocksTransaction,
    ReplicaState,
};

use crate::bed::{BLOCK, Bed};
use crate::common::data;

#[tokio::test(flavor = "multi_thread")]
async fn deleted_blocks_give_their_bytes_back() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    client.store(BLOCK, &data(500_000, 1)).await;
    client.store((1, 102), &data(1_000, 2)).await;
    let on_disk = || walk(bed.dir.path(), "101.block");
    assert_eq!(on_disk(), Some(500_000));
    let transaction = DeletedBlocksTransaction {
        tx_id: 9,
        container_id: 1,
        local_ids: vec![101],
    };
    let gone = DeletedBlocksTransaction {
        tx_id: 10,
        container_id: 77,
        local_ids: vec![5],
    };
    for _ in 0..2 {
        let transactions = vec![transaction.clone(), gone.clone()];
        let delete = Body::DeleteBlocks(DeleteBlocks { transactions });
        let status = bed.scm.execute(bed.datanode.uuid(), delete).await;
        assert!(status.success, "{}", status.message);
        assert_eq!(status.deleted_transactions, [9, 10]);
    }
    assert_eq!(on_disk(), None);
    assert_eq!(
        client.read(BLOCK, 0, None).await.unwrap_err().0,
        Code::NoSuchBlock
    );
    client.read((1, 102), 0, None).await.unwrap();
    bed.scm
        .replica(bed.datanode.uuid(), 1, |r| {
            r.used_bytes == 1_000 && r.block_count == 1
        })
        .await;
}

/// Length of the file of that name below `dir`.
fn walk(dir: &std::path::Path, name: &str) -> Option<u64> {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            if let Some(found) = walk(&entry.path(), name) {
                return Some(found);
            }
        } else if entry.file_name() == name {
            return Some(entry.metadata().unwrap().len());
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_closes_through_its_log_and_is_deleted_on_command() {
    let bed = Bed::new().await;
    let (mut client, uuid) = (bed.client().await, bed.datanode.uuid());
    client.store(BLOCK, &data(1_000, 1)).await;
    let container_id = 1;
    let pipeline_id = bed.pipeline.clone();
    let close = CloseContainer {
        container_id,
        pipeline_id,
        force: false,
    };
    assert!(
        bed.scm
            .execute(uuid, Body::CloseContainer(close))
            .await
            .success
    );
    bed.scm
        .replica(uuid, 1, |r| r.state() == ReplicaState::ReplicaClosed)
        .await;
    let refused = client.write((1, 103), 0, b"late").await.unwrap_err();
    assert_eq!(refused.0, Code::ContainerNotOpen, "{}", refused.1);
    client.read(BLOCK, 0, None).await.unwrap();
    let delete = DeleteContainer {
        container_id,
        force: false,
    };
    let status = bed.scm.execute(uuid, Body::DeleteContainer(delete)).await;
    assert!(
        !status.success && status.message.contains("has 1 blocks"),
        "{}",
        status.message
    );
    let delete = DeleteContainer {
        container_id,
        force: true,
    };
    assert!(
        bed.scm
            .execute(uuid, Body::DeleteContainer(delete))
            .await
            .success
    );
    bed.scm
        .replica(uuid, 1, |r| r.state() == ReplicaState::ReplicaDeleted)
        .await;
    assert_eq!(
        client.read(BLOCK, 0, None).await.unwrap_err().0,
        Code::ContainerNotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_pipeline_a_container_is_quasi_closed() {
    let bed = Bed::new().await;
    let (mut client, uuid) = (bed.client().await, bed.datanode.uuid());
    client.store(BLOCK, &data(1_000, 1)).await;
    let pipeline_id = bed.pipeline.clone();
    let close = Body::ClosePipeline(ClosePipeline {
        pipeline_id: pipeline_id.clone(),
    });
    assert!(bed.scm.execute(uuid, close).await.success);
    bed.scm
        .replica(uuid, 1, |r| r.state() == ReplicaState::ReplicaQuasiClosed)
        .await;
    let gone = client.put((2, 1), vec![]).await.unwrap_err();
    assert_eq!(gone.0, Code::PipelineNotFound, "{}", gone.1);
    let force = CloseContainer {
        container_id: 1,
        pipeline_id,
        force: true,
    };
    assert!(
        bed.scm
            .execute(uuid, Body::CloseContainer(force))
            .await
            .success
    );
    bed.scm
        .replica(uuid, 1, |r| r.state() == ReplicaState::ReplicaClosed)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_outside_of_a_pipeline_makes_a_container_for_it() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    client.pipeline = uuid::Uuid::from_u128(5).to_string();
    let refused = client.write((4, 1), 0, b"data").await.unwrap_err();
    assert_eq!(refused.0, Code::PipelineNotFound, "{}", refused.1);
    let create = Request::CreateContainer(CreateContainerRequestProto::default());
    let request = client.request(Type::CreateContainer, (4, 0), create);
    let refused = client.call(request).await;
    let (code, text) = (refused.result(), refused.message());
    assert_eq!(code, Code::PipelineNotFound, "{text}");
    assert!(bed.datanode.containers().find(4).is_none());
    client.pipeline.clone_from(&bed.pipeline);
    client.write((4, 1), 0, b"data").await.unwrap();
    assert!(bed.datanode.containers().find(4).is_some());
}
