//! DeleteKey: a key, or a directory (with `recursive`, whatever it holds, at the cost of one row).

use ozone_proto::namespace::{DirRef, InodeKind};
use ozone_proto::om::{DeleteKeyRequest, DeleteKeyResponse, Status};

use super::unlink::take_directory;
use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::namespace::{self, Found, layout};
use crate::{etag, key_path, unlink};

/// Applies the request.
pub fn apply(request: &DeleteKeyRequest, apply: &mut Apply<'_>) -> Result<DeleteKeyResponse> {
    let args = &request.key_args;
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let root = namespace::bucket_root(&bucket);
    let (dir, name, found) = key_path::resolve(apply, &root, &args.key_name)?
        .ok_or_else(|| key_path::not_found(&args.key_name))?;
    if request.as_object() {
        return as_object(request, apply, (&root, &dir, name, found));
    }
    if !namespace::is_dir(&found.row) {
        unlink::drop_name(apply, &dir, name, found, request.keep.as_ref())?;
        apply.touch_directory(&dir, 0)?;
        return Ok(DeleteKeyResponse::default());
    }
    let id = found.row.object_id;
    let empty = namespace::is_empty(
        apply,
        &DirRef {
            parent_id: id,
            ..dir
        },
    )?;
    if !empty && !args.recursive() {
        return Err(OmError::refused(
            Status::DirectoryNotEmpty,
            format!("Directory is not empty. Key:{}", args.key_name),
        ));
    }
    take_directory(apply, &dir, name, dir.volume_id, dir.bucket_id, id)?;
    if !empty {
        let death = apply.index;
        unlink::reclaim(apply, dir.volume_id, dir.bucket_id, found.row, death);
    }
    Ok(DeleteKeyResponse::default())
}

/// A key as S3 deletes it: no directory by the name of a file, nor the other way round, and nothing that S3 does not
/// show.
fn as_object(
    request: &DeleteKeyRequest,
    apply: &mut Apply<'_>,
    (root, dir, name, found): (&DirRef, &DirRef, &[u8], Found),
) -> Result<DeleteKeyResponse> {
    let args = &request.key_args;
    let directory = namespace::is_dir(&found.row);
    let listed = directory || namespace::kind(&found.row) == InodeKind::File;
    if !listed || directory != layout::of(root).is_directory_name(&args.key_name) {
        return Err(key_path::not_found(&args.key_name));
    }
    etag::check_conditions(args, Some(&found.row))?;
    if !directory {
        unlink::drop_name(apply, dir, name, found, request.keep.as_ref())?;
        apply.touch_directory(dir, 0)?;
        prune(apply, root, *dir)?;
        return Ok(DeleteKeyResponse::default());
    }
    let mut row = found.row;
    let inside = DirRef {
        parent_id: row.object_id,
        ..*dir
    };
    row.implied = true;
    apply.store(&found.slot, &row)?;
    prune(apply, root, inside)?;
    Ok(DeleteKeyResponse::default())
}

/// Removes `dir`, and those above it, as long as they are empty and were made only for the sake of keys.
fn prune(apply: &mut Apply<'_>, root: &DirRef, mut dir: DirRef) -> Result<()> {
    while dir.parent_id != root.parent_id {
        let row = namespace::directory(apply, &dir)?.row;
        let place = namespace::place_of(apply, dir.volume_id, dir.bucket_id, dir.parent_id)?;
        let Some(place) = place.filter(|_| row.implied) else {
            return Ok(());
        };
        if !namespace::is_empty(apply, &dir)? {
            return Ok(());
        }
        let above = DirRef {
            parent_id: place.parent_id,
            ..dir
        };
        let (volume, bucket) = (dir.volume_id, dir.bucket_id);
        take_directory(apply, &above, &place.name, volume, bucket, row.object_id)?;
        dir = above;
    }
    Ok(())
}
