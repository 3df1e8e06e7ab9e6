//! Chunks are passed on, commits are by majority.

use ozone_proto::hdds::datanode::Result as Code;
use uuid::Uuid;

use crate::bed::{Bed, sorted};
use crate::common::client::{BlockWriter, chunk_info};
use crate::common::{data, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_goes_to_all_members_and_is_read_from_any() {
    let bed = Bed::new(&[]).await;
    let rest = bed.details(&bed.others(bed.leader));
    let mut leader = bed.client(bed.leader).await;
    let mut block = BlockWriter::new(1, 7);
    let everyone = sorted(bed.members.iter().map(Uuid::to_string).collect());
    for seed in 0..5 {
        let stored = block.chunk(&mut leader, &rest, &data(700_000, seed)).await;
        assert_eq!(sorted(stored), everyone);
    }
    let (length, bcsid) = bed.commit(&block).await;
    assert_eq!(length, 3_500_000);
    for member in &bed.members {
        assert!(bed.read(*member, block.block).await == block.written);
        bed.scm
            .replica(*member, 1, |r| {
                r.used_bytes == 3_500_000 && r.bcsid == bcsid
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_lead_names_the_one_that_does() {
    let bed = Bed::new(&[]).await;
    until("the leader's name", async || {
        let leader = bed.leader().await;
        let follower = bed.others(leader)[0];
        let mut client = bed.client(follower).await;
        client.write((1, 7), 0, b"bytes").await.unwrap();
        let request = client.put_request((1, 7), vec![chunk_info(0, b"bytes")], true);
        let answer = client.call(request).await;
        let named = answer.leader_uuid == Some(leader.to_string());
        (answer.result() == Code::PipelineNotLeader && named).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_on_a_minority_are_not_committed() {
    let bed = Bed::new(&[]).await;
    let mut blocks = 7..;
    let refused = until("an answer of the leader", async || {
        let block = (1, blocks.next().unwrap());
        let mut leader = bed.client(bed.leader().await).await;
        leader.write(block, 0, b"bytes").await.unwrap();
        let put = leader.put(block, vec![chunk_info(0, b"bytes")]).await;
        Some(put.unwrap_err()).filter(|(code, _)| *code != Code::PipelineNotLeader)
    })
    .await;
    assert_eq!(refused.0, Code::IoException);
    assert!(refused.1.contains("on 1 of 3 members"), "{}", refused.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_left_out_fetches_what_was_committed() {
    let bed = Bed::new(&[]).await;
    let others = bed.others(bed.leader);
    let mut leader = bed.client(bed.leader).await;
    let mut block = BlockWriter::new(1, 7);
    for seed in 0..3 {
        let stored = block
            .chunk(
                &mut leader,
                &bed.details(&others[..1]),
                &data(300_000, seed),
            )
            .await;
        assert_eq!(stored.len(), 2);
        bed.commit(&block).await;
    }
    assert!(bed.read(others[1], block.block).await == block.written);
    // Once it has caught up, it takes part again.
    let stored = block
        .chunk(&mut leader, &bed.details(&others), &data(1_000, 9))
        .await;
    assert_eq!(stored.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_the_bytes_commits_what_the_others_have() {
    let bed = Bed::new(&[]).await;
    let others = bed.others(bed.leader);
    let mut head = bed.client(others[0]).await;
    let mut block = BlockWriter::new(1, 7);
    let stored = block
        .chunk(&mut head, &bed.details(&others[1..]), &data(300_000, 1))
        .await;
    assert_eq!(stored.len(), 2);
    assert_eq!(bed.commit(&block).await.0, 300_000);
    assert!(bed.read(bed.leader, block.block).await == block.written);
}

/// Writes on after `victim` was killed; the head of the chain is `head`.
async fn goes_on_without(bed: &mut Bed, head: Uuid, victim: Uuid) {
    let rest: Vec<Uuid> = bed.others(head);
    // The victim stands between the others: it is the one that passes chunks on.
    let mut order: Vec<Uuid> = vec![victim];
    order.extend(rest.iter().copied().filter(|m| *m != victim));
    let order = bed.details(&order);
    let mut writer = bed.client(head).await;
    let mut block = BlockWriter::new(1, 7);
    for seed in 0..4 {
        block.chunk(&mut writer, &order, &data(200_000, seed)).await;
    }
    drop(bed.datanodes.remove(&victim).unwrap());
    for seed in 4..10 {
        let stored = block.chunk(&mut writer, &order, &data(200_000, seed)).await;
        assert_eq!(stored.len(), 2, "{stored:?}");
    }
    assert_eq!(bed.commit(&block).await.0, 2_000_000);
    for member in bed.others(victim) {
        assert!(bed.read(member, block.block).await == block.written);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_goes_on_when_a_follower_is_killed() {
    let mut bed = Bed::new(&[]).await;
    let (head, victim) = (bed.leader, bed.others(bed.leader)[0]);
    goes_on_without(&mut bed, head, victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_goes_on_when_the_leader_is_killed() {
    let mut bed = Bed::new(&[]).await;
    let (victim, head) = (bed.leader, bed.others(bed.leader)[0]);
    goes_on_without(&mut bed, head, victim).await;
}
