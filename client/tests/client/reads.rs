//! Reading: every byte is the one that was written, or there is an error.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use ozone_client::ClientError;
use ozone_proto::om::Type;

use crate::cluster::{Cluster, MIB, assert_same, data};

#[tokio::test]
async fn a_corrupt_replica_is_passed_over() {
    let cluster = Cluster::start(&[3]).await;
    let content = data(3 * MIB);
    cluster.store(&content).await;
    for (bad, other) in [(0, 1), (1, 2), (2, 0)] {
        cluster.nodes[bad].corrupt.store(true, SeqCst);
        cluster.nodes[other].corrupt.store(true, SeqCst);
        assert_same(&cluster.read_all().await, &content);
        cluster.nodes[bad].corrupt.store(false, SeqCst);
        cluster.nodes[other].corrupt.store(false, SeqCst);
    }
}

#[tokio::test]
async fn when_every_replica_is_corrupt_the_read_fails() {
    let cluster = Cluster::start(&[3]).await;
    cluster.store(&data(MIB)).await;
    for node in &cluster.nodes {
        node.corrupt.store(true, SeqCst);
    }
    let error = cluster.reader().read(0, 4096).await.unwrap_err();
    let ClientError::ChecksumMismatch { replicas, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(replicas.len(), 3);
    assert_eq!(error.errno(), libc::EIO);
}

#[tokio::test]
async fn a_dead_replica_is_passed_over_and_all_dead_is_an_error() {
    let cluster = Cluster::start(&[3]).await;
    let content = data(2 * MIB);
    cluster.store(&content).await;
    cluster.nodes[0].die();
    cluster.nodes[1].die();
    assert_same(&cluster.read_all().await, &content);
    cluster.nodes[2].die();
    let error = cluster.reader().read(0, 4096).await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }), "{error}");
    assert_eq!(error.errno(), libc::EIO);
}

#[tokio::test]
async fn replicas_that_were_just_started_are_given_time_to_learn_what_was_committed() {
    let cluster = Cluster::start(&[3]).await;
    let content = data(MIB);
    cluster.store(&content).await;
    for node in &cluster.nodes {
        node.behind.store(5, SeqCst);
    }
    assert_same(&cluster.read_all().await, &content);
    // One that is damaged does not hurry them.
    cluster.nodes[0].corrupt.store(true, SeqCst);
    for node in &cluster.nodes[1..] {
        node.behind.store(5, SeqCst);
    }
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn a_replica_that_does_not_answer_is_overtaken() {
    let hedge = Duration::from_millis(20);
    let cluster = Cluster::with(&[3], |config| config.hedge_after = hedge).await;
    let content = data(MIB);
    cluster.store(&content).await;
    cluster.nodes[0].silent.store(true, SeqCst);
    cluster.nodes[1].silent.store(true, SeqCst);
    let reading = tokio::time::timeout(Duration::from_secs(10), cluster.read_all());
    assert_same(&reading.await.unwrap(), &content);
}

#[tokio::test]
async fn holes_are_zeros_and_the_end_is_the_end() {
    let cluster = Cluster::start(&[1]).await;
    let mut writer = cluster.writer().await;
    writer
        .write(100, Bytes::from_static(b"small"))
        .await
        .unwrap();
    cluster.commit(writer.flush().await.unwrap()).await;
    let block = data(200_000);
    writer.write(MIB, block.clone()).await.unwrap();
    cluster.commit(writer.flush().await.unwrap()).await;
    let mut want = vec![0; MIB as usize + 200_000];
    want[100..105].copy_from_slice(b"small");
    want[MIB as usize..].copy_from_slice(&block);
    assert_same(&cluster.read_all().await, &want);
    let reader = cluster.reader();
    assert_same(&reader.read(98, 9).await.unwrap(), b"\0\0small\0\0");
    let end = reader.size();
    assert_same(
        &reader.read(end - 10, 100).await.unwrap(),
        &want[want.len() - 10..],
    );
    assert!(reader.read(end, 100).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_block_that_moved_is_found_by_a_new_map() {
    let cluster = Cluster::start(&[1, 1]).await;
    let content = data(MIB);
    cluster.store(&content).await;
    let reader = cluster.reader();
    reader.read(0, 10).await.unwrap();
    let maps = cluster.om.count(Type::GetExtents);
    let blocks = std::mem::take(&mut *cluster.nodes[0].blocks.lock());
    *cluster.nodes[1].blocks.lock() = blocks;
    cluster.om.move_blocks_to(1);
    // What the OM remembers is as old as what the reader knows.
    *cluster.om.remembered.lock() = Some(0);
    let end = reader.read(MIB - 10, 10).await.unwrap();
    assert_same(&end, &content[content.len() - 10..]);
    assert_eq!(cluster.om.count(Type::GetExtents), maps + 1);
}

#[tokio::test]
async fn the_map_is_asked_for_once_for_each_version_of_the_content() {
    let cluster = Cluster::start(&[1]).await;
    let content = data(2 * MIB);
    cluster.store(&content.slice(..MIB as usize)).await;
    let reader = cluster.reader();
    for at in [500_000, 10, 900_000] {
        assert_same(
            &reader.read(at, 10).await.unwrap(),
            &content[at as usize..][..10],
        );
    }
    assert_eq!(cluster.om.count(Type::GetExtents), 1);
    let mut writer = cluster.writer().await;
    writer
        .write(MIB, content.slice(MIB as usize..))
        .await
        .unwrap();
    cluster.commit(writer.flush().await.unwrap()).await;
    reader.set_inode(cluster.om.inode());
    assert_eq!(reader.size(), 2 * MIB);
    assert_same(
        &reader.read(MIB - 5, 10).await.unwrap(),
        &content[MIB as usize - 5..][..10],
    );
    assert_eq!(cluster.om.count(Type::GetExtents), 2);
}

#[tokio::test]
async fn sequential_and_random_reads_give_the_same_bytes() {
    let cluster = Cluster::with(&[3], |config| config.longest_block = 5 * MIB).await;
    let content = data(24 * MIB);
    cluster.store(&content).await;
    let reader = cluster.reader();
    let step = 128 << 10;
    let mut at = 0;
    while at < content.len() {
        let got = reader.read(at as u64, step).await.unwrap();
        assert_same(&got, &content[at..(at + step).min(content.len())]);
        at += step;
    }
    for at in [7_000_001, 3, 24_000_000, 5_242_870] {
        let got = reader.read(at as u64, 100_000).await.unwrap();
        assert_same(&got, &content[at..at + 100_000]);
    }
    let reads: u64 = cluster
        .nodes
        .iter()
        .map(|node| node.reads.load(SeqCst))
        .sum();
    assert!(reads < 60, "{reads} requests for 192 sequential reads");
}

#[tokio::test]
async fn reads_at_the_same_time_do_not_mix() {
    let cluster = Cluster::start(&[3]).await;
    let content = data(8 * MIB);
    cluster.store(&content).await;
    let reader = cluster.reader();
    let reads = (0..64_usize).map(|n| {
        let (reader, at) = (reader.clone(), n * 131_072);
        async move { (at, reader.read(at as u64, 131_072).await.unwrap()) }
    });
    for (at, got) in futures::future::join_all(reads).await {
        assert_same(&got, &content[at..at + 131_072]);
    }
}

#[tokio::test]
async fn a_block_that_nobody_holds_fails_the_reads_of_its_bytes_and_no_others() {
    let cluster = Cluster::with(&[1], |config| config.longest_block = MIB).await;
    let content = data(3 * MIB);
    cluster.store(&content).await;
    let lost = match &cluster.om.file.lock().extents[1].source {
        Some(ozone_proto::namespace::extent::Source::Block(block)) => block.local,
        other => panic!("{other:?}"),
    };
    cluster.om.lost_blocks.lock().push(lost);
    let reader = cluster.reader();
    let (first, last) = (MIB as usize, 2 * MIB as usize);
    assert_same(&reader.read(0, first).await.unwrap(), &content[..first]);
    assert_same(
        &reader.read(2 * MIB, first).await.unwrap(),
        &content[last..],
    );
    let error = reader.read(MIB - 10, 20).await.unwrap_err();
    assert_eq!(error.errno(), libc::EIO, "{error}");
}
