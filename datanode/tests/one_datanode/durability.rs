//! What was committed survives what may happen to a machine.

use std::sync::Arc;

use ozone_common::disk::{Cut, FaultyDisk, RealDisk};
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::command::Body;
use ozone_proto::scm::{ClosePipeline, ReplicaState};

use crate::bed::{BLOCK, Bed};
use crate::common;
use crate::common::client::chunk_info;
use crate::common::{Client, data, start, start_on};

#[tokio::test(flavor = "multi_thread")]
async fn committed_blocks_survive_a_datanode_that_is_dropped() {
    let Bed {
        dir,
        scm,
        datanode,
        pipeline,
    } = Bed::new().await;
    let bytes = data(100_000, 1);
    let uuid = datanode.uuid();
    let mut client = Client::connect(datanode.addresses().client, scm.key(), &pipeline).await;
    let bcsid = client.store(BLOCK, &bytes).await;
    client
        .write(BLOCK, 100_000, b"never committed")
        .await
        .unwrap();
    drop(client);
    drop(datanode);
    let datanode = start(&scm, dir.path(), &[]).await;
    assert_eq!(datanode.uuid(), uuid);
    let mut client = Client::connect(datanode.addresses().client, scm.key(), &pipeline).await;
    assert_eq!(client.read(BLOCK, 0, None).await.unwrap(), bytes);
    scm.leader(&pipeline, &[uuid]).await;
    let more = data(5_000, 2);
    common::until("the pipeline goes on", async || {
        client.write(BLOCK, 100_000, &more).await.unwrap();
        let put = client
            .put(BLOCK, vec![chunk_info(100_000, &more)])
            .await
            .ok()?;
        assert!(put.1 > bcsid);
        Some(())
    })
    .await;
    assert_eq!(
        client.read(BLOCK, 0, None).await.unwrap(),
        [bytes, more].concat()
    );
    datanode.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synced_commit_survives_a_power_cut() {
    for seed in 0..6 {
        let faulty = FaultyDisk::with_power_cuts(Arc::new(RealDisk));
        let Bed {
            dir,
            scm,
            datanode,
            pipeline,
        } = Bed::on(faulty.clone()).await;
        let bytes = data(70_000, seed);
        let mut client = Client::connect(datanode.addresses().client, scm.key(), &pipeline).await;
        client.store(BLOCK, &bytes).await;
        client.write(BLOCK, 70_000, b"lazy").await.unwrap();
        drop(client);
        faulty.power_off();
        drop(datanode);
        let cut = if seed == 0 {
            Cut::Clean
        } else {
            Cut::Random(seed)
        };
        faulty.crash(cut).unwrap();
        let datanode = start_on(&scm, dir.path(), faulty).await;
        let mut client = Client::connect(datanode.addresses().client, scm.key(), &pipeline).await;
        let read = common::until("the log is replayed", async || {
            client.read(BLOCK, 0, None).await.ok()
        });
        assert_eq!(read.await, bytes, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_says_so_and_then_goes_on() {
    let faulty = FaultyDisk::new(Arc::new(RealDisk));
    let bed = Bed::on(faulty.clone()).await;
    let mut client = bed.client().await;
    client.store(BLOCK, &data(1_000, 1)).await;
    faulty.limit_room(Some((1 << 20) + 1_000));
    let refused = client
        .write(BLOCK, 1_000, &data(1_001, 2))
        .await
        .unwrap_err();
    assert_eq!(refused.0, Code::DiskOutOfSpace, "{}", refused.1);
    faulty.limit_room(None);
    client.write(BLOCK, 1_000, &data(1_001, 2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_whose_log_fails_is_told_to_all_and_replaced() {
    let faulty = FaultyDisk::new(Arc::new(RealDisk));
    let mut bed = Bed::on(faulty.clone()).await;
    let uuid = bed.datanode.uuid();
    let mut client = bed.client().await;
    let bytes = data(1_000, 1);
    client.store(BLOCK, &bytes).await;
    let lost = (BLOCK.0, BLOCK.1 + 1);
    client.write(lost, 0, &bytes).await.unwrap();
    // Nothing but the log is fsynced for this one.
    faulty.fail_sync(1);
    let put = client.put_request(lost, vec![chunk_info(0, &bytes)], false);
    assert_ne!(client.call(put.clone()).await.result(), Code::Success);
    // Who asks again is sent elsewhere at once.
    common::until("the end of the pipeline", async || {
        let answer = client.call(put.clone()).await;
        (answer.result() == Code::PipelineNotFound).then_some(())
    })
    .await;
    let action = bed.scm.action(uuid).await;
    assert_eq!(action.pipeline_id, bed.pipeline);
    assert!(!action.can_wait, "{}", action.reason);
    let health = common::http(&bed.datanode, "/health").await;
    assert!(
        health.starts_with("HTTP/1.1 503") && health.contains("has stopped"),
        "{health}"
    );
    // What SCM does then.
    let close = Body::ClosePipeline(ClosePipeline {
        pipeline_id: bed.pipeline.clone(),
    });
    let closed = bed.scm.execute(uuid, close).await;
    assert!(closed.success, "{}", closed.message);
    assert_eq!(client.read(BLOCK, 0, None).await.unwrap(), bytes);
    (bed.pipeline, _) = bed.scm.pipeline(&[uuid]).await;
    bed.client().await.store((2, 1), &bytes).await;
    let health = common::http(&bed.datanode, "/health").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_fails_the_commit_and_the_volume() {
    let faulty = FaultyDisk::new(Arc::new(RealDisk));
    let bed = Bed::on(faulty.clone()).await;
    let mut client = bed.client().await;
    let bytes = data(1_000, 1);
    client.write(BLOCK, 0, &bytes).await.unwrap();
    faulty.fail_sync(1);
    let refused = client
        .put(BLOCK, vec![chunk_info(0, &bytes)])
        .await
        .unwrap_err();
    assert_eq!(refused.0, Code::IoException, "{}", refused.1);
    assert_eq!(bed.datanode.volume_failures().len(), 1);
    bed.scm
        .replica(bed.datanode.uuid(), 1, |r| {
            r.state() == ReplicaState::ReplicaUnhealthy
        })
        .await;
    assert!(bed.scm.storage(bed.datanode.uuid())[0].failed);
}
