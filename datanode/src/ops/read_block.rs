//! ReadBlock: a range of a block, in pieces of whole checksum windows. The reader verifies them.

use std::sync::Arc;

use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{
    ChecksumData, ChecksumType, ReadBlockRequestProto, ReadBlockResponseProto, Result as Code,
};

use super::Call;
use crate::container::{Container, Piece, ReadPlan};
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::node::on_container;
use crate::tokens::Access;

/// Bytes of a piece, unless the reader asks for other ones.
const PIECE: u64 = 1 << 20;
const SMALLEST: u64 = 64 << 10;
const LARGEST: u64 = 16 << 20;

pub(super) async fn run(call: &Call, request: ReadBlockRequestProto) -> OpResult<Response> {
    let block = request.block_id;
    call.allow(&block, Access::Read)?;
    let container = call.node.containers.get(call.container)?;
    let (local, bcsid) = (block.local_id, block.block_commit_sequence_id());
    let range = (request.offset, request.length);
    let piece = request
        .response_data_size
        .map_or(PIECE, u64::from)
        .clamp(SMALLEST, LARGEST);
    let plan = on_container(&container, Lane::Read, move |container| {
        let row = container.readable_block(local, bcsid)?;
        container.plan_read(local, row, range, piece)
    })
    .await?;
    let reader = Reader {
        call,
        container,
        local,
        plan: Arc::new(plan),
        in_place: request.in_place(),
    };
    let Some(last) = reader.plan.len().checked_sub(1) else {
        return Ok(empty(request.offset));
    };
    for index in 0..last {
        let part = reader.answer(index, false).await?;
        if !call.send_part(part).await {
            return Err(OpError::new(Code::IoException, "the reader is gone"));
        }
    }
    reader.answer(last, true).await
}

struct Reader<'a> {
    call: &'a Call,
    container: Arc<Container>,
    local: i64,
    plan: Arc<ReadPlan>,
    in_place: bool,
}

impl Reader<'_> {
    /// A piece, or where it is.
    async fn answer(&self, index: usize, last: bool) -> OpResult<Response> {
        if !self.in_place {
            return Ok(answer(self.piece(index).await?, last, None));
        }
        let plan = self.plan.clone();
        let prepare = move |_: &Container| plan.prepare(index);
        let (length, piece) = on_container(&self.container, Lane::Read, prepare).await?;
        metrics::counter!("datanode_read_in_place_bytes_total").increment(length);
        Ok(answer(piece, last, Some(length)))
    }

    async fn piece(&self, index: usize) -> OpResult<Piece> {
        let plan = self.plan.clone();
        let read = on_container(&self.container, Lane::Read, move |container| {
            plan.read(container, index)
        })
        .await;
        match &read {
            Ok(piece) => {
                metrics::counter!("datanode_read_bytes_total").increment(piece.data.len() as u64);
            }
            Err(_) => self.doubt(index).await?,
        }
        read
    }

    /// What cannot be read is verified at once: if it is damaged, it is fetched anew.
    async fn doubt(&self, index: usize) -> OpResult<()> {
        let Some(chunk) = self.plan.chunk(index).cloned() else {
            return Ok(());
        };
        let local = self.local;
        let check = move |container: &Container| container.check_chunk(local, &chunk);
        if !on_container(&self.container, Lane::Read, check).await? {
            self.call.node.containers.note_change(self.container.id());
            self.call.node.note_lacking();
        }
        Ok(())
    }
}

fn answer(piece: Piece, last: bool, length_in_place: Option<u64>) -> Response {
    Response::ReadBlock(ReadBlockResponseProto {
        checksum_data: piece.checksums,
        offset: piece.offset,
        data: piece.data,
        last: Some(last),
        length_in_place,
    })
}

fn empty(offset: u64) -> Response {
    let checksums = ChecksumData {
        r#type: ChecksumType::Crc32c.into(),
        bytes_per_checksum: 0,
        checksums: Vec::new(),
    };
    answer(
        Piece {
            offset,
            data: bytes::Bytes::new(),
            checksums,
        },
        true,
        None,
    )
}
