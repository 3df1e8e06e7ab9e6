//! Writing while datanodes fail: nothing that was taken is lost, and nothing is taken for durable
//! that is not.

use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use ozone_client::ClientError;
use ozone_proto::hdds::datanode::Result as Code;

use crate::cluster::{Cluster, MIB, assert_same, data};

/// Writes 12 MiB in pieces of 1 MiB.
async fn write_pieces(cluster: &Cluster) -> Bytes {
    let content = data(12 * MIB);
    let mut writer = cluster.writer().await;
    for n in 0..12 {
        let at = n * MIB;
        let piece = content.slice(at as usize..(at + MIB) as usize);
        writer.write(at, piece).await.unwrap();
    }
    cluster.commit(writer.flush().await.unwrap()).await;
    writer.close().await;
    content
}

#[tokio::test]
async fn a_container_that_closes_mid_write_loses_nothing() {
    let cluster = Cluster::with(&[1, 1], |config| config.write_window = 4 * MIB as usize).await;
    cluster.nodes[0].closes_after.store(7, SeqCst);
    let content = write_pieces(&cluster).await;
    assert!(
        cluster.nodes[0].puts.load(SeqCst) > 0,
        "some was proven on the first"
    );
    let excluded = cluster.om.excluded.lock().clone();
    assert!(
        excluded.iter().any(|list| list.container_ids == [1]),
        "{excluded:?}"
    );
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn a_node_that_dies_mid_write_is_replaced_by_a_new_block_elsewhere() {
    let cluster = Cluster::start(&[1, 1]).await;
    cluster.nodes[0].dies_after.store(5, SeqCst);
    let content = write_pieces(&cluster).await;
    let excluded = cluster.om.excluded.lock().clone();
    assert!(
        excluded.iter().any(|list| list.datanodes == ["node-0"]),
        "{excluded:?}"
    );
    assert!(cluster.nodes[1].puts.load(SeqCst) > 0);
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn a_pipeline_with_a_live_majority_goes_on_without_the_dead_member() {
    let cluster = Cluster::start(&[3]).await;
    cluster.nodes[0].dies_after.store(4, SeqCst);
    let content = write_pieces(&cluster).await;
    assert!(cluster.nodes[1].puts.load(SeqCst) > 0);
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn a_follower_that_is_dead_does_not_stop_a_write() {
    let cluster = Cluster::with(&[3, 3], |config| config.write_window = 2 * MIB as usize).await;
    cluster.nodes[2].die();
    let content = write_pieces(&cluster).await;
    assert!(
        cluster.nodes[3].puts.load(SeqCst) > 0,
        "a whole pipeline is preferred"
    );
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn the_leader_of_the_pipeline_is_followed() {
    let cluster = Cluster::start(&[3]).await;
    *cluster.nodes[0].leader.lock() = Some("node-2".into());
    let content = write_pieces(&cluster).await;
    assert_eq!(cluster.nodes[0].puts.load(SeqCst), 0);
    assert!(cluster.nodes[2].puts.load(SeqCst) > 0);
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn a_flush_that_fails_keeps_the_bytes_for_the_next() {
    let cluster = Cluster::start(&[1]).await;
    *cluster.nodes[0].refuses.lock() = Some(Code::DiskOutOfSpace);
    let content = data(3 * MIB);
    let mut writer = cluster.writer().await;
    writer.write(0, content.clone()).await.unwrap();
    let error = writer.flush().await.unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Datanode {
                result: Code::DiskOutOfSpace,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.errno(), libc::ENOSPC);
    *cluster.nodes[0].refuses.lock() = None;
    cluster.commit(writer.flush().await.unwrap()).await;
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn what_cannot_be_proven_is_not_sent_whole_at_each_try() {
    let cluster = Cluster::start(&[1, 1]).await;
    let refuse = |code| {
        let all = cluster.nodes.iter();
        all.for_each(|node| *node.proves_nothing.lock() = code);
    };
    refuse(Some(Code::ContainerNotOpen));
    let content = data(12 * MIB);
    let mut writer = cluster.writer().await;
    writer.write(0, content.clone()).await.unwrap();
    writer.flush().await.unwrap_err();
    let sent = |cluster: &Cluster| -> u64 {
        let all = cluster.nodes.iter();
        all.map(|node| node.chunks.load(SeqCst)).sum()
    };
    let tried = sent(&cluster);
    refuse(None);
    cluster.commit(writer.flush().await.unwrap()).await;
    let whole = cluster
        .nodes
        .iter()
        .flat_map(|node| node.committed_chunks());
    let whole = whole.count() as u64;
    assert!(
        tried <= whole + 3,
        "{tried} chunks were sent in 4 tries, {whole} make up all"
    );
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn order_of_writes_survives_a_rewrite() {
    let cluster = Cluster::start(&[1, 1]).await;
    cluster.nodes[0].closes_after.store(1, SeqCst);
    let mut writer = cluster.writer().await;
    let mut want = vec![0; 2 * MIB as usize];
    for (at, fill) in [(0, 1_u8), (MIB, 2), (MIB / 2, 3), (MIB / 4, 4)] {
        let at = at as usize;
        want[at..at + MIB as usize].fill(fill);
        writer
            .write(at as u64, Bytes::from(vec![fill; MIB as usize]))
            .await
            .unwrap();
    }
    cluster.commit(writer.flush().await.unwrap()).await;
    assert_same(&cluster.read_all().await, &want);
}
