//! What is sent to the datanodes of a block, and what its proven chunks are as extents.

use ozone_proto::hdds::datanode::container_command_request_proto::Body;
use ozone_proto::hdds::datanode::{
    BlockData, ChunkInfo, ContainerCommandRequestProto as Request, PutBlockRequestProto, Type,
    WriteChunkRequestProto,
};
use ozone_proto::namespace::{BlockSource, Extent, extent::Source};

use super::{OpenBlock, Proven, Sent};
use crate::data::gather::Chunk;
use crate::data::node::{Lane, Pending};
use crate::data::place::Place;

impl OpenBlock {
    /// Has the datanodes store a chunk.
    pub(super) fn start_chunk(&self, chunk: &Chunk, offset: u64) -> Pending {
        let live = |index: &usize| *index != self.writer && !self.dead[*index];
        let forward = (0..self.place.members.len()).filter(live);
        let body = WriteChunkRequestProto {
            block_id: self.place.id(0),
            chunk_data: Some(self.chunk_info(chunk, offset)),
            data: Some(chunk.data.clone()),
            container_auto_create: Some(true),
            forward: forward
                .map(|index| self.place.members[index].details.clone())
                .collect(),
            ..Default::default()
        };
        self.start(
            self.writer,
            Lane::Write,
            Type::WriteChunk,
            Body::WriteChunk(body),
        )
    }

    pub(super) fn start_put(&self, chunks: usize, eof: bool) -> Pending {
        let put = self.unproven.iter().take(chunks);
        let end = put
            .clone()
            .last()
            .map_or(0, |s| s.offset + s.chunk.data.len() as u64);
        let data = BlockData {
            block_id: self.place.id(0),
            chunks: put
                .clone()
                .map(|sent| self.chunk_info(&sent.chunk, sent.offset))
                .collect(),
            size: Some(end as i64),
            ..Default::default()
        };
        let body = PutBlockRequestProto {
            block_data: data,
            eof: Some(eof),
            container_auto_create: Some(true),
            sync: Some(true),
            incremental: Some(true),
            in_place: put.clone().any(|sent| sent.in_place).then_some(true),
        };
        self.start(
            self.leader,
            Lane::Commit,
            Type::PutBlock,
            Body::PutBlock(body),
        )
    }

    fn start(&self, member: usize, lane: Lane, command: Type, body: Body) -> Pending {
        let request = Request {
            cmd_type: command.into(),
            container_id: self.place.container as i64,
            pipeline_id: Some(self.place.pipeline.clone()),
            encoded_token: Some(self.place.token.clone()),
            body: Some(body),
            ..Default::default()
        };
        let member = &self.place.members[member];
        self.env
            .nodes
            .start(member, lane, request, self.env.config.write_timeout)
    }

    fn chunk_info(&self, chunk: &Chunk, offset: u64) -> ChunkInfo {
        ChunkInfo {
            chunk_name: format!("{}_chunk_{offset}", self.place.local),
            offset,
            len: chunk.data.len() as u64,
            metadata: Vec::new(),
            checksum_data: chunk.checksums.clone(),
            stripe_checksum: None,
        }
    }
}

/// The extents of a proven chunk.
pub(super) fn extents(place: &Place, sent: &Sent, bcsid: u64) -> Vec<Proven> {
    let mut offset = sent.offset;
    let runs = sent.chunk.runs.iter().map(|run| {
        let source = BlockSource {
            offset,
            bcsid,
            ..place.source()
        };
        offset += run.length;
        Proven {
            seq: sent.chunk.seq,
            extent: Extent {
                file_offset: run.file_offset,
                length: run.length,
                source: Some(Source::Block(source)),
            },
        }
    });
    runs.collect()
}
