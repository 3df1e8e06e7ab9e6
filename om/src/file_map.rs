//! How a file's extents are kept: in its row while they are few, else in `extentTable`, one row for
//! each [`SEGMENT`] of the file. A commit rewrites the rows that it touches and no others, so it
//! costs what it changes and not what the file holds.
//!
//! An inline value never reaches over a border between two rows of the table, so that each row can
//! tell alone whether it is still needed. What a change adds or takes away is counted in
//! [`crate::block_refs`], in the same batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use ozone_proto::namespace::{
    BlockSource, Extent, ExtentSegment, FoldPiece, InlineSource, InodeRow, extent::Source,
};

use crate::apply::Apply;
use crate::block_refs::{Holder, RefChange};
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

/// The bytes of an inline extent of `length` bytes.
pub fn inline_bytes(
    rows: &impl Rows,
    object: u64,
    inline: &InlineSource,
    length: usize,
) -> Result<Bytes> {
    let fault = |what| {
        OmError::Storage(format!(
            "inlineTable {what} {} of inode {object}",
            inline.id
        ))
    };
    let value = rows
        .get_raw(tables::INLINE, &tables::number_key(&[object, inline.id]))?
        .ok_or_else(|| fault("lacks"))?;
    let value = Bytes::from(value);
    let from = inline.offset as usize;
    if value.len() < from + length {
        return Err(fault("has too few bytes in"));
    }
    Ok(value.slice(from..from + length))
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
pub fn change(
    apply: &mut Apply<'_>,
    holder: Holder,
    row: &mut InodeRow,
    change: Change,
) -> Result<i64> {
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
    refs.write(apply, holder, row.object_id)?;
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

/// The pieces of an extent by the rows of the table that they belong to.
pub fn by_segment(extent: &Extent) -> impl Iterator<Item = (u64, Extent)> {
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

/// Inline extents that `pieces` cover become extents of `block`, wherever the file still has them.
/// The file's bytes stay what they are. Returns how many extents changed.
pub fn fold(
    apply: &mut Apply<'_>,
    holder: Holder,
    row: &mut InodeRow,
    block: &BlockSource,
    pieces: &[FoldPiece],
) -> Result<usize> {
    let mut by_id: HashMap<u64, Vec<&FoldPiece>> = HashMap::new();
    for piece in pieces {
        by_id.entry(piece.id).or_default().push(piece);
    }
    let moved = |extent: &Extent| {
        let Some(Source::Inline(inline)) = &extent.source else {
            return None;
        };
        // Pieces of an inline value only ever shrink, so one that was there holds what is left.
        let from = u64::from(inline.offset);
        let piece = by_id.get(&inline.id)?.iter().find(|p| {
            let start = u64::from(p.offset);
            start <= from && from + extent.length <= start.saturating_add(p.length)
        })?;
        let skipped = from - u64::from(piece.offset);
        let offset = piece.block_offset.saturating_add(skipped);
        Some(Source::Block(BlockSource { offset, ..*block }))
    };
    let mut refs = RefChange::default();
    let mut changed = 0;
    if row.extents_in_table {
        for segment in segments_of(pieces) {
            let key = tables::number_key(&[row.object_id, segment]);
            let old: ExtentSegment = apply.get(tables::EXTENT, &key)?.unwrap_or_default();
            let mut map = old.extents;
            refs.leaves(&map);
            changed += extents::rehome(&mut map, moved);
            refs.enters(&map);
            put_segment(apply, row.object_id, segment, map);
        }
    } else {
        refs.leaves(&row.extents);
        changed = extents::rehome(&mut row.extents, moved);
        refs.enters(&row.extents);
    }
    refs.write(apply, holder, row.object_id)?;
    Ok(changed)
}

fn segments_of(pieces: &[FoldPiece]) -> BTreeSet<u64> {
    pieces.iter().map(|p| p.file_offset / SEGMENT).collect()
}

/// Gives up up to `limit` rows of a deleted file's map; true when nothing is left of it.
pub fn give_up(
    apply: &mut Apply<'_>,
    holder: Holder,
    row: &mut InodeRow,
    limit: usize,
) -> Result<bool> {
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
    refs.write(apply, holder, row.object_id)?;
    Ok(done)
}
