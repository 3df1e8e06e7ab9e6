//! How a file's extents are kept: in its row while they are few, else in `extentTable`, one row for
//! each [`SEGMENT`] of the file. A commit rewrites the rows that it touches and no others, so it
//! costs what it changes and not what the file holds.
//!
//! Every change here keeps `blockRefTable` true in the same batch: a block that the last extent of
//! the last file leaves is queued to be freed, unless a session is still writing to it.

use std::collections::{BTreeMap, BTreeSet};

use ozone_proto::namespace::{
    BlockRefRow, Extent, ExtentSegment, FreedBlockRow, InodeRow, OpenBlockRow, extent::Source,
};

use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::extents;
use crate::namespace::ROW_VERSION;
use crate::rows::{Rows, decode};
use crate::tables;

/// Extents that a row holds before they move to the table.
const INLINE_EXTENTS: usize = 16;
/// Bytes of the file whose extents share a row of the table.
const SEGMENT: u64 = 4 << 20;
/// Segments read at a time.
const PAGE: usize = 64;

/// The extents of `row` in `[from, to)`, in order, at most `limit`; the flag says that more follow.
pub fn read(
    rows: &impl Rows,
    row: &InodeRow,
    from: u64,
    to: u64,
    limit: usize,
) -> Result<(Vec<Extent>, bool)> {
    if !row.extents_in_table {
        let mut found = extents::slice(&row.extents, from, to);
        let more = found.len() > limit;
        found.truncate(limit);
        return Ok((found, more));
    }
    let prefix = tables::number_key(&[row.object_id]);
    // Keys come after this one: the segment before the first wanted.
    let mut after = (from / SEGMENT)
        .checked_sub(1)
        .map(|s| tables::number_key(&[row.object_id, s]));
    let mut found: Vec<Extent> = Vec::new();
    loop {
        let page = rows.scan(tables::EXTENT, &prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok((found, false));
        };
        after = Some(last.clone());
        for (key, value) in &page {
            if segment_of(key)? * SEGMENT >= to {
                return Ok((found, false));
            }
            let segment: ExtentSegment = decode(tables::EXTENT, value)?;
            found.extend(extents::slice(&segment.extents, from, to));
            if found.len() > limit {
                found.truncate(limit);
                return Ok((found, true));
            }
        }
    }
}

fn segment_of(key: &[u8]) -> Result<u64> {
    tables::parse_number_key::<2>(key)
        .map(|[_, segment]| segment)
        .ok_or_else(|| OmError::Storage("extentTable: bad key".into()))
}

/// One change of a file's map.
#[derive(Debug, Default)]
pub struct Change {
    /// Ranges that become holes, first.
    pub holes: Vec<(u64, u64)>,
    /// Extents that win over what is there.
    pub extents: Vec<Extent>,
}

/// Changes the map of the file whose row is `row` (the caller stores the row).
/// Returns by how many bytes the file's allocation grew.
pub fn change(apply: &mut Apply<'_>, row: &mut InodeRow, change: Change) -> Result<i64> {
    let before = row.allocated;
    let mut refs = RefChange::default();
    if row.extents_in_table {
        change_table(apply, row, change, &mut refs)?;
    } else {
        refs.leaves(&row.extents);
        lay(&mut row.extents, change);
        refs.enters(&row.extents);
        row.allocated = row.extents.iter().map(|e| e.length).sum();
        if row.extents.len() > INLINE_EXTENTS {
            spill(apply, row);
        }
    }
    row.data_version = apply.index;
    refs.write(apply, row.object_id)?;
    Ok(row.allocated as i64 - before as i64)
}

fn lay(map: &mut Vec<Extent>, change: Change) {
    for (from, to) in change.holes {
        extents::punch(map, from, to);
    }
    for extent in change.extents {
        extents::overlay(map, extent);
    }
}

/// Moves a row's extents into the table.
fn spill(apply: &mut Apply<'_>, row: &mut InodeRow) {
    let mut segments: BTreeMap<u64, Vec<Extent>> = BTreeMap::new();
    for extent in std::mem::take(&mut row.extents) {
        for (segment, piece) in by_segment(&extent) {
            segments.entry(segment).or_default().push(piece);
        }
    }
    row.extents_in_table = true;
    for (segment, extents) in segments {
        put_segment(apply, row.object_id, segment, extents);
    }
}

fn by_segment(extent: &Extent) -> impl Iterator<Item = (u64, Extent)> {
    let first = extent.file_offset / SEGMENT;
    let last = extents::end(extent).saturating_sub(1) / SEGMENT;
    let extent = extent.clone();
    (first..=last).filter_map(move |s| {
        extents::clip(&extent, s * SEGMENT, (s + 1) * SEGMENT).map(|piece| (s, piece))
    })
}

fn put_segment(apply: &mut Apply<'_>, object: u64, segment: u64, extents: Vec<Extent>) {
    let key = tables::number_key(&[object, segment]);
    if extents.is_empty() {
        apply.delete(tables::EXTENT, &key);
    } else {
        apply.put(
            tables::EXTENT,
            &key,
            &ExtentSegment {
                version: ROW_VERSION,
                extents,
            },
        );
    }
}

fn change_table(
    apply: &mut Apply<'_>,
    row: &mut InodeRow,
    change: Change,
    refs: &mut RefChange,
) -> Result<()> {
    let mut parts: BTreeMap<u64, Change> = BTreeMap::new();
    for (from, to) in change.holes {
        for segment in existing_segments(apply, row.object_id, from, to)? {
            parts.entry(segment).or_default().holes.push((from, to));
        }
    }
    for extent in &change.extents {
        for (segment, piece) in by_segment(extent) {
            parts.entry(segment).or_default().extents.push(piece);
        }
    }
    for (segment, part) in parts {
        let key = tables::number_key(&[row.object_id, segment]);
        let old: ExtentSegment = apply.get(tables::EXTENT, &key)?.unwrap_or_default();
        let mut map = old.extents;
        let (start, stop) = (segment * SEGMENT, (segment + 1) * SEGMENT);
        let held: u64 = map.iter().map(|e| e.length).sum();
        refs.leaves(&map);
        let holes = part
            .holes
            .iter()
            .map(|(from, to)| ((*from).max(start), (*to).min(stop)))
            .collect();
        lay(
            &mut map,
            Change {
                holes,
                extents: part.extents,
            },
        );
        refs.enters(&map);
        row.allocated = row.allocated + map.iter().map(|e| e.length).sum::<u64>() - held;
        put_segment(apply, row.object_id, segment, map);
    }
    Ok(())
}

fn existing_segments(apply: &Apply<'_>, object: u64, from: u64, to: u64) -> Result<Vec<u64>> {
    let prefix = tables::number_key(&[object]);
    let mut after = (from / SEGMENT)
        .checked_sub(1)
        .map(|s| tables::number_key(&[object, s]));
    let mut found = Vec::new();
    loop {
        let page = apply.scan(tables::EXTENT, &prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(found);
        };
        after = Some(last.clone());
        for (key, _) in &page {
            let segment = segment_of(key)?;
            if segment * SEGMENT >= to {
                return Ok(found);
            }
            found.push(segment);
        }
    }
}

/// Gives up up to `limit` rows of a deleted file's map; true when nothing is left of it.
pub fn give_up(apply: &mut Apply<'_>, row: &mut InodeRow, limit: usize) -> Result<bool> {
    let mut refs = RefChange::default();
    refs.leaves(&row.extents);
    row.extents.clear();
    let mut done = true;
    if row.extents_in_table {
        let prefix = tables::number_key(&[row.object_id]);
        let page = apply.scan(tables::EXTENT, &prefix, None, limit)?;
        done = page.len() < limit;
        for (key, value) in page {
            let segment: ExtentSegment = decode(tables::EXTENT, &value)?;
            refs.leaves(&segment.extents);
            apply.delete(tables::EXTENT, &key);
        }
    }
    refs.write(apply, row.object_id)?;
    Ok(done)
}

/// By how much the references of one file change.
#[derive(Default)]
struct RefChange {
    /// (container, local) -> extents, bytes.
    blocks: BTreeMap<(u64, u64), (i64, i64)>,
    inline_before: BTreeSet<u64>,
    inline_after: BTreeSet<u64>,
}

impl RefChange {
    fn leaves(&mut self, map: &[Extent]) {
        self.count(map, -1);
    }

    fn enters(&mut self, map: &[Extent]) {
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

    fn write(self, apply: &mut Apply<'_>, object: u64) -> Result<()> {
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
pub fn free_if_unused(apply: &mut Apply<'_>, container: u64, local: u64) -> Result<()> {
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
    let mine = tables::number_key(&[session, container, local]);
    if apply.get_raw(tables::OPEN_BLOCK, &mine)?.is_none() {
        return Ok(());
    }
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
