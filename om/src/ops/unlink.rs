//! Unlink: takes a name away; with `directory`, an empty directory (a volume or a bucket too).

use ozone_proto::namespace::{DirRef, InodeRow, UnlinkRequest, UnlinkResponse};
use ozone_proto::om::Status;

use super::{bucket_delete, volume_delete};
use crate::apply::{Apply, placeless};
use crate::error::{OmError, Result, refuse};
use crate::namespace::{self, Found, Level, Slot};
use crate::{tables, unlink};

/// Applies the request.
pub fn apply(request: &UnlinkRequest, apply: &mut Apply<'_>) -> Result<UnlinkResponse> {
    let dir = *namespace::dir_of(request.dir.as_ref())?;
    namespace::directory(apply, &dir)?;
    let found = namespace::child(apply, &dir, &request.name)?
        .ok_or_else(|| refuse::not_found(&request.name))?;
    let id = found.row.object_id;
    if request.object_id != 0 && request.object_id != id {
        return Err(refuse::stale(request.object_id));
    }
    check_kind(request.directory, &found)?;
    if request.directory {
        let parent = remove_directory(apply, &dir, &request.name, &found)?;
        return Ok(UnlinkResponse {
            object_id: id,
            nlink: 0,
            parent: placeless(parent),
        });
    }
    if let Slot::Bucket { volume, bucket } = &found.slot {
        // A link, which is no directory.
        bucket_delete::delete(apply, volume, bucket)?;
        let parent = namespace::directory(apply, &dir)?.row;
        return Ok(UnlinkResponse {
            object_id: id,
            nlink: 0,
            parent: placeless(parent),
        });
    }
    let row = unlink::drop_name(apply, &dir, &request.name, found, request.keep.as_ref())?;
    let parent = apply.touch_directory(&dir, 0)?;
    Ok(UnlinkResponse {
        object_id: id,
        nlink: row.nlink,
        parent: placeless(parent),
    })
}

fn check_kind(directory: bool, found: &Found) -> Result<()> {
    match (directory, namespace::is_dir(&found.row)) {
        (true, false) => Err(OmError::refused(
            Status::NotADirectory,
            "it is not a directory",
        )),
        (false, true) => Err(OmError::refused(Status::IsADirectory, "it is a directory")),
        _ => Ok(()),
    }
}

/// Removes a directory; the row of the one it was in as it is now.
fn remove_directory(
    apply: &mut Apply<'_>,
    dir: &DirRef,
    name: &[u8],
    found: &Found,
) -> Result<InodeRow> {
    match (&found.slot, namespace::level(dir)) {
        (Slot::Volume(volume), _) => {
            volume_delete::delete(apply, volume)?;
            Ok(namespace::directory(apply, dir)?.row)
        }
        (Slot::Bucket { volume, bucket }, _) => {
            bucket_delete::delete(apply, volume, bucket)?;
            Ok(namespace::directory(apply, dir)?.row)
        }
        (_, Level::Bucket { volume, bucket, .. }) => {
            let inside = DirRef {
                parent_id: found.row.object_id,
                ..*dir
            };
            if !namespace::is_empty(apply, &inside)? {
                let message = format!("{} is not empty", String::from_utf8_lossy(name));
                return Err(OmError::refused(Status::DirectoryNotEmpty, message));
            }
            take_directory(apply, dir, name, volume, bucket, found.row.object_id)
        }
        _ => Err(refuse::invalid("not a directory that can be removed")),
    }
}

/// Takes the name of a directory away, whatever is left inside; the row of the one it was in as it is now.
pub fn take_directory(
    apply: &mut Apply<'_>,
    dir: &DirRef,
    name: &[u8],
    volume: u64,
    bucket: u64,
    id: u64,
) -> Result<InodeRow> {
    apply.delete(
        tables::DIRECTORY,
        &tables::child_key(volume, bucket, dir.parent_id, name),
    );
    apply.delete(tables::DIRECTORY_ID, &tables::id_key(volume, bucket, id));
    apply.name_changed(dir, name);
    apply.inode_changed(id);
    apply.account(dir, -1, 0)?;
    apply.touch_directory(dir, -1)
}
