//! Writing while all goes well.

use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use ozone_proto::namespace::extent::Source;
use ozone_proto::om::Type;

use crate::cluster::{Cluster, MIB, assert_same, data};

#[tokio::test]
async fn a_small_flush_rides_inline_and_touches_no_datanode() {
    let cluster = Cluster::start(&[1]).await;
    let content = data(10_000);
    cluster.store(&content).await;
    let extents = cluster.om.file.lock().extents.clone();
    assert!(
        matches!(extents[0].source, Some(Source::Inline(_))),
        "{extents:?}"
    );
    assert_eq!(cluster.om.count(Type::AllocateBlocks), 0);
    assert_eq!(cluster.nodes[0].chunks.load(SeqCst), 0);
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn a_flush_without_writes_commits_nothing() {
    let cluster = Cluster::start(&[1]).await;
    let mut writer = cluster.writer().await;
    assert!(writer.flush().await.unwrap().is_empty());
    writer.write(0, data(100_000)).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().len(), 1);
    assert!(writer.flush().await.unwrap().is_empty());
}

#[tokio::test]
async fn adjacent_writes_become_few_chunks_and_one_extent() {
    let cluster = Cluster::start(&[1]).await;
    let content = data(100 * 16_384);
    let mut writer = cluster.writer().await;
    for n in 0..100 {
        let piece = content.slice(n * 16_384..(n + 1) * 16_384);
        writer.write(n as u64 * 16_384, piece).await.unwrap();
    }
    let extents = writer.flush().await.unwrap();
    assert_eq!(extents.len(), 1);
    assert_eq!(cluster.nodes[0].chunks.load(SeqCst), 2);
    cluster.commit(extents).await;
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn large_writes_are_cut_at_the_chunk_size() {
    let cluster = Cluster::start(&[1]).await;
    let content = data(10 * MIB);
    cluster.store(&content).await;
    let mut chunks = cluster.nodes[0].committed_chunks();
    chunks.sort_unstable();
    assert_eq!(chunks, [2 * MIB, 4 * MIB, 4 * MIB]);
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn full_blocks_are_followed_by_new_ones() {
    let cluster = Cluster::with(&[3], |config| config.longest_block = 3 * MIB).await;
    let content = data(10 * MIB);
    cluster.store(&content).await;
    let extents = cluster.om.file.lock().extents.clone();
    let lengths: Vec<u64> = extents.iter().map(|extent| extent.length).collect();
    assert_eq!(lengths, [3 * MIB, 3 * MIB, 3 * MIB, MIB]);
    let calls = cluster.om.count(Type::AllocateBlocks);
    assert!(calls <= 2, "{calls} allocations for four blocks");
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn more_than_the_window_is_written_with_bounded_memory() {
    let window = 4 * MIB as usize;
    let cluster = Cluster::with(&[1], |config| config.write_window = window).await;
    let content = data(24 * MIB);
    let mut writer = cluster.writer().await;
    for n in 0..24 {
        let at = n * MIB;
        let piece = content.slice(at as usize..(at + MIB) as usize);
        writer.write(at, piece).await.unwrap();
        assert!(writer.pending() <= window + MIB as usize);
    }
    cluster.commit(writer.flush().await.unwrap()).await;
    assert_eq!(writer.pending(), 0);
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn writing_goes_on_in_the_same_block_after_a_flush() {
    let cluster = Cluster::start(&[3]).await;
    let content = data(300_000);
    let mut writer = cluster.writer().await;
    writer.write(0, content.slice(..100_001)).await.unwrap();
    let first = writer.flush().await.unwrap();
    writer
        .write(100_001, content.slice(100_001..))
        .await
        .unwrap();
    let second = writer.flush().await.unwrap();
    let block = |extents: &[ozone_proto::namespace::Extent]| match &extents[0].source {
        Some(Source::Block(block)) => (block.local, block.offset),
        other => panic!("{other:?}"),
    };
    assert_eq!(block(&first).0, block(&second).0);
    assert_eq!(block(&second).1, 100_001);
    cluster.commit(first).await;
    cluster.commit(second).await;
    assert_same(&cluster.read_all().await, &content);
}

#[tokio::test]
async fn the_last_write_to_a_byte_wins() {
    let cluster = Cluster::with(&[1], |config| config.longest_block = MIB).await;
    let mut writer = cluster.writer().await;
    let mut want = data(3 * MIB).to_vec();
    writer.write(0, Bytes::from(want.clone())).await.unwrap();
    for (at, length, fill) in [(500_000, 700_000, 1_u8), (900_000, 100, 2), (0, 50_000, 3)] {
        want[at..at + length].fill(fill);
        let piece = Bytes::from(vec![fill; length]);
        writer.write(at as u64, piece).await.unwrap();
    }
    cluster.commit(writer.flush().await.unwrap()).await;
    assert_same(&cluster.read_all().await, &want);
}

#[tokio::test]
async fn small_files_share_an_allocation() {
    let cluster = Cluster::start(&[1]).await;
    let session = cluster.session().await;
    for _ in 0..3 {
        let mut writer = cluster.client.data().writer(crate::om::DIR, &session);
        writer.write(0, data(50_000)).await.unwrap();
        writer.flush().await.unwrap();
        writer.close().await;
    }
    let calls = cluster.om.excluded.lock().len();
    assert!(calls <= 2, "{calls} allocations for three files");
}
