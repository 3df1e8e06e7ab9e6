//! Fold: inline bytes that the leader has written to a block are taken out of the OM. The map of
//! each file, the references of the block and the inline values change in one batch; an extent that
//! was overwritten meanwhile is left alone, since the pieces name the very values they replace.
//!
//! For everybody else this is no change: neither `update_id` nor `data_version` moves.

use ozone_proto::namespace::{BlockSource, FoldFile, FoldRequest, FoldResponse, InodeKind};

use crate::apply::Apply;
use crate::error::{Result, refuse};
use crate::rows::Rows;
use crate::{block_refs, file_map, fold_queue, limits, namespace, tables, unlink};

/// Applies the request.
pub fn apply(request: &FoldRequest, apply: &mut Apply<'_>) -> Result<FoldResponse> {
    let Some(block) = &request.block else {
        return forget_gone(request, apply);
    };
    let (container, local) = (block.container, block.local);
    super::commit::check_session(apply, request.session)?;
    if !block_refs::is_open_for(apply, request.session, container, local)? {
        return Err(refuse::block(block));
    }
    let pieces = request.files.iter().flat_map(|file| &file.pieces);
    for piece in pieces {
        limits::check_block_range(piece.block_offset, piece.length)?;
    }
    let mut extents = 0;
    for file in &request.files {
        extents += fold_file(apply, block, file)?;
    }
    super::session::end(apply, request.session)?;
    Ok(FoldResponse {
        extents: u32::try_from(extents).unwrap_or(u32::MAX),
    })
}

/// Files that had nothing to fold when the leader looked.
fn forget_gone(request: &FoldRequest, apply: &mut Apply<'_>) -> Result<FoldResponse> {
    for file in &request.files {
        fold_file(apply, &BlockSource::default(), file)?;
    }
    Ok(FoldResponse { extents: 0 })
}

fn fold_file(apply: &mut Apply<'_>, block: &BlockSource, file: &FoldFile) -> Result<usize> {
    let object = file.object_id;
    let Some(queued) = fold_queue::find(apply, object)? else {
        return Ok(0);
    };
    let place = queued.place.clone().unwrap_or_default();
    let found = match namespace::find(apply, &place) {
        Ok(found) if namespace::kind(&found.row) == InodeKind::File => found,
        Err(fault) if !fault.is_refusal() => return Err(fault),
        // Deleted meanwhile, its inline values with it.
        _ => {
            fold_queue::remove(apply, object, &queued);
            return Ok(0);
        }
    };
    let mut row = found.row;
    let dir = *namespace::dir_of(place.dir.as_ref())?;
    let holder = unlink::holder(apply, &dir, &found.slot)?;
    let folded = file_map::fold(apply, holder, &mut row, block, &file.pieces)?;
    if folded > 0 {
        apply.store_unchanged(&found.slot, row)?;
    }
    if !apply.any(tables::INLINE, &tables::number_key(&[object]))? {
        fold_queue::remove(apply, object, &queued);
    } else if !file.more {
        fold_queue::wait_again(apply, object, &queued);
    }
    Ok(folded)
}
