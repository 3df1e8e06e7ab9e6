//! Which blocks files refer to and sessions write to: `blockRefTable`, `openBlockTable`, and the
//! queue of blocks that neither needs any more. References change in the batch that changes the map
//! they come from, so a block is never freed under a file, and never kept without one.

use std::collections::{BTreeMap, BTreeSet};

use ozone_proto::namespace::{BlockRefRow, Extent, FreedBlockRow, OpenBlockRow, extent::Source};

use crate::apply::Apply;
use crate::error::Result;
use crate::namespace::ROW_VERSION;
use crate::rows::Rows;
use crate::tables;

/// By how much the references of one file change.
#[derive(Default)]
pub(crate) struct RefChange {
    /// (container, local) -> extents, bytes.
    blocks: BTreeMap<(u64, u64), (i64, i64)>,
    inline_before: BTreeSet<u64>,
    inline_after: BTreeSet<u64>,
}

impl RefChange {
    /// The file refers no more to these.
    pub(crate) fn leaves(&mut self, map: &[Extent]) {
        self.count(map, -1);
    }

    /// The file refers to these.
    pub(crate) fn enters(&mut self, map: &[Extent]) {
        self.count(map, 1);
    }

    fn count(&mut self, map: &[Extent], sign: i64) {
        for extent in map {
            match &extent.source {
                Some(Source::Block(block)) => {
                    let change = self
                        .blocks
                        .entry((block.container, block.local))
                        .or_default();
                    change.0 += sign;
                    change.1 += sign * extent.length as i64;
                }
                Some(Source::Inline(inline)) => {
                    let side = if sign < 0 {
                        &mut self.inline_before
                    } else {
                        &mut self.inline_after
                    };
                    side.insert(inline.id);
                }
                None => {}
            }
        }
    }

    /// Puts the change into the tables.
    pub(crate) fn write(self, apply: &mut Apply<'_>, object: u64) -> Result<()> {
        for id in self.inline_before.difference(&self.inline_after) {
            apply.delete(tables::INLINE, &tables::number_key(&[object, *id]));
        }
        for ((container, local), (extents, bytes)) in self.blocks {
            if (extents, bytes) == (0, 0) {
                continue;
            }
            let key = tables::number_key(&[container, local, object]);
            let old: BlockRefRow = apply.get(tables::BLOCK_REF, &key)?.unwrap_or_default();
            let row = BlockRefRow {
                version: ROW_VERSION,
                extents: old.extents.saturating_add_signed(extents),
                bytes: old.bytes.saturating_add_signed(bytes),
            };
            if row.extents > 0 {
                apply.put(tables::BLOCK_REF, &key, &row);
                continue;
            }
            apply.delete(tables::BLOCK_REF, &key);
            free_if_unused(apply, container, local)?;
        }
        Ok(())
    }
}

/// Queues a block to be freed when no file refers to it and no session writes to it.
fn free_if_unused(apply: &mut Apply<'_>, container: u64, local: u64) -> Result<()> {
    let block = tables::number_key(&[container, local]);
    if apply.any(tables::BLOCK_REF, &block)?
        || apply
            .get_raw(tables::OPEN_BLOCK, &open_key(container, local))?
            .is_some()
    {
        return Ok(());
    }
    let row = FreedBlockRow {
        version: ROW_VERSION,
        freed_ms: apply.time_ms(),
    };
    apply.put(tables::FREED_BLOCK, &block, &row);
    Ok(())
}

/// Key of a block that a session writes to, found by the block alone.
fn open_key(container: u64, local: u64) -> Vec<u8> {
    tables::number_key(&[0, container, local])
}

/// Notes that `session` writes to the block.
pub fn open_block(apply: &mut Apply<'_>, session: u64, container: u64, local: u64) {
    let row = OpenBlockRow {
        version: ROW_VERSION,
        session,
        allocated_ms: apply.time_ms(),
    };
    apply.put(tables::OPEN_BLOCK, &open_key(container, local), &row);
    apply.put(
        tables::OPEN_BLOCK,
        &tables::number_key(&[session, container, local]),
        &row,
    );
}

/// The session writes no more to the block.
pub fn close_block(apply: &mut Apply<'_>, session: u64, container: u64, local: u64) -> Result<()> {
    if !is_open_for(apply, session, container, local)? {
        return Ok(());
    }
    let mine = tables::number_key(&[session, container, local]);
    apply.delete(tables::OPEN_BLOCK, &mine);
    apply.delete(tables::OPEN_BLOCK, &open_key(container, local));
    free_if_unused(apply, container, local)
}

/// Whether a commit may refer to the block: it is being written or is part of a file.
pub fn may_refer(apply: &Apply<'_>, container: u64, local: u64) -> Result<bool> {
    Ok(apply
        .get_raw(tables::OPEN_BLOCK, &open_key(container, local))?
        .is_some()
        || apply.any(tables::BLOCK_REF, &tables::number_key(&[container, local]))?)
}

/// Whether `session` writes to the block.
pub fn is_open_for(apply: &Apply<'_>, session: u64, container: u64, local: u64) -> Result<bool> {
    let mine = tables::number_key(&[session, container, local]);
    Ok(apply.get_raw(tables::OPEN_BLOCK, &mine)?.is_some())
}
