//! A client that speaks to one datanode, and a writer that streams a block.

use std::net::SocketAddr;

use bytes::Bytes;
use ozone_common::checksum::{Checksums, crc32c};
use ozone_common::clock::{Clock, SystemClock};
use ozone_common::ids::BlockId;
use ozone_proto::hdds::DatanodeDetailsProto;
use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::xceiver_client_protocol_service_client::XceiverClientProtocolServiceClient;
use ozone_proto::hdds::datanode::{
    BlockData, ChecksumData, ChecksumType, ChunkInfo, ContainerCommandRequestProto,
    ContainerCommandResponseProto, DatanodeBlockId, PutBlockRequestProto, ReadBlockRequestProto,
    Result as Code, Type, WriteChunkRequestProto,
};
use ozone_security::secret_keys::SecretKey;
use ozone_security::token::{AccessMode, BlockTokenSecret};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

pub const WINDOW: u32 = 16 << 10;

/// A token that allows everything on a block for ten minutes.
pub fn token(key: &SecretKey, container: i64, local: i64) -> String {
    let now = SystemClock::new().wall_ms();
    let modes = vec![AccessMode::Read, AccessMode::Write, AccessMode::Delete];
    sign(key, (container, local), now + 600_000, modes)
}

pub fn sign(key: &SecretKey, block: (i64, i64), expires_ms: u64, modes: Vec<AccessMode>) -> String {
    let secret = BlockTokenSecret {
        owner: "tester".to_owned(),
        block: BlockId::new(block.0 as u64, block.1 as u64),
        expires_ms,
        modes,
        max_length: 256 << 20,
    };
    secret.sign(key).encode_text()
}

pub fn chunk_info(offset: u64, data: &[u8]) -> ChunkInfo {
    let sums = Checksums::compute(data, WINDOW);
    ChunkInfo {
        chunk_name: format!("chunk_{offset}"),
        offset,
        len: data.len() as u64,
        metadata: vec![],
        checksum_data: ChecksumData {
            r#type: ChecksumType::Crc32c.into(),
            bytes_per_checksum: WINDOW,
            checksums: sums
                .to_be_bytes()
                .iter()
                .map(|b| Bytes::copy_from_slice(b))
                .collect(),
        },
        stripe_checksum: None,
    }
}

pub fn block_id(container: i64, local: i64) -> DatanodeBlockId {
    DatanodeBlockId {
        container_id: container,
        local_id: local,
        ..Default::default()
    }
}

/// One stream of commands.
pub struct Client {
    requests: mpsc::Sender<ContainerCommandRequestProto>,
    answers: Streaming<ContainerCommandResponseProto>,
    pub key: SecretKey,
    pub pipeline: String,
    next: u64,
}

impl Client {
    pub async fn connect(address: SocketAddr, key: &SecretKey, pipeline: &str) -> Self {
        let endpoint = Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .initial_stream_window_size(ozone_rpc::STREAM_WINDOW)
            .initial_connection_window_size(ozone_rpc::CONNECTION_WINDOW)
            .max_frame_size(ozone_rpc::MAX_FRAME);
        let channel = endpoint.connect().await.unwrap();
        let mut client = XceiverClientProtocolServiceClient::new(channel)
            .max_decoding_message_size(ozone_rpc::MAX_MESSAGE)
            .max_encoding_message_size(ozone_rpc::MAX_MESSAGE);
        let (requests, outgoing) = mpsc::channel(8);
        let answers = client
            .send(ReceiverStream::new(outgoing))
            .await
            .unwrap()
            .into_inner();
        Self {
            requests,
            answers,
            key: key.clone(),
            pipeline: pipeline.to_owned(),
            next: 1,
        }
    }

    pub fn request(
        &self,
        kind: Type,
        block: (i64, i64),
        body: Request,
    ) -> ContainerCommandRequestProto {
        ContainerCommandRequestProto {
            cmd_type: kind.into(),
            container_id: block.0,
            datanode_uuid: "any".to_owned(),
            pipeline_id: Some(self.pipeline.clone()),
            encoded_token: Some(token(&self.key, block.0, block.1)),
            body: Some(body),
            ..Default::default()
        }
    }

    /// Sends without waiting for the answer; gives the call id.
    pub async fn send(&mut self, mut request: ContainerCommandRequestProto) -> u64 {
        let id = self.next;
        self.next += 1;
        request.call_id = Some(id);
        self.requests.send(request).await.unwrap();
        id
    }

    pub async fn receive(&mut self) -> ContainerCommandResponseProto {
        let answer = tokio::time::timeout(super::LIMIT, self.answers.message()).await;
        answer
            .expect("an answer in time")
            .unwrap()
            .expect("an answer")
    }

    pub async fn call(
        &mut self,
        request: ContainerCommandRequestProto,
    ) -> ContainerCommandResponseProto {
        let id = self.send(request).await;
        let answer = self.receive().await;
        assert_eq!(answer.call_id, Some(id));
        answer
    }

    pub fn write_request(
        &self,
        block: (i64, i64),
        offset: u64,
        data: &[u8],
        forward: &[DatanodeDetailsProto],
    ) -> ContainerCommandRequestProto {
        let write = WriteChunkRequestProto {
            block_id: block_id(block.0, block.1),
            chunk_data: Some(chunk_info(offset, data)),
            data: Some(Bytes::copy_from_slice(data)),
            forward: forward.to_vec(),
            ..Default::default()
        };
        self.request(Type::WriteChunk, block, Request::WriteChunk(write))
    }

    pub fn put_request(
        &self,
        block: (i64, i64),
        chunks: Vec<ChunkInfo>,
        sync: bool,
    ) -> ContainerCommandRequestProto {
        let size = chunks.last().map(|c| (c.offset + c.len) as i64);
        let put = PutBlockRequestProto {
            block_data: BlockData {
                block_id: block_id(block.0, block.1),
                chunks,
                size,
                ..Default::default()
            },
            eof: Some(false),
            sync: Some(sync),
            ..Default::default()
        };
        self.request(Type::PutBlock, block, Request::PutBlock(put))
    }

    /// Writes one chunk; gives who stored it.
    pub async fn write(
        &mut self,
        block: (i64, i64),
        offset: u64,
        data: &[u8],
    ) -> Result<Vec<String>, (Code, String)> {
        let request = self.write_request(block, offset, data, &[]);
        let answer = self.call(request).await;
        match (answer.result(), &answer.body) {
            (Code::Success, Some(Response::WriteChunk(write))) => Ok(write.stored.clone()),
            (code, _) => Err((code, answer.message().to_owned())),
        }
    }

    /// Commits; gives the committed length and the commit.
    pub async fn put(
        &mut self,
        block: (i64, i64),
        chunks: Vec<ChunkInfo>,
    ) -> Result<(u64, u64), (Code, String)> {
        let request = self.put_request(block, chunks, true);
        let answer = self.call(request).await;
        match (answer.result(), &answer.body) {
            (Code::Success, Some(Response::PutBlock(put))) => {
                let done = &put.committed_block_length;
                Ok((
                    done.block_length as u64,
                    done.block_id.block_commit_sequence_id(),
                ))
            }
            (code, _) => Err((code, answer.message().to_owned())),
        }
    }

    /// Writes and commits a whole block of one chunk.
    pub async fn store(&mut self, block: (i64, i64), data: &[u8]) -> u64 {
        self.write(block, 0, data).await.unwrap();
        self.put(block, vec![chunk_info(0, data)]).await.unwrap().1
    }

    /// Reads a range and verifies every window of it.
    pub async fn read(
        &mut self,
        block: (i64, i64),
        offset: u64,
        length: Option<u64>,
    ) -> Result<Vec<u8>, (Code, String)> {
        let read = ReadBlockRequestProto {
            in_place: None,
            block_id: block_id(block.0, block.1),
            offset,
            length,
            response_data_size: Some(256 << 10),
        };
        let request = self.request(Type::ReadBlock, block, Request::ReadBlock(read));
        self.send(request).await;
        let mut bytes = Vec::new();
        let mut next = offset;
        loop {
            let answer = self.receive().await;
            let piece = match (answer.result(), answer.body.clone()) {
                (Code::Success, Some(Response::ReadBlock(piece))) => piece,
                (code, _) => return Err((code, answer.message().to_owned())),
            };
            verify(&piece.data, &piece.checksum_data);
            let skip = usize::try_from(next - piece.offset).unwrap();
            bytes.extend_from_slice(&piece.data[skip.min(piece.data.len())..]);
            next = piece.offset + piece.data.len() as u64;
            if piece.last() {
                break;
            }
        }
        if let Some(length) = length {
            bytes.truncate(usize::try_from(length).unwrap());
        }
        Ok(bytes)
    }
}

fn verify(data: &[u8], sums: &ChecksumData) {
    let window = (sums.bytes_per_checksum as usize).max(1);
    let crcs: Vec<_> = data
        .chunks(window)
        .map(|w| crc32c(w).to_be_bytes())
        .collect();
    assert_eq!(crcs.len(), sums.checksums.len());
    for (have, want) in crcs.iter().zip(&sums.checksums) {
        assert_eq!(have[..], want[..]);
    }
}

/// Streams chunks of one block to a pipeline and commits them at its leader.
pub struct BlockWriter {
    pub block: (i64, i64),
    pub written: Vec<u8>,
    chunks: Vec<ChunkInfo>,
}

impl BlockWriter {
    pub fn new(container: i64, local: i64) -> Self {
        Self {
            block: (container, local),
            written: vec![],
            chunks: vec![],
        }
    }

    /// Sends one more chunk to `head`, to be passed on to `rest`; gives who stored it.
    pub async fn chunk(
        &mut self,
        head: &mut Client,
        rest: &[DatanodeDetailsProto],
        data: &[u8],
    ) -> Vec<String> {
        let offset = self.written.len() as u64;
        let request = head.write_request(self.block, offset, data, rest);
        let answer = head.call(request).await;
        assert_eq!(answer.result(), Code::Success, "{}", answer.message());
        self.chunks.push(chunk_info(offset, data));
        self.written.extend_from_slice(data);
        match answer.body {
            Some(Response::WriteChunk(write)) => write.stored,
            other => panic!("{other:?}"),
        }
    }

    /// Commits all chunks so far.
    pub async fn commit(&self, leader: &mut Client) -> Result<(u64, u64), (Code, String)> {
        leader.put(self.block, self.chunks.clone()).await
    }
}
