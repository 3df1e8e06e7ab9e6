//! Keys of the object interface as paths of the tree.

use ozone_proto::namespace::DirRef;
use ozone_proto::om::Status;

use crate::error::{OmError, Result};
use crate::namespace::{self, Found};
use crate::rows::Rows;

/// The names of a key's path: at least one, none of them special.
pub fn split(key: &str) -> Result<Vec<&[u8]>> {
    let names: Vec<&[u8]> = key
        .split('/')
        .filter(|n| !n.is_empty())
        .map(str::as_bytes)
        .collect();
    if names.is_empty() {
        return Err(OmError::refused(
            Status::InvalidKeyName,
            "Key name is missing.",
        ));
    }
    if names[0] == b".snapshot" {
        return Err(OmError::refused(
            Status::InvalidKeyName,
            "Cannot use the reserved name .snapshot at the root of a bucket",
        ));
    }
    names.iter().try_for_each(|n| namespace::check_name(n))?;
    Ok(names)
}

/// The directory that holds the last name of `path`, if it exists.
pub fn parent(rows: &impl Rows, root: &DirRef, path: &[&[u8]]) -> Result<Option<DirRef>> {
    let mut dir = *root;
    for name in &path[..path.len().saturating_sub(1)] {
        match namespace::child(rows, &dir, name)? {
            Some(found) if namespace::is_dir(&found.row) => dir.parent_id = found.row.object_id,
            _ => return Ok(None),
        }
    }
    Ok(Some(dir))
}

/// What the key is: its directory, its last name, and the inode.
pub fn resolve<'k>(
    rows: &impl Rows,
    root: &DirRef,
    key: &'k str,
) -> Result<Option<(DirRef, &'k [u8], Found)>> {
    let path = split(key)?;
    let Some(dir) = parent(rows, root, &path)? else {
        return Ok(None);
    };
    let name = path[path.len() - 1];
    Ok(namespace::child(rows, &dir, name)?.map(|found| (dir, name, found)))
}

/// The refusal for a key that is not there.
pub fn not_found(key: &str) -> OmError {
    OmError::refused(Status::KeyNotFound, format!("Key:{key} not found"))
}
