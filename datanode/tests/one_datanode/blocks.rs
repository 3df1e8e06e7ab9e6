//! Writing and reading blocks: what is committed is read, and nothing else is.

use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{
    BlockData, EchoRequestProto, GetBlockRequestProto, GetCommittedBlockLengthRequestProto,
    ListBlockRequestProto, PutBlockRequestProto, ReadChunkRequestProto, Result as Code, Type,
    WriteChunkRequestProto,
};

use crate::bed::{BLOCK, Bed};
use crate::common::client::{block_id, chunk_info};
use crate::common::data;

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
