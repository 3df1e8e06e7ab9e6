//! Writing one small block to its pipeline, for the OM's own use: a chunk to the leader, which passes
//! it on, then a PutBlock that makes it durable on a majority. There is no second try at another
//! pipeline: who writes still has the bytes, and begins anew with another block.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ozone_common::checksum::Checksums;
use ozone_proto::hdds::datanode::container_command_request_proto::Body;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Reply;
use ozone_proto::hdds::datanode::xceiver_client_protocol_service_client::XceiverClientProtocolServiceClient;
use ozone_proto::hdds::datanode::{
    BlockData, ChecksumData, ChecksumType, ChunkInfo, ContainerCommandRequestProto,
    ContainerCommandResponseProto, DatanodeBlockId, PutBlockRequestProto, Result as Code, Type,
    WriteChunkRequestProto,
};
use ozone_proto::hdds::{DatanodeDetailsProto, Pipeline};
use ozone_proto::namespace::{BlockLocation, BlockSource};
use ozone_proto::place::CLIENT_PORT;
use ozone_rpc::channel::Channels;

use crate::error::{OmError, Result};

/// How long a datanode has for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Bytes under one checksum: what is written here is read in small pieces.
const WINDOW: u32 = 4 << 10;

/// Writes blocks.
pub struct BlockWriter {
    /// Connections.
    pub channels: Arc<Channels>,
}

/// One block on its way.
struct Block<'a> {
    location: &'a BlockLocation,
    pipeline: &'a Pipeline,
    chunk: ChunkInfo,
}

impl BlockWriter {
    /// Writes `data` as the whole content of a block. When this returns, the bytes are on the disks
    /// of a majority.
    pub async fn write(&self, location: &BlockLocation, data: Bytes) -> Result<BlockSource> {
        let missing = || failed("the block has no pipeline");
        let block = Block {
            location,
            pipeline: location.pipeline.as_ref().ok_or_else(missing)?,
            chunk: chunk(location.local, &data),
        };
        let leader = block.first()?;
        let answer = self.ask(&block, leader, block.write_chunk(data)).await?;
        accepted(leader, &answer)?;
        let put = self.put(&block, leader).await?;
        Ok(BlockSource {
            container: location.container,
            local: location.local,
            offset: 0,
            bcsid: put,
        })
    }

    /// Makes the block durable and returns its commit sequence id. Asks the members in the order in
    /// which they name their leader.
    async fn put(&self, block: &Block<'_>, first: &DatanodeDetailsProto) -> Result<u64> {
        let mut member = first;
        for _ in 0..=block.pipeline.members.len() {
            let answer = self.ask(block, member, block.put_block()).await?;
            if answer.result() == Code::PipelineNotLeader
                && let Some(leader) = block.member(answer.leader_uuid())
            {
                member = leader;
                continue;
            }
            accepted(member, &answer)?;
            let Some(Reply::PutBlock(put)) = answer.body else {
                return Err(failed("no answer to PutBlock"));
            };
            return Ok(put
                .committed_block_length
                .block_id
                .block_commit_sequence_id());
        }
        Err(failed("the pipeline has no leader"))
    }

    async fn ask(
        &self,
        block: &Block<'_>,
        member: &DatanodeDetailsProto,
        (kind, body): (Type, Body),
    ) -> Result<ContainerCommandResponseProto> {
        let request = ContainerCommandRequestProto {
            cmd_type: kind.into(),
            container_id: block.location.container.cast_signed(),
            datanode_uuid: member.uuid_text(),
            pipeline_id: Some(block.pipeline.id.text()),
            encoded_token: Some(block.location.token.clone()),
            body: Some(body),
            ..Default::default()
        };
        let address = member
            .address(CLIENT_PORT)
            .ok_or_else(|| failed("a member of the pipeline has no address"))?;
        let channel = self.channels.get(&address).map_err(failed)?;
        let mut client = XceiverClientProtocolServiceClient::new(channel)
            .max_decoding_message_size(ozone_rpc::MAX_MESSAGE)
            .max_encoding_message_size(ozone_rpc::MAX_MESSAGE);
        let asking = async {
            let mut answers = client.send(tokio_stream::once(request)).await?.into_inner();
            answers.message().await
        };
        let late = |_| failed(format!("{address}: no answer within {ANSWER_LIMIT:?}"));
        let answer = tokio::time::timeout(ANSWER_LIMIT, asking)
            .await
            .map_err(late)?;
        answer
            .map_err(|status| failed(format!("{address}: {status}")))?
            .ok_or_else(|| failed(format!("{address}: the stream ended without an answer")))
    }
}

impl Block<'_> {
    fn member(&self, uuid: &str) -> Option<&DatanodeDetailsProto> {
        self.pipeline
            .members
            .iter()
            .find(|member| member.uuid_text() == uuid)
    }

    /// The leader, as far as it is known.
    fn first(&self) -> Result<&DatanodeDetailsProto> {
        self.member(self.pipeline.leader_id())
            .or(self.pipeline.members.first())
            .ok_or_else(|| failed("the pipeline has no members"))
    }

    fn id(&self) -> DatanodeBlockId {
        DatanodeBlockId {
            container_id: self.location.container.cast_signed(),
            local_id: self.location.local.cast_signed(),
            ..Default::default()
        }
    }

    fn write_chunk(&self, data: Bytes) -> (Type, Body) {
        let body = WriteChunkRequestProto {
            block_id: self.id(),
            chunk_data: Some(self.chunk.clone()),
            data: Some(data),
            container_auto_create: Some(true),
            forward: self.pipeline.members.clone(),
            ..Default::default()
        };
        (Type::WriteChunk, Body::WriteChunk(body))
    }

    fn put_block(&self) -> (Type, Body) {
        let data = BlockData {
            block_id: self.id(),
            chunks: vec![self.chunk.clone()],
            size: i64::try_from(self.chunk.len).ok(),
            ..Default::default()
        };
        let body = PutBlockRequestProto {
            block_data: data,
            eof: Some(true),
            container_auto_create: Some(true),
            sync: Some(true),
            incremental: Some(true),
            in_place: None,
        };
        (Type::PutBlock, Body::PutBlock(body))
    }
}

fn chunk(local: u64, data: &[u8]) -> ChunkInfo {
    let sums = Checksums::compute(data, WINDOW);
    ChunkInfo {
        chunk_name: format!("{local}_chunk_0"),
        len: data.len() as u64,
        checksum_data: ChecksumData {
            r#type: ChecksumType::Crc32c.into(),
            bytes_per_checksum: sums.bytes_per_checksum,
            checksums: sums
                .to_be_bytes()
                .iter()
                .map(|crc| Bytes::copy_from_slice(crc))
                .collect(),
        },
        ..Default::default()
    }
}

fn accepted(member: &DatanodeDetailsProto, answer: &ContainerCommandResponseProto) -> Result<()> {
    match answer.result() {
        Code::Success => Ok(()),
        code => Err(failed(format!(
            "{} {}: {}",
            member.host_name,
            code.as_str_name(),
            answer.message()
        ))),
    }
}

fn failed(why: impl ToString) -> OmError {
    OmError::Datanode(why.to_string())
}
