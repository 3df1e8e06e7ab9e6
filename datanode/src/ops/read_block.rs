//! ReadBlock: a range of a block, in pieces of whole checksum windows. The reader verifies them.

use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{
    ChecksumData, ChecksumType, ReadBlockRequestProto, ReadBlockResponseProto, Result as Code,
};

use super::Call;
use crate::container::Piece;
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
    let (plan, first) = on_container(&container, Lane::Read, move |container| {
        let row = container.readable_block(local, bcsid)?;
        let plan = container.plan_read(local, row, range, piece)?;
        let first = (!plan.is_empty()).then(|| plan.read(0)).transpose()?;
        Ok((std::sync::Arc::new(plan), first))
    })
    .await?;
    let Some(mut current) = first else {
        return Ok(empty(request.offset));
    };
    metrics::counter!("datanode_read_bytes_total").increment(current.data.len() as u64);
    for index in 1..plan.len() {
        if !call.send_part(answer(current, false)).await {
            return Err(OpError::new(Code::IoException, "the reader is gone"));
        }
        let plan = plan.clone();
        current = on_container(&container, Lane::Read, move |_| plan.read(index)).await?;
        metrics::counter!("datanode_read_bytes_total").increment(current.data.len() as u64);
    }
    Ok(answer(current, true))
}

fn answer(piece: Piece, last: bool) -> Response {
    Response::ReadBlock(ReadBlockResponseProto {
        checksum_data: piece.checksums,
        offset: piece.offset,
        data: piece.data,
        last: Some(last),
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
    )
}
