//! Commit: written bytes become part of a file. They are on the datanodes' disks already, or ride
//! in this command as inline extents.

use bytes::Bytes;
use ozone_common::checksum::crc32c;
use ozone_proto::namespace::{CommitRequest, CommitResponse, Extent, InodeKind, extent::Source};
use ozone_proto::om::Status;

use crate::apply::Apply;
use crate::error::{OmError, Result, refuse};
use crate::file_map::{self, Change};
use crate::namespace::{self, Slot, layout};
use crate::rows::Rows;
use crate::unlink::{self, replicated};
use crate::{block_refs, fold_queue, limits, tables};

/// Bytes that one commit may carry inline.
pub const MAX_INLINE: usize = 64 << 10;
/// Inline values that one command may file: they are numbered below its index.
const MAX_VALUES: u64 = 1 << 16;

/// Applies the request.
pub fn apply(request: &CommitRequest, apply: &mut Apply<'_>) -> Result<CommitResponse> {
    let (place, dir) = namespace::ref_of(request.r#ref.as_ref())?;
    layout::of(dir).check_filesystem()?;
    check_session(apply, request.session)?;
    let found = namespace::find(apply, place)?;
    let mut row = found.row;
    if namespace::kind(&row) != InodeKind::File {
        return Err(OmError::refused(
            Status::NotAFile,
            "only a file has content",
        ));
    }
    if request
        .expected_data_version
        .is_some_and(|v| v != row.data_version)
    {
        return Err(OmError::refused(
            Status::AtomicWriteConflict,
            "the file has changed meanwhile",
        ));
    }
    let size = limits::file_size(request.size)?;
    let extents = keep_inline(apply, row.object_id, &request.extents)?;
    let reach = extents.iter().map(crate::extents::end).max().unwrap_or(0);
    fold_queue::add(apply, dir, &place.name, row.object_id, &extents)?;
    let holes = request
        .holes
        .iter()
        .map(|h| (h.offset, h.offset.saturating_add(h.length)))
        .collect();
    let holder = unlink::holder(apply, dir, &found.slot)?;
    let grown = file_map::change(apply, holder, &mut row, Change { holes, extents })?;
    if !matches!(found.slot, Slot::Orphan(_)) {
        apply.account(dir, 0, replicated(&row, grown))?;
    }
    row.size = row.size.max(size).max(reach);
    row.mtime_ns = if request.mtime_ns == 0 {
        apply.time_ns
    } else {
        request.mtime_ns
    };
    row.ctime_ns = apply.time_ns;
    row.update_id = apply.index;
    apply.store(&found.slot, &row)?;
    Ok(CommitResponse {
        inode: Some(namespace::inode(dir, &place.name, row)),
    })
}

/// Refuses what comes from a session that has been given up: its locks and blocks are others' now.
pub fn check_session(apply: &Apply<'_>, session: u64) -> Result<()> {
    if session == 0
        || apply
            .get_raw(tables::SESSION, &tables::number_key(&[session]))?
            .is_some()
    {
        return Ok(());
    }
    Err(refuse::session(session))
}

/// Files the inline bytes of the extents and checks that blocks may be referred to.
/// Returns the extents as they are kept.
pub fn keep_inline(apply: &mut Apply<'_>, object: u64, extents: &[Extent]) -> Result<Vec<Extent>> {
    keep(apply, object, extents, MAX_INLINE)
}

/// As [`keep_inline`], for extents that the OM has made of files of its own.
pub fn keep_all(apply: &mut Apply<'_>, object: u64, extents: &[Extent]) -> Result<Vec<Extent>> {
    keep(apply, object, extents, usize::MAX)
}

fn keep(
    apply: &mut Apply<'_>,
    object: u64,
    extents: &[Extent],
    most: usize,
) -> Result<Vec<Extent>> {
    let mut inline = Inline { bytes: 0, most };
    let mut kept = Vec::with_capacity(extents.len());
    for extent in extents {
        limits::check_file_range(extent.file_offset, extent.length)?;
        match &extent.source {
            Some(Source::Block(block)) => {
                limits::check_block_range(block.offset, extent.length)?;
                if !block_refs::may_refer(apply, block.container, block.local)? {
                    return Err(refuse::block(block));
                }
                kept.push(extent.clone());
            }
            Some(Source::Inline(_)) => inline.keep(apply, object, extent, &mut kept)?,
            None => return Err(refuse::invalid("an extent without a source")),
        }
    }
    Ok(kept)
}

/// The inline values of one operation.
struct Inline {
    bytes: usize,
    /// At most so many.
    most: usize,
}

impl Inline {
    /// Files the bytes of one extent, a value for each row of the map that it touches.
    fn keep(
        &mut self,
        apply: &mut Apply<'_>,
        object: u64,
        extent: &Extent,
        kept: &mut Vec<Extent>,
    ) -> Result<()> {
        let mut extent = extent.clone();
        let (data, crc) = match &mut extent.source {
            Some(Source::Inline(inline)) => {
                inline.offset = 0;
                (std::mem::take(&mut inline.data), inline.crc32c.take())
            }
            _ => (Bytes::new(), None),
        };
        if crc.is_some_and(|crc| crc != crc32c(&data)) {
            return Err(refuse::invalid("inline bytes were damaged on their way"));
        }
        self.bytes += data.len();
        if data.len() as u64 != extent.length || self.bytes > self.most {
            return Err(refuse::invalid(format!(
                "inline extents carry their bytes, {} at most",
                self.most
            )));
        }
        for (_, mut piece) in file_map::by_segment(&extent) {
            if apply.inline_values >= MAX_VALUES {
                let message = format!("more than {MAX_VALUES} inline values in one command");
                return Err(refuse::invalid(message));
            }
            if let Some(Source::Inline(inline)) = &mut piece.source {
                let from = std::mem::take(&mut inline.offset) as usize;
                inline.id = apply.index << 16 | apply.inline_values;
                let value = data[from..from + piece.length as usize].to_vec();
                let key = tables::number_key(&[object, inline.id]);
                apply.put_raw(tables::INLINE, &key, value);
            }
            apply.inline_values += 1;
            kept.push(piece);
        }
        Ok(())
    }
}
