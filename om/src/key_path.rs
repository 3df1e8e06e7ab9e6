//! Keys of the object interface as places in their bucket.

use ozone_proto::namespace::DirRef;
use ozone_proto::om::Status;

use crate::error::{OmError, Result};
use crate::namespace::{self, Found, layout};
use crate::rows::Rows;

/// The names that lead to a key of the bucket of `root`.
pub fn split<'k>(root: &DirRef, key: &'k str) -> Result<Vec<&'k [u8]>> {
    layout::of(root).path(key)
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
    let path = split(root, key)?;
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
