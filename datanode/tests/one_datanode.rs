//! One datanode on real sockets, with pipelines of one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use common::client::{block_id, chunk_info, sign};
use common::{Client, FakeScm, data, start, start_on};
use ozone_common::clock::{Clock, SystemClock};
use ozone_common::disk::{Cut, Disk, FaultyDisk, RealDisk};
use ozone_common::rng::OsRng;
use ozone_datanode::{DatanodeOptions, DatanodeServer};
use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{
    BlockData, DeleteContainerRequestProto, EchoRequestProto, GetBlockRequestProto,
    GetCommittedBlockLengthRequestProto, ListBlockRequestProto, PutBlockRequestProto,
    ReadChunkRequestProto, Result as Code, Type, WriteChunkRequestProto,
};
use ozone_proto::scm::command::Body;
use ozone_proto::scm::{
    CloseContainer, ClosePipeline, DeleteBlocks, DeleteContainer, DeletedBlocksTransaction,
    ReplicaState,
};
use ozone_security::secret_keys::SecretKey;
use ozone_security::token::AccessMode;
use tempfile::TempDir;

const BLOCK: (i64, i64) = (1, 101);

struct Bed {
    dir: TempDir,
    scm: FakeScm,
    datanode: DatanodeServer,
    pipeline: String,
}

impl Bed {
    async fn new() -> Self {
        Self::on(Arc::new(RealDisk)).await
    }

    async fn on(disk: Arc<dyn Disk>) -> Self {
        let (dir, scm) = (tempfile::tempdir().unwrap(), FakeScm::start().await);
        let datanode = start_on(&scm, dir.path(), disk).await;
        let (pipeline, leader) = scm.pipeline(&[datanode.uuid()]).await;
        assert_eq!(leader, datanode.uuid());
        Self {
            dir,
            scm,
            datanode,
            pipeline,
        }
    }

    async fn client(&self) -> Client {
        let address = self.datanode.addresses().client;
        Client::connect(address, self.scm.key(), &self.pipeline).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_read_back() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(3_000_000, 1);
    let chunks: Vec<_> = bytes.chunks(1 << 20).collect();
    let mut infos = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        let offset = (i << 20) as u64;
        let stored = client.write(BLOCK, offset, chunk).await.unwrap();
        assert_eq!(stored, [bed.datanode.uuid().to_string()]);
        infos.push(chunk_info(offset, chunk));
    }
    let (length, bcsid) = client.put(BLOCK, infos.clone()).await.unwrap();
    assert_eq!(length, 3_000_000);
    assert!(bcsid > 0);
    assert_eq!(client.read(BLOCK, 0, None).await.unwrap(), bytes);
    let part = client.read(BLOCK, 1_000_000, Some(100_000)).await.unwrap();
    assert_eq!(part, bytes[1_000_000..1_100_000]);

    let get = GetBlockRequestProto {
        block_id: block_id(1, 101),
    };
    let answer = client
        .call(client.request(Type::GetBlock, BLOCK, Request::GetBlock(get)))
        .await;
    let Some(Response::GetBlock(got)) = answer.body else {
        panic!("{answer:?}")
    };
    assert_eq!(got.block_data.size, Some(3_000_000));
    assert_eq!(got.block_data.chunks.len(), infos.len());
    assert_eq!(
        got.block_data.chunks[1].checksum_data,
        infos[1].checksum_data
    );

    let length = GetCommittedBlockLengthRequestProto {
        block_id: block_id(1, 101),
    };
    let body = Request::GetCommittedBlockLength(length);
    let answer = client
        .call(client.request(Type::GetCommittedBlockLength, BLOCK, body))
        .await;
    let Some(Response::GetCommittedBlockLength(got)) = answer.body else {
        panic!("{answer:?}")
    };
    assert_eq!(got.block_length, 3_000_000);

    let read = ReadChunkRequestProto {
        block_id: block_id(1, 101),
        chunk_data: chunk_info(100, &bytes[100..5000]),
        read_chunk_version: None,
    };
    let answer = client
        .call(client.request(Type::ReadChunk, BLOCK, Request::ReadChunk(read)))
        .await;
    let Some(Response::ReadChunk(got)) = answer.body else {
        panic!("{answer:?}")
    };
    assert_eq!(got.data.unwrap(), bytes[100..5000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_may_come_with_its_commit_in_one_call() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(10_000, 1);
    let put = PutBlockRequestProto {
        block_data: BlockData {
            block_id: block_id(1, 101),
            chunks: vec![chunk_info(0, &bytes)],
            ..Default::default()
        },
        sync: Some(true),
        ..Default::default()
    };
    let write = WriteChunkRequestProto {
        block_id: block_id(1, 101),
        chunk_data: Some(chunk_info(0, &bytes)),
        data: Some(bytes.clone().into()),
        block: Some(put),
        ..Default::default()
    };
    let request = client.request(Type::WriteChunk, BLOCK, Request::WriteChunk(write));
    let answer = client.call(request).await;
    let Some(Response::WriteChunk(done)) = answer.body else {
        panic!("{answer:?}")
    };
    assert_eq!(done.committed_block_length.unwrap().block_length, 10_000);
    assert_eq!(client.read(BLOCK, 0, None).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_chunks_in_flight_keep_their_order() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(200 * 5_000, 1);
    let mut infos = Vec::new();
    for (i, chunk) in bytes.chunks(5_000).enumerate() {
        let offset = (i * 5_000) as u64;
        client
            .send(client.write_request(BLOCK, offset, chunk, &[]))
            .await;
        infos.push(chunk_info(offset, chunk));
    }
    let put = client.send(client.put_request(BLOCK, infos, true)).await;
    for _ in 0..201 {
        let answer = client.receive().await;
        assert_eq!(answer.result(), Code::Success, "{}", answer.message());
        if answer.call_id == Some(put) {
            let Some(Response::PutBlock(done)) = answer.body else {
                panic!()
            };
            assert_eq!(done.committed_block_length.block_length, 1_000_000);
        }
    }
    assert_eq!(client.read(BLOCK, 0, None).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_never_seen_before_their_commit() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(50_000, 1);
    client.write(BLOCK, 0, &bytes).await.unwrap();
    assert_eq!(
        client.read(BLOCK, 0, None).await.unwrap_err().0,
        Code::NoSuchBlock
    );
    client
        .put(BLOCK, vec![chunk_info(0, &bytes)])
        .await
        .unwrap();
    client.write(BLOCK, 50_000, b"more").await.unwrap();
    assert_eq!(client.read(BLOCK, 0, None).await.unwrap(), bytes);
    let beyond = client.read(BLOCK, 49_999, Some(2)).await.unwrap_err();
    assert_eq!(beyond.0, Code::BlockNotCommitted, "{}", beyond.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_checksum_is_refused_and_nothing_is_written() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(100_000, 1);
    for len in [100_000, 5_000] {
        let mut request = client.write_request(BLOCK, 0, &bytes[..len], &[]);
        if let Some(Request::WriteChunk(write)) = &mut request.body {
            let mut bad = bytes[..len].to_vec();
            bad[4_000] ^= 1;
            write.data = Some(bad.into());
        }
        let answer = client.call(request).await;
        assert_eq!(answer.result(), Code::ChecksumMismatch);
    }
    assert!(
        client
            .put(BLOCK, vec![chunk_info(0, &bytes)])
            .await
            .is_err()
    );
    client.write(BLOCK, 0, &bytes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_bytes_that_are_not_there_are_refused() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(10_000, 1);
    client.write(BLOCK, 0, &bytes).await.unwrap();
    let other = data(10_000, 2);
    let lie = client
        .put(BLOCK, vec![chunk_info(0, &other)])
        .await
        .unwrap_err();
    assert_eq!(lie.0, Code::IoException, "{}", lie.1);
    let more = vec![chunk_info(0, &bytes), chunk_info(10_000, &other)];
    assert!(client.put(BLOCK, more).await.is_err());
    assert!(client.read(BLOCK, 0, None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_past_the_length_that_the_token_allows() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(1_000, 1);
    // A token is for 256 MiB.
    let end = 256 << 20;
    let beyond = client.write_request(BLOCK, end - 999, &bytes, &[]);
    let answer = client.call(beyond).await;
    assert_eq!(answer.result(), Code::BlockTokenVerificationFailed);
    assert!(answer.message().contains("bytes"), "{}", answer.message());
    let beyond = client.put_request(BLOCK, vec![chunk_info(end - 999, &bytes)], true);
    let answer = client.call(beyond).await;
    assert_eq!(answer.result(), Code::BlockTokenVerificationFailed);
    client.store(BLOCK, &bytes).await;
    assert_eq!(client.read(BLOCK, 0, None).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_token_opens_a_block() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(1_000, 1);
    client.store(BLOCK, &bytes).await;
    let now = SystemClock::new().wall_ms();
    let stranger = SecretKey::generate(&OsRng, now, std::time::Duration::from_secs(60));
    let key = bed.scm.key();
    let both = vec![AccessMode::Read, AccessMode::Write];
    let later = now + 60_000;
    let refused = [
        None,
        Some(String::new()),
        Some("garbage".to_owned()),
        Some(sign(&stranger, BLOCK, later, both.clone())),
        Some(sign(key, BLOCK, now - 1, both.clone())),
        Some(sign(key, (1, 102), later, both.clone())),
        Some(sign(key, BLOCK, later, vec![AccessMode::Read])),
    ];
    for token in refused {
        let mut request = client.write_request(BLOCK, 1_000, &bytes, &[]);
        request.encoded_token.clone_from(&token);
        let answer = client.call(request).await;
        assert_eq!(
            answer.result(),
            Code::BlockTokenVerificationFailed,
            "{token:?}"
        );
        let mut request = client.put_request(BLOCK, vec![chunk_info(0, &bytes)], true);
        request.encoded_token.clone_from(&token);
        let answer = client.call(request).await;
        assert_eq!(
            answer.result(),
            Code::BlockTokenVerificationFailed,
            "{token:?}"
        );
    }
    let get = Request::GetBlock(GetBlockRequestProto {
        block_id: block_id(1, 101),
    });
    let mut request = client.request(Type::GetBlock, BLOCK, get);
    request.encoded_token = Some(sign(key, BLOCK, later, vec![AccessMode::Write]));
    assert_eq!(
        client.call(request).await.result(),
        Code::BlockTokenVerificationFailed
    );

    let delete = Request::DeleteContainer(DeleteContainerRequestProto {
        container_id: 1,
        force_delete: Some(true),
    });
    let answer = client
        .call(client.request(Type::DeleteContainer, BLOCK, delete))
        .await;
    assert_eq!(
        answer.result(),
        Code::BlockTokenVerificationFailed,
        "a block token is for a block"
    );
    let other = GetBlockRequestProto {
        block_id: block_id(2, 101),
    };
    let answer = client
        .call(client.request(Type::GetBlock, BLOCK, Request::GetBlock(other)))
        .await;
    assert_eq!(answer.result(), Code::ContainerIdMismatch);
}

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

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_listed_in_order_and_echo_answers() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    for local in [300, 20, 101] {
        client.store((1, local), &data(10, 1)).await;
    }
    let list = ListBlockRequestProto {
        start_local_id: Some(21),
        count: 10,
    };
    let request = client.request(Type::ListBlock, (1, 0), Request::ListBlock(list));
    let answer = client.call(request).await;
    let Some(Response::ListBlock(list)) = answer.body else {
        panic!("{answer:?}")
    };
    let locals: Vec<_> = list
        .block_data
        .iter()
        .map(|b| b.block_id.local_id)
        .collect();
    assert_eq!(locals, [101, 300]);
    let echo = EchoRequestProto {
        payload: Some("hi".into()),
    };
    let answer = client
        .call(client.request(Type::Echo, BLOCK, Request::Echo(echo)))
        .await;
    let Some(Response::Echo(echo)) = answer.body else {
        panic!("{answer:?}")
    };
    assert_eq!(echo.payload.unwrap(), "hi");
    let mut unknown = client.write_request(BLOCK, 0, b"x", &[]);
    unknown.body = None;
    assert_eq!(
        client.call(unknown).await.result(),
        Code::UnsupportedRequest
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_scm_of_another_cluster_is_not_joined() {
    let Bed { dir, datanode, .. } = Bed::new().await;
    datanode.shutdown().await;
    let other = FakeScm::of_cluster("CID-other").await;
    let mut options = DatanodeOptions::new(common::config(dir.path(), &[]));
    options.scm = vec![other.address()];
    let datanode = common::until("the directory is free", async || {
        DatanodeServer::start(options.clone()).await.ok()
    })
    .await;
    let text = datanode.wait_registered().await.unwrap_err().to_string();
    assert!(
        text.contains("CID-other") && text.contains(common::scm::CLUSTER),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_are_served() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bed = Bed::new().await;
    bed.client().await.store(BLOCK, &data(1_000, 1)).await;
    for (path, expected) in [
        ("/health", "\"registered\":true"),
        ("/prom", "datanode_write_bytes_total"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(bed.datanode.addresses().http)
            .await
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200") && text.contains(expected),
            "{text}"
        );
    }
}
