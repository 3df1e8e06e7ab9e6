//! Which blocks files refer to and sessions write to: `blockRefTable`, `openBlockTable`, and the
//! queue of blocks that neither needs any more. References change in the batch that changes the map
//! they come from, so a block is never freed under a file, and never kept without one.

use std::collections::{BTreeMap, BTreeSet};

use ozone_proto::namespace::{BlockRefRow, Extent, FreedBlockRow, OpenBlockRow, extent::Source};

use crate::apply::Apply;
use crate::error::Result;
use crate::namespace::ROW_VERSION;
use crate::ops::snapshot_reclaim::Span;
use crate::rows::{Rows, decode};
use crate::{snapshots, tables};

/// A file that refers to blocks, as far as snapshots see it.
#[derive(Debug, Clone, Copy)]
pub struct Holder {
    /// Its bucket.
    pub bucket: u64,
    /// Snapshots made after this command do not show it.
    pub until: u64,
}

/// References read at a time.
const PAGE: usize = 256;

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
                    let bytes = i64::try_from(extent.length).unwrap_or(i64::MAX);
                    change.0 += sign;
                    change.1 = change.1.saturating_add(sign * bytes);
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
    pub(crate) fn write(self, apply: &mut Apply<'_>, holder: Holder, object: u64) -> Result<()> {
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
                birth: match old.extents {
                    0 => apply.index,
                    _ => old.birth,
                },
            };
            if row.extents > 0 {
                apply.put(tables::BLOCK_REF, &key, &row);
                continue;
            }
            apply.delete(tables::BLOCK_REF, &key);
            match snapshots::newest_before(apply, holder.bucket, holder.until)? {
                Some(seen_by) if seen_by > old.birth => {
                    let label = [holder.bucket, seen_by, old.birth, container, local, object];
                    leave_to_snapshots(apply, label, &old);
                }
                _ => free_if_unused(apply, container, local)?,
            }
        }
        Ok(())
    }
}

/// The reference is only a snapshot's from now on, filed as [`tables::SNAPSHOT_BLOCK`] says.
fn leave_to_snapshots(apply: &mut Apply<'_>, label: [u64; 6], row: &BlockRefRow) {
    apply.put(tables::SNAPSHOT_BLOCK, &tables::number_key(&label), row);
    apply.put_raw(tables::BLOCK_REF, &snapshot_reference(label), Vec::new());
}

fn snapshot_reference([_, _, birth, container, local, object]: [u64; 6]) -> Vec<u8> {
    tables::number_key(&[container, local, object, birth])
}

/// Gives up at most `limit` references that a deleted snapshot saw and no other one does; how many
/// there were.
pub fn free_seen_by_none(apply: &mut Apply<'_>, span: &Span, limit: usize) -> Result<usize> {
    let found = seen_by_none_but(apply, span, limit)?;
    for (label, _) in &found {
        apply.delete(tables::SNAPSHOT_BLOCK, &tables::number_key(label));
        apply.delete(tables::BLOCK_REF, &snapshot_reference(*label));
        let [_, _, _, container, local, _] = *label;
        free_if_unused(apply, container, local)?;
    }
    Ok(found.len())
}

/// At most `limit` references that the snapshot at `span.index` sees and no other one does.
pub fn seen_by_none_but(
    rows: &impl Rows,
    span: &Span,
    limit: usize,
) -> Result<Vec<([u64; 6], BlockRefRow)>> {
    let prefix = tables::number_key(&[span.bucket]);
    // Under each label, those that were born after the next older snapshot come last.
    let mut label = span.index;
    let mut after =
        tables::number_key(&[span.bucket, label, span.older, u64::MAX, u64::MAX, u64::MAX]);
    let mut found = Vec::new();
    while found.len() < limit {
        let page = rows.scan(tables::SNAPSHOT_BLOCK, &prefix, Some(&after), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = last.clone();
        for (key, value) in &page {
            let Some(numbers) = tables::parse_number_key::<6>(key) else {
                continue;
            };
            let [_, of, birth, ..] = numbers;
            if span.newer.is_some_and(|newer| of >= newer) || found.len() == limit {
                return Ok(found);
            }
            if birth > span.older {
                found.push((numbers, decode(tables::SNAPSHOT_BLOCK, value)?));
            } else if of != label {
                label = of;
                let skip = [span.bucket, of, span.older, u64::MAX, u64::MAX, u64::MAX];
                after = tables::number_key(&skip);
                break;
            }
        }
    }
    Ok(found)
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
