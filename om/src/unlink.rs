//! What becomes of an inode that loses a name: shared by unlink, rename over a file, and keys that
//! are overwritten or deleted.

use ozone_proto::namespace::{DeletedRow, DirRef, InodeKind, InodeRow, Keep, OrphanRow};

use crate::apply::Apply;
use crate::block_refs::Holder;
use crate::error::Result;
use crate::namespace::{self, Found, Level, ROW_VERSION, Slot, layout};
use crate::rows::Rows;
use crate::{links, tables};

/// Takes the name `name` in `dir` from the inode `found` (not a directory) and returns the inode's
/// row as it is now. With its last name gone, the inode goes to be reclaimed, or stays for the
/// sessions that have it open. `keep` says which, if it is about this inode; if something else had the
/// name when the leader looked, the inode stays for every session until that says otherwise.
pub fn drop_name(
    apply: &mut Apply<'_>,
    dir: &DirRef,
    name: &[u8],
    found: Found,
    keep: Option<&Keep>,
) -> Result<InodeRow> {
    let Level::Bucket { volume, bucket, .. } = namespace::level(dir) else {
        return Ok(found.row);
    };
    let (table, row_key) = layout::of(dir).row_key(apply, dir, name)?;
    apply.delete(table, &row_key);
    apply.name_changed(dir, name);
    let mut row = found.row;
    if is_shared(&found.slot) {
        links::remove(apply, row.object_id, dir.parent_id, name);
    }
    apply.inode_changed(row.object_id);
    row.nlink = row.nlink.saturating_sub(1);
    row.ctime_ns = apply.time_ns;
    if row.nlink > 0 {
        apply.account(dir, -1, 0)?;
        apply.store(&found.slot, &row)?;
        return Ok(row);
    }
    apply.account(dir, -1, -replicated(&row, row.allocated as i64))?;
    let mut death = apply.removed;
    if let Slot::Row {
        table: tables::INODE,
        key,
    } = &found.slot
    {
        apply.delete(tables::INODE, key);
        // Another of its names may have gone later than the directory that this one was in.
        death = death.max(row.update_id);
    }
    let keep_for = match keep.filter(|keep| keep.object_id == row.object_id) {
        Some(keep) => those_left(apply, &keep.sessions)?,
        None => all_sessions(apply)?,
    };
    if keep_for.is_empty() {
        reclaim(apply, volume, bucket, row.clone(), death);
        return Ok(row);
    }
    apply.inode_gone(row.object_id);
    let orphan = OrphanRow {
        version: ROW_VERSION,
        volume_id: volume,
        bucket_id: bucket,
        inode: Some(row.clone()),
        sessions: keep_for.clone(),
        death,
    };
    let key = tables::id_key(volume, bucket, row.object_id);
    apply.put(tables::ORPHAN, &key, &orphan);
    for session in keep_for {
        apply.put_raw(
            tables::SESSION_ORPHAN,
            &session_orphan_key(session, row.object_id),
            key.clone(),
        );
    }
    Ok(row)
}

/// Those that did not end after the leader looked: nobody would release anything for them.
fn those_left(apply: &Apply<'_>, sessions: &[u64]) -> Result<Vec<u64>> {
    let mut left = Vec::with_capacity(sessions.len());
    for session in sessions {
        let key = tables::number_key(&[*session]);
        if apply.get_raw(tables::SESSION, &key)?.is_some() {
            left.push(*session);
        }
    }
    Ok(left)
}

fn all_sessions(apply: &Apply<'_>) -> Result<Vec<u64>> {
    let rows = apply.scan(tables::SESSION, &[], None, usize::MAX)?;
    let ids = rows
        .iter()
        .filter_map(|(key, _)| tables::parse_number_key::<1>(key));
    Ok(ids.map(|[id]| id).collect())
}

/// `bytes` of a file, times the copies that are kept of them.
pub fn replicated(row: &InodeRow, bytes: i64) -> i64 {
    let copies = row.replication.as_ref().map_or(1, |r| r.factor.max(1));
    bytes.saturating_mul(i64::from(copies))
}

/// Key by which a session's orphans are found.
pub fn session_orphan_key(session: u64, object: u64) -> Vec<u8> {
    tables::number_key(&[session, object])
}

/// Whether the inode's row is not its name's.
fn is_shared(slot: &Slot) -> bool {
    matches!(
        slot,
        Slot::Row {
            table: tables::INODE,
            ..
        }
    )
}

/// Which file `slot` is, as far as snapshots see it.
pub fn holder(apply: &Apply<'_>, dir: &DirRef, slot: &Slot) -> Result<Holder> {
    let until = match slot {
        Slot::Orphan(key) => {
            let orphan: Option<OrphanRow> = apply.get(tables::ORPHAN, key)?;
            orphan.map_or(apply.index, |orphan| orphan.death)
        }
        _ => apply.index,
    };
    let bucket = dir.bucket_id;
    Ok(Holder { bucket, until })
}

/// The death of what was never in the tree: before the first snapshot.
pub const NEVER_SEEN: u64 = 1;

/// Queues an inode without a name for the background to take apart. Snapshots made after the command
/// `death` do not show it.
pub fn reclaim(apply: &mut Apply<'_>, volume: u64, bucket: u64, row: InodeRow, death: u64) {
    let key = tables::id_key(volume, bucket, row.object_id);
    let table = match namespace::kind(&row) {
        InodeKind::Directory => tables::DELETED_DIRECTORY,
        _ => tables::DELETED,
    };
    let deleted = DeletedRow {
        version: ROW_VERSION,
        volume_id: volume,
        bucket_id: bucket,
        inode: Some(row),
        deleted_ms: apply.time_ms(),
        death,
    };
    apply.put(table, &key, &deleted);
}

/// `session` gives up an inode, if it holds one without a name; with its last holder gone, such an
/// inode is reclaimed.
pub fn release_orphan(apply: &mut Apply<'_>, session: u64, object: u64) -> Result<()> {
    let held = session_orphan_key(session, object);
    let Some(key) = apply.get_raw(tables::SESSION_ORPHAN, &held)? else {
        return Ok(());
    };
    apply.delete(tables::SESSION_ORPHAN, &held);
    let Some(mut orphan) = apply.get::<OrphanRow>(tables::ORPHAN, &key)? else {
        return Ok(());
    };
    orphan.sessions.retain(|s| *s != session);
    if !orphan.sessions.is_empty() {
        apply.put(tables::ORPHAN, &key, &orphan);
        return Ok(());
    }
    apply.delete(tables::ORPHAN, &key);
    if let Some(row) = orphan.inode {
        reclaim(apply, orphan.volume_id, orphan.bucket_id, row, orphan.death);
    }
    Ok(())
}
