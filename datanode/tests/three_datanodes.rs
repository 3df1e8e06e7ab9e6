//! Three datanodes in one process on real sockets: chunks passed on, commits by majority, repair,
//! copies, scans.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::client::{BlockWriter, chunk_info};
use common::{Client, FakeScm, data, start, until};
use ozone_datanode::DatanodeServer;
use ozone_proto::hdds::DatanodeDetailsProto;
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::command::Body;
use ozone_proto::scm::{
    CloseContainer, DeleteBlocks, DeletedBlocksTransaction, ReplicaState, ReplicateContainer,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Datanodes that can be killed one by one.
struct Bed {
    scm: FakeScm,
    dirs: HashMap<Uuid, TempDir>,
    datanodes: HashMap<Uuid, DatanodeServer>,
    members: Vec<Uuid>,
    pipeline: String,
    leader: Uuid,
}

impl Bed {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let scm = FakeScm::start().await;
        let (mut dirs, mut datanodes) = (HashMap::new(), HashMap::new());
        for _ in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let datanode = start(&scm, dir.path(), settings).await;
            dirs.insert(datanode.uuid(), dir);
            datanodes.insert(datanode.uuid(), datanode);
        }
        let members: Vec<Uuid> = datanodes.keys().copied().collect();
        let (pipeline, leader) = scm.pipeline(&members).await;
        Self {
            scm,
            dirs,
            datanodes,
            members,
            pipeline,
            leader,
        }
    }

    async fn client(&self, of: Uuid) -> Client {
        let address = self.datanodes[&of].addresses().client;
        Client::connect(address, self.scm.key(), &self.pipeline).await
    }

    /// All members but one.
    fn others(&self, than: Uuid) -> Vec<Uuid> {
        self.members
            .iter()
            .copied()
            .filter(|m| *m != than)
            .collect()
    }

    fn details(&self, of: &[Uuid]) -> Vec<DatanodeDetailsProto> {
        of.iter().map(|uuid| self.scm.details(*uuid)).collect()
    }

    /// The file of a block on a datanode.
    fn file(&self, of: Uuid, local: i64) -> Option<PathBuf> {
        find(self.dirs[&of].path(), &format!("{local}.block"))
    }

    /// Reads the block from a datanode once it has it.
    async fn read(&self, from: Uuid, block: (i64, i64)) -> Vec<u8> {
        let mut client = self.client(from).await;
        until("the block on every member", async || {
            client.read(block, 0, None).await.ok()
        })
        .await
    }
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|n| n == name) {
            return Some(path);
        }
    }
    None
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

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
    let (length, bcsid) = block.commit(&mut leader).await.unwrap();
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
    let follower = bed.others(bed.leader)[0];
    let mut client = bed.client(follower).await;
    client.write((1, 7), 0, b"bytes").await.unwrap();
    let request = client.put_request((1, 7), vec![chunk_info(0, b"bytes")], true);
    let answer = client.call(request).await;
    assert_eq!(answer.result(), Code::PipelineNotLeader);
    assert_eq!(answer.leader_uuid, Some(bed.leader.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_on_a_minority_are_not_committed() {
    let bed = Bed::new(&[]).await;
    let mut leader = bed.client(bed.leader).await;
    leader.write((1, 7), 0, b"bytes").await.unwrap();
    let refused = leader
        .put((1, 7), vec![chunk_info(0, b"bytes")])
        .await
        .unwrap_err();
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
        block.commit(&mut leader).await.unwrap();
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
    let mut leader = bed.client(bed.leader).await;
    let mut block = BlockWriter::new(1, 7);
    let stored = block
        .chunk(&mut head, &bed.details(&others[1..]), &data(300_000, 1))
        .await;
    assert_eq!(stored.len(), 2);
    assert_eq!(block.commit(&mut leader).await.unwrap().0, 300_000);
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
    let survivors = bed.others(victim);
    let leader = bed.scm.leader(&bed.pipeline, &survivors).await;
    let mut leading = bed.client(leader).await;
    let committed = until("a commit", async || block.commit(&mut leading).await.ok()).await;
    assert_eq!(committed.0, 2_000_000);
    for member in survivors {
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

#[tokio::test(flavor = "multi_thread")]
async fn all_members_close_at_the_same_point() {
    let bed = Bed::new(&[]).await;
    let rest = bed.details(&bed.others(bed.leader));
    let mut leader = bed.client(bed.leader).await;
    let mut block = BlockWriter::new(1, 7);
    block.chunk(&mut leader, &rest, &data(10_000, 1)).await;
    block.commit(&mut leader).await.unwrap();
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
    block.commit(&mut leader).await.unwrap();
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
    block.commit(&mut leader).await.unwrap();
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
