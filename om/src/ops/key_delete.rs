//! DeleteKey: a key, or a directory (with `recursive`, whatever it holds, at the cost of one row).

use ozone_proto::namespace::DirRef;
use ozone_proto::om::{DeleteKeyRequest, DeleteKeyResponse, Status};

use super::unlink::take_directory;
use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::namespace;
use crate::{key_path, unlink};

/// Applies the request.
pub fn apply(request: &DeleteKeyRequest, apply: &mut Apply<'_>) -> Result<DeleteKeyResponse> {
    let args = &request.key_args;
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let root = namespace::bucket_root(&bucket);
    let (dir, name, found) = key_path::resolve(apply, &root, &args.key_name)?
        .ok_or_else(|| key_path::not_found(&args.key_name))?;
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
