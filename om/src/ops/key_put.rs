//! PutKey: a key is created, filled and becomes visible in one command. With a trailing slash it is a directory.

use ozone_proto::namespace::DirRef;
use ozone_proto::om::{KeyArgs, PutKeyRequest, PutKeyResponse, Status};

use super::key_commit::{make_parents, place};
use super::key_create::{check_place, new_inode};
use crate::apply::Apply;
use crate::error::{OmError, Result, refuse};
use crate::namespace::{self, layout};
use crate::{etag, key_path};

/// Applies the request.
pub fn apply(request: &PutKeyRequest, apply: &mut Apply<'_>) -> Result<PutKeyResponse> {
    let args = &request.key_args;
    super::commit::check_session(apply, args.session.unwrap_or(0))?;
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let root = namespace::bucket_root(&bucket);
    if layout::of(&root).is_directory_name(&args.key_name) {
        directory(args, &root, apply)?;
    } else {
        let new = new_inode(args, &bucket, apply)?;
        place(args, &root, new, apply)?;
    }
    Ok(PutKeyResponse {
        modification_time: u64::try_from(apply.time_ms()).ok(),
    })
}

/// Makes a directory that stays when the last key below it goes.
fn directory(args: &KeyArgs, root: &DirRef, apply: &mut Apply<'_>) -> Result<()> {
    if args.data_size() > 0 || !args.extents.is_empty() {
        return Err(refuse::invalid(
            "a name with a trailing slash is a directory's, which has no content",
        ));
    }
    let mut path = key_path::split(root, &args.key_name)?;
    let found = key_path::resolve(apply, root, &args.key_name)?.map(|(_, _, found)| found);
    etag::check_conditions(args, found.as_ref().map(|found| &found.row))?;
    if found.is_some_and(|found| !namespace::is_dir(&found.row)) {
        return Err(OmError::refused(
            Status::FileAlreadyExists,
            "Cannot create directory: there is a file in the given path",
        ));
    }
    // As the directory of a key below it.
    path.push(b"");
    check_place(apply, root, &path)?;
    let dir = make_parents(apply, root, &path, args)?;
    let mut made = namespace::directory(apply, &dir)?;
    made.row.implied = false;
    made.row.metadata = args.metadata.clone();
    made.row.metadata.retain(|pair| pair.key != etag::KEY);
    made.row.tags = args.tags.clone();
    apply.store(&made.slot, &made.row)
}
