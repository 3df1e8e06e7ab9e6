//! How fast one client streams a block through one datanode, and reads it back.
//!
//! `cargo run -p ozone-datanode --example stream_speed -- [GiB] [directory]`

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::client::{block_id, chunk_info};
use common::{Client, FakeScm, data, start};
use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{ReadBlockRequestProto, Result as Code, Type};

const CHUNK: usize = 4 << 20;
const BLOCK: usize = 256 << 20;
const WINDOW: usize = 16;

#[tokio::main]
async fn main() {
    let gib: usize = std::env::args().nth(1).map_or(2, |n| n.parse().unwrap());
    let parent = std::env::args().nth(2).unwrap_or_else(|| "/tmp".to_owned());
    let dir = tempfile::tempdir_in(parent).unwrap();
    let scm = FakeScm::start().await;
    let datanode = start(&scm, dir.path(), &[]).await;
    let (pipeline, _) = scm.pipeline(&[datanode.uuid()]).await;
    let mut client = Client::connect(datanode.addresses().client, scm.key(), &pipeline).await;
    let chunk = data(CHUNK, 1);
    let blocks = (gib << 30) / BLOCK;

    let started = Instant::now();
    for local in 0..blocks {
        write_block(&mut client, local as i64, &chunk).await;
    }
    report("write", started, gib);
    let started = Instant::now();
    for local in 0..blocks {
        read_block(&mut client, local as i64).await;
    }
    report("read", started, gib);
    small_blocks(&mut client, &chunk[..4096]).await;
    datanode.shutdown().await;
}

fn report(what: &str, started: Instant, gib: usize) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what}: {:.2} GiB/s", gib as f64 / seconds);
}

/// Checksums and copies of the client are made once, outside of what is measured.
async fn write_block(client: &mut Client, local: i64, chunk: &[u8]) {
    let block = (1, local);
    let template = client.write_request(block, 0, chunk, &[]);
    let info = chunk_info(0, chunk);
    let (mut in_flight, mut chunks) = (0, Vec::new());
    for offset in (0..BLOCK).step_by(CHUNK) {
        let mut request = template.clone();
        if let Some(Request::WriteChunk(write)) = &mut request.body {
            write.chunk_data.as_mut().unwrap().offset = offset as u64;
        }
        let mut info = info.clone();
        info.offset = offset as u64;
        chunks.push(info);
        client.send(request).await;
        in_flight += 1;
        if in_flight == WINDOW {
            assert_eq!(client.receive().await.result(), Code::Success);
            in_flight -= 1;
        }
    }
    client.send(client.put_request(block, chunks, false)).await;
    for _ in 0..=in_flight {
        let answer = client.receive().await;
        assert_eq!(answer.result(), Code::Success, "{}", answer.message());
    }
}

async fn read_block(client: &mut Client, local: i64) {
    let read = ReadBlockRequestProto {
        in_place: None,
        block_id: block_id(1, local),
        offset: 0,
        length: None,
        response_data_size: Some(1 << 20),
    };
    client
        .send(client.request(Type::ReadBlock, (1, local), Request::ReadBlock(read)))
        .await;
    let mut bytes = 0;
    loop {
        match client.receive().await.body {
            Some(Response::ReadBlock(piece)) => {
                bytes += piece.data.len();
                if piece.last() {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bytes, BLOCK);
}

/// Small blocks one after the other, each durable before the next begins.
async fn small_blocks(client: &mut Client, bytes: &[u8]) {
    const COUNT: i64 = 200;
    let started = Instant::now();
    for local in 0..COUNT {
        client.store((2, local), bytes).await;
    }
    let each = started.elapsed() / COUNT as u32;
    println!("4 KiB block, written, committed and fsynced: {each:?}");
}
