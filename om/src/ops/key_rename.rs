//! RenameKey: as Ozone has it, onto a free name, whose directory exists.

use ozone_proto::namespace::RenameRequest;
use ozone_proto::om::{RenameKeyRequest, RenameKeyResponse, Status};

use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::key_path;
use crate::namespace;

/// Applies the request.
pub fn apply(request: &RenameKeyRequest, apply: &mut Apply<'_>) -> Result<RenameKeyResponse> {
    let args = &request.key_args;
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let root = namespace::bucket_root(&bucket);
    let from = key_path::split(&root, &args.key_name)?;
    let to = key_path::split(&root, &request.to_key_name)?;
    let from_dir = key_path::parent(apply, &root, &from)?
        .ok_or_else(|| key_path::not_found(&args.key_name))?;
    if namespace::child(apply, &from_dir, from[from.len() - 1])?.is_none() {
        return Err(key_path::not_found(&args.key_name));
    }
    let to_dir = key_path::parent(apply, &root, &to)?.ok_or_else(|| {
        OmError::refused(
            Status::KeyRenameError,
            format!("the directory of {} does not exist", request.to_key_name),
        )
    })?;
    if namespace::child(apply, &to_dir, to[to.len() - 1])?.is_some() {
        let message = format!("Key with name {} already exists", request.to_key_name);
        return Err(OmError::refused(Status::KeyAlreadyExists, message));
    }
    let rename = RenameRequest {
        from_dir: Some(from_dir),
        from_name: from[from.len() - 1].to_vec().into(),
        to_dir: Some(to_dir),
        to_name: to[to.len() - 1].to_vec().into(),
        no_replace: true,
        ..Default::default()
    };
    super::rename::apply(&rename, apply)?;
    Ok(RenameKeyResponse {})
}
