//! Purge: the background's work on what has been deleted, a bounded piece at a time: directories
//! are expanded into their children, files give up their extents, freed blocks that SCM has taken
//! over are forgotten, and so are keys that were opened and never committed.

use ozone_proto::namespace::{DeletedRow, DirRef, InodeRow, Keep, PurgeRequest, PurgeResponse};

use crate::apply::Apply;
use crate::block_refs::Holder;
use crate::error::Result;
use crate::rows::{Rows, decode};
use crate::{file_map, namespace, tables, unlink};

/// Applies the request.
pub fn apply(request: &PurgeRequest, apply: &mut Apply<'_>) -> Result<PurgeResponse> {
    let mut left = request.limit.max(1) as usize;
    let before = left;
    for key in &request.sent_blocks {
        if let Some([container, local]) = tables::parse_number_key::<2>(key) {
            // A block that came back to life meanwhile has no such row.
            apply.delete(
                tables::FREED_BLOCK,
                &tables::number_key(&[container, local]),
            );
        }
    }
    for key in &request.open_keys {
        apply.delete(tables::OPEN_KEY, key);
    }
    for key in &request.uploads {
        super::multipart::expire(key, apply)?;
    }
    for key in &request.deleted_dirs {
        if left == 0 {
            break;
        }
        expand(apply, key, &request.keeps, &mut left)?;
    }
    for key in &request.deleted_rows {
        if left == 0 {
            break;
        }
        give_up(apply, key, &mut left)?;
    }
    let rows = u32::try_from(before - left).unwrap_or(u32::MAX);
    Ok(PurgeResponse { rows })
}

/// Takes a deleted file apart.
fn give_up(apply: &mut Apply<'_>, key: &[u8], left: &mut usize) -> Result<()> {
    let Some(mut deleted) = apply.get::<DeletedRow>(tables::DELETED, key)? else {
        return Ok(());
    };
    *left = left.saturating_sub(1);
    let mut row = deleted.inode.take().unwrap_or_default();
    let holder = Holder {
        bucket: deleted.bucket_id,
        until: death_of(&deleted, apply),
    };
    if file_map::give_up(apply, holder, &mut row, (*left).max(1))? {
        apply.delete(tables::DELETED, key);
    } else {
        *left = 0;
        deleted.inode = Some(row);
        apply.put(tables::DELETED, key, &deleted);
    }
    Ok(())
}

/// The command from which on snapshots do not show it; rows that are older than snapshots lack it.
fn death_of(deleted: &DeletedRow, apply: &Apply<'_>) -> u64 {
    match deleted.death {
        0 => apply.index,
        death => death,
    }
}

/// Moves children of a deleted directory to where they are reclaimed.
fn expand(apply: &mut Apply<'_>, key: &[u8], keeps: &[Keep], left: &mut usize) -> Result<()> {
    let Some(deleted) = apply.get::<DeletedRow>(tables::DELETED_DIRECTORY, key)? else {
        return Ok(());
    };
    let id = deleted.inode.as_ref().map_or(0, |i| i.object_id);
    let dir = DirRef {
        volume_id: deleted.volume_id,
        bucket_id: deleted.bucket_id,
        parent_id: id,
        snapshot: 0,
    };
    let death = death_of(&deleted, apply);
    apply.removed = death;
    let prefix = tables::children_prefix(dir.volume_id, dir.bucket_id, id);
    for (child, value) in apply.scan(tables::DIRECTORY, &prefix, None, *left)? {
        let row: InodeRow = decode(tables::DIRECTORY, &value)?;
        apply.delete(tables::DIRECTORY, &child);
        apply.delete(
            tables::DIRECTORY_ID,
            &tables::id_key(dir.volume_id, dir.bucket_id, row.object_id),
        );
        apply.account(&dir, -1, 0)?;
        unlink::reclaim(apply, dir.volume_id, dir.bucket_id, row, death);
        *left = left.saturating_sub(1);
    }
    for (child, _) in apply.scan(tables::FILE, &prefix, None, *left)? {
        let name = child[prefix.len()..].to_vec();
        if let Some(found) = namespace::child(apply, &dir, &name)? {
            let object_id = found.row.object_id;
            let nobody = Keep {
                object_id,
                sessions: Vec::new(),
            };
            let keep = keeps.iter().find(|keep| keep.object_id == object_id);
            unlink::drop_name(apply, &dir, &name, found, Some(keep.unwrap_or(&nobody)))?;
        }
        *left = left.saturating_sub(1);
    }
    apply.removed = apply.index;
    if *left > 0 && namespace::is_empty(apply, &dir)? {
        apply.delete(tables::DELETED_DIRECTORY, key);
    }
    Ok(())
}
