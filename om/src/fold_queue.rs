//! Files with inline extents, waiting to be folded: the background writes their bytes to a block, so
//! that the OM's database does not become the place where data lives.
//!
//! An entry is made by the commit that adds inline bytes, and knows where the file is and where in it
//! the bytes are. It is due after a while, which lets a file be rewritten or deleted meanwhile at no
//! cost; a file that collects many small extents is due at once, so that its map stays short.

use ozone_proto::namespace::{DirRef, Extent, FoldRow, InodeRef, InodeRow, extent::Source};

use crate::apply::Apply;
use crate::error::Result;
use crate::extents::end;
use crate::namespace::ROW_VERSION;
use crate::rows::Rows;
use crate::tables;

/// What a file's first inline bytes wait before they are folded, milliseconds.
const PATIENCE_MS: i64 = 20_000;
/// Inline extents with which a file waits no longer.
const MANY: u32 = 64;

fn due_key(row: &FoldRow, object: u64) -> Vec<u8> {
    tables::number_key(&[0, row.due_ms.max(0).cast_unsigned(), object])
}

fn entry_key(object: u64) -> Vec<u8> {
    tables::number_key(&[1, object])
}

/// The entry of a file.
pub fn find(rows: &impl Rows, object: u64) -> Result<Option<FoldRow>> {
    rows.get(tables::FOLD, &entry_key(object))
}

/// Files that are due at `now_ms`, the longest waiting first, with the keys of their entries: those after the
/// entry `after`, at most `limit`.
pub fn due(
    rows: &impl Rows,
    now_ms: i64,
    (after, limit): (Option<&[u8]>, usize),
) -> Result<Vec<(Vec<u8>, u64)>> {
    let prefix = tables::number_key(&[0]);
    let mut found = Vec::new();
    for (key, _) in rows.scan(tables::FOLD, &prefix, after, limit)? {
        let Some([_, due, object]) = tables::parse_number_key::<3>(&key) else {
            continue;
        };
        if i64::try_from(due).is_ok_and(|due| due <= now_ms) {
            found.push((key, object));
        }
    }
    Ok(found)
}

/// Takes in that the file got these extents.
pub fn add(
    apply: &mut Apply<'_>,
    dir: &DirRef,
    name: &[u8],
    object: u64,
    extents: &[Extent],
) -> Result<()> {
    let inline = |e: &&Extent| matches!(e.source, Some(Source::Inline(_)));
    let added: Vec<&Extent> = extents.iter().filter(inline).collect();
    let (Some(first), Some(last)) = (added.first(), added.last()) else {
        return Ok(());
    };
    let old = find(apply, object)?;
    let mut row = match &old {
        Some(row) => row.clone(),
        None => FoldRow {
            version: ROW_VERSION,
            due_ms: apply.time_ms().saturating_add(PATIENCE_MS),
            from: u64::MAX,
            ..Default::default()
        },
    };
    row.place = Some(InodeRef {
        dir: Some(*dir),
        name: name.to_vec().into(),
        object_id: object,
    });
    row.extents = row
        .extents
        .saturating_add(u32::try_from(added.len()).unwrap_or(u32::MAX));
    row.from = added
        .iter()
        .map(|e| e.file_offset)
        .fold(row.from.min(first.file_offset), u64::min);
    row.to = added
        .iter()
        .map(|e| end(e))
        .fold(row.to.max(end(last)), u64::max);
    if row.extents >= MANY {
        row.due_ms = 0;
    }
    put(apply, object, old.as_ref(), &row);
    Ok(())
}

fn put(apply: &mut Apply<'_>, object: u64, old: Option<&FoldRow>, row: &FoldRow) {
    apply.put(tables::FOLD, &entry_key(object), row);
    if old.is_some_and(|old| old.due_ms == row.due_ms) {
        return;
    }
    if let Some(old) = old {
        apply.delete(tables::FOLD, &due_key(old, object));
    }
    apply.put_raw(tables::FOLD, &due_key(row, object), Vec::new());
}

/// The file has another place.
pub fn moved(apply: &mut Apply<'_>, dir: &DirRef, name: &[u8], row: &InodeRow) -> Result<()> {
    let inline = |e: &Extent| matches!(e.source, Some(Source::Inline(_)));
    if !row.extents_in_table && !row.extents.iter().any(inline) {
        return Ok(());
    }
    if let Some(mut queued) = find(apply, row.object_id)? {
        queued.place = Some(InodeRef {
            dir: Some(*dir),
            name: name.to_vec().into(),
            object_id: row.object_id,
        });
        apply.put(tables::FOLD, &entry_key(row.object_id), &queued);
    }
    Ok(())
}

/// Some of the file's inline bytes were folded; what is left waits like new ones.
pub fn wait_again(apply: &mut Apply<'_>, object: u64, old: &FoldRow) {
    let row = FoldRow {
        due_ms: apply.time_ms().saturating_add(PATIENCE_MS),
        extents: 0,
        ..old.clone()
    };
    put(apply, object, Some(old), &row);
}

/// Nothing of the file is to be folded.
pub fn remove(apply: &mut Apply<'_>, object: u64, old: &FoldRow) {
    apply.delete(tables::FOLD, &entry_key(object));
    apply.delete(tables::FOLD, &due_key(old, object));
}
