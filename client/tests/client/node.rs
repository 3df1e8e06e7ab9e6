//! A datanode that keeps blocks in memory and misbehaves on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Answer;
use ozone_proto::hdds::datanode::xceiver_client_protocol_service_server::{
    XceiverClientProtocolService, XceiverClientProtocolServiceServer,
};
use ozone_proto::hdds::datanode::{
    ChunkInfo, ContainerCommandRequestProto, ContainerCommandResponseProto, DatanodeBlockId,
    GetCommittedBlockLengthResponseProto, PutBlockRequestProto, PutBlockResponseProto,
    ReadBlockRequestProto, ReadBlockResponseProto, Result as Code, WriteChunkRequestProto,
    WriteChunkResponseProto,
};
use ozone_proto::hdds::{DatanodeDetailsProto, Port};
use ozone_rpc::server::ServerHandle;
use parking_lot::Mutex;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Response, Status, Streaming};

use crate::cluster::serve;

type Reply = (Code, Option<Answer>, Option<String>);

#[derive(Default)]
pub(crate) struct Block {
    staged: BTreeMap<u64, (ChunkInfo, Bytes)>,
    committed: BTreeMap<u64, (ChunkInfo, Bytes)>,
    bcsid: u64,
}

/// One datanode. The fields of the second half say how it misbehaves.
#[derive(Default)]
pub(crate) struct FakeNode {
    pub(crate) uuid: String,
    pub(crate) port: Mutex<u16>,
    pub(crate) blocks: Mutex<HashMap<i64, Block>>,
    pub(crate) peers: Mutex<Vec<Arc<FakeNode>>>,
    pub(crate) server: Mutex<Option<ServerHandle>>,
    pub(crate) chunks: AtomicU64,
    pub(crate) puts: AtomicU64,
    pub(crate) reads: AtomicU64,

    /// After so many more chunks it dies; negative: never.
    pub(crate) dies_after: AtomicI64,
    /// After so many more chunks its containers are closed; negative: never.
    pub(crate) closes_after: AtomicI64,
    /// Refuses every chunk with this.
    pub(crate) refuses: Mutex<Option<Code>>,
    /// Refuses every PutBlock with this.
    pub(crate) proves_nothing: Mutex<Option<Code>>,
    /// Names this leader instead of committing.
    pub(crate) leader: Mutex<Option<String>>,
    /// Flips a bit in what it reads.
    pub(crate) corrupt: AtomicBool,
    /// For so many reads it does not know yet what was committed.
    pub(crate) behind: AtomicI64,
    /// Never answers a read.
    pub(crate) silent: AtomicBool,
}

impl FakeNode {
    pub(crate) async fn start(uuid: &str) -> Arc<Self> {
        let node = Arc::new(Self {
            uuid: uuid.to_owned(),
            dies_after: AtomicI64::new(-1),
            closes_after: AtomicI64::new(-1),
            ..Self::default()
        });
        let service = XceiverClientProtocolServiceServer::new(Service(node.clone()))
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20);
        let server = serve(tonic::service::Routes::new(service)).await;
        *node.port.lock() = server.address().port();
        *node.server.lock() = Some(server);
        node
    }

    pub(crate) fn details(&self) -> DatanodeDetailsProto {
        DatanodeDetailsProto {
            uuid: Some(self.uuid.clone()),
            ip_address: "127.0.0.1".into(),
            host_name: self.uuid.clone(),
            ports: vec![Port {
                name: "STANDALONE".into(),
                value: u32::from(*self.port.lock()),
            }],
            ..Default::default()
        }
    }

    /// Cuts every connection and answers no more.
    pub(crate) fn die(&self) {
        self.server.lock().take();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.server.lock().is_none()
    }

    /// Sizes of the chunks that were committed here.
    pub(crate) fn committed_chunks(&self) -> Vec<u64> {
        let blocks = self.blocks.lock();
        let chunks = blocks.values().flat_map(|block| block.committed.values());
        chunks.map(|(info, _)| info.len).collect()
    }

    fn handle(&self, request: &ContainerCommandRequestProto) -> Vec<Reply> {
        match request.body.as_ref().unwrap() {
            Request::WriteChunk(write) => vec![self.write(write)],
            Request::PutBlock(put) => vec![self.put(put)],
            Request::ReadBlock(read) => self.read(read),
            other => panic!("{other:?}"),
        }
    }

    fn write(&self, write: &WriteChunkRequestProto) -> Reply {
        self.chunks.fetch_add(1, SeqCst);
        if let Some(code) = *self.refuses.lock() {
            return (code, None, None);
        }
        if self.closes_after.fetch_sub(1, SeqCst) == 0 {
            *self.refuses.lock() = Some(Code::ContainerNotOpen);
            return (Code::ContainerNotOpen, None, None);
        }
        if self.dies_after.fetch_sub(1, SeqCst) == 0 {
            self.die();
            return (Code::IoException, None, None);
        }
        let info = write.chunk_data.clone().unwrap();
        let data = write.data.clone().unwrap();
        let crcs = data.chunks(info.checksum_data.bytes_per_checksum as usize);
        let crcs: Vec<Bytes> = crcs
            .map(|window| {
                let crc = ozone_common::checksum::crc32c(window);
                Bytes::copy_from_slice(&crc.to_be_bytes())
            })
            .collect();
        assert_eq!(crcs, info.checksum_data.checksums, "checksums of the chunk");
        let mut stored = Vec::new();
        let targets = write.forward.iter().map(|to| to.uuid().to_owned());
        let targets: Vec<String> = std::iter::once(self.uuid.clone()).chain(targets).collect();
        for peer in self.peers.lock().iter() {
            if targets.contains(&peer.uuid) && !peer.is_dead() {
                peer.stage(&write.block_id, &info, &data);
                stored.push(peer.uuid.clone());
            }
        }
        let answer = WriteChunkResponseProto {
            committed_block_length: None,
            stored,
        };
        (Code::Success, Some(Answer::WriteChunk(answer)), None)
    }

    fn stage(&self, id: &DatanodeBlockId, info: &ChunkInfo, data: &Bytes) {
        let mut blocks = self.blocks.lock();
        let block = blocks.entry(id.local_id).or_default();
        block
            .staged
            .insert(info.offset, (info.clone(), data.clone()));
    }

    fn put(&self, put: &PutBlockRequestProto) -> Reply {
        if let Some(leader) = self.leader.lock().clone() {
            return (Code::PipelineNotLeader, None, Some(leader));
        }
        if let Some(code) = *self.proves_nothing.lock() {
            return (code, None, None);
        }
        assert!(put.sync() && put.incremental());
        self.puts.fetch_add(1, SeqCst);
        let id = put.block_data.block_id;
        let mut length = 0;
        let mut bcsid = 0;
        for peer in self.peers.lock().iter().filter(|peer| !peer.is_dead()) {
            let mut blocks = peer.blocks.lock();
            let block = blocks.entry(id.local_id).or_default();
            for chunk in &put.block_data.chunks {
                if let Some(staged) = block.staged.remove(&chunk.offset) {
                    block.committed.insert(chunk.offset, staged);
                }
            }
            block.bcsid += 1;
            if peer.uuid == self.uuid {
                bcsid = block.bcsid;
                length = block.committed.values().map(|(info, _)| info.len).sum();
                assert_eq!(
                    put.block_data.size,
                    Some(length as i64),
                    "every chunk is there"
                );
            }
        }
        let answer = PutBlockResponseProto {
            committed_block_length: GetCommittedBlockLengthResponseProto {
                block_id: DatanodeBlockId {
                    block_commit_sequence_id: Some(bcsid),
                    ..id
                },
                block_length: length as i64,
            },
        };
        (Code::Success, Some(Answer::PutBlock(answer)), None)
    }

    fn read(&self, read: &ReadBlockRequestProto) -> Vec<Reply> {
        self.reads.fetch_add(1, SeqCst);
        if self.silent.load(SeqCst) {
            return Vec::new();
        }
        if self.behind.fetch_sub(1, SeqCst) > 0 {
            return vec![(Code::UnknownBcsid, None, None)];
        }
        let id = read.block_id;
        let blocks = self.blocks.lock();
        let Some(block) = blocks.get(&id.local_id) else {
            return vec![(Code::NoSuchBlock, None, None)];
        };
        if block.bcsid < id.block_commit_sequence_id() {
            return vec![(Code::UnknownBcsid, None, None)];
        }
        let end = read.offset + read.length();
        let within = |(info, _): &&(ChunkInfo, Bytes)| {
            info.offset < end && info.offset + info.len > read.offset
        };
        let parts: Vec<_> = block.committed.values().filter(within).collect();
        let count = parts.len();
        let parts = parts.into_iter().enumerate();
        parts
            .map(|(n, part)| self.part(part, n + 1 == count))
            .collect()
    }

    fn part(&self, (info, data): &(ChunkInfo, Bytes), last: bool) -> Reply {
        let mut data = data.to_vec();
        if self.corrupt.load(SeqCst) {
            let middle = data.len() / 2;
            data[middle] ^= 1;
        }
        let answer = ReadBlockResponseProto {
            length_in_place: None,
            checksum_data: info.checksum_data.clone(),
            offset: info.offset,
            data: data.into(),
            last: Some(last),
        };
        (Code::Success, Some(Answer::ReadBlock(answer)), None)
    }
}

struct Service(Arc<FakeNode>);

#[tonic::async_trait]
impl XceiverClientProtocolService for Service {
    type sendStream = UnboundedReceiverStream<Result<ContainerCommandResponseProto, Status>>;

    async fn send(
        &self,
        request: tonic::Request<Streaming<ContainerCommandRequestProto>>,
    ) -> Result<Response<Self::sendStream>, Status> {
        let (sender, answers) = tokio::sync::mpsc::unbounded_channel();
        let node = self.0.clone();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                for (result, body, leader_uuid) in node.handle(&request) {
                    let answer = ContainerCommandResponseProto {
                        cmd_type: request.cmd_type,
                        result: result.into(),
                        body,
                        leader_uuid,
                        call_id: request.call_id,
                        ..Default::default()
                    };
                    if node.is_dead() || sender.send(Ok(answer)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(answers)))
    }
}
