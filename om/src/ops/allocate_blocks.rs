//! AllocateBlocks: SCM's blocks for a session to write to. Until the session releases them they are
//! not freed, whether or not a file refers to them.

use ozone_proto::namespace::{AllocateBlocksRequest, AllocateBlocksResponse};

use crate::apply::Apply;
use crate::error::{Result, refuse};
use crate::leader::Leader;
use crate::{block_refs, namespace};

/// Blocks that one request may ask for.
const MAX_BLOCKS: u32 = 64;

/// Leader: gets the blocks from SCM and fills them in.
pub async fn prepare(request: &mut AllocateBlocksRequest, leader: &Leader) -> Result<()> {
    let count = request.count.clamp(1, MAX_BLOCKS);
    let replication = match request.replication {
        Some(replication) => replication,
        None => {
            let dir = *namespace::dir_of(request.bucket.as_ref())?;
            let found = leader.bucket_replication(dir).await?;
            found.ok_or_else(|| refuse::no_directory(dir.bucket_id))?
        }
    };
    let exclude = request.exclude.take();
    request.allocated = leader
        .blocks
        .allocate(count, (request.size, request.longest), replication, exclude)
        .await?;
    Ok(())
}

/// Applies the request.
pub fn apply(
    request: &AllocateBlocksRequest,
    apply: &mut Apply<'_>,
) -> Result<AllocateBlocksResponse> {
    super::commit::check_session(apply, request.session)?;
    if request.session == 0 {
        return Err(refuse::invalid("blocks are handed to sessions"));
    }
    for block in &request.allocated {
        block_refs::open_block(apply, request.session, block.container, block.local);
    }
    Ok(AllocateBlocksResponse {
        blocks: request.allocated.clone(),
    })
}
