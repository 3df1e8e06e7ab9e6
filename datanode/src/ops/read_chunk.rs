//! ReadChunk: the bytes of one range in one answer.

use bytes::{Bytes, BytesMut};
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{ReadChunkRequestProto, ReadChunkResponseProto};

use super::Call;
use crate::chunk::MAX_CHUNK;
use crate::container::Container;
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::node::on_container;
use crate::tokens::Access;

pub(super) async fn run(call: &Call, request: ReadChunkRequestProto) -> OpResult<Response> {
    let block = request.block_id;
    call.allow(&block, Access::Read)?;
    let (offset, len) = (request.chunk_data.offset, request.chunk_data.len);
    if len > MAX_CHUNK {
        return Err(OpError::malformed(format!(
            "chunk of {len} bytes, at most {MAX_CHUNK}"
        )));
    }
    let container = call.node.containers.get(call.container)?;
    let (local, bcsid) = (block.local_id, block.block_commit_sequence_id());
    let work = move |container: &Container| read(container, local, bcsid, (offset, len));
    let data = on_container(&container, Lane::Read, work).await?;
    metrics::counter!("datanode_read_bytes_total").increment(data.len() as u64);
    Ok(Response::ReadChunk(ReadChunkResponseProto {
        block_id: block,
        chunk_data: request.chunk_data,
        data: Some(data),
    }))
}

fn read(container: &Container, local: i64, bcsid: u64, range: (u64, u64)) -> OpResult<Bytes> {
    let (offset, len) = range;
    let row = container.readable_block(local, bcsid)?;
    let plan = container.plan_read(local, row, (offset, Some(len)), MAX_CHUNK)?;
    let mut whole = BytesMut::new();
    let mut from = offset;
    for index in 0..plan.len() {
        let piece = plan.read(container, index)?;
        let skip = usize::try_from(from - piece.offset).unwrap_or(usize::MAX);
        whole.extend_from_slice(piece.data.get(skip..).unwrap_or_default());
        from = piece.offset + piece.data.len() as u64;
    }
    whole.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    Ok(whole.freeze())
}
