//! The object-store layout: a bucket has no directories, and a name in it is a whole key, by S3's rules. `a` and `a/b`
//! are two keys that know nothing of each other, and a slash is a byte like others.

use ozone_proto::namespace::{DirRef, InodeRow};
use ozone_proto::om::Status;

use super::layout::Layout;
use super::{Found, Slot, reserved};
use crate::error::{OmError, Result, refuse};
use crate::reads::{keys, objects};
use crate::rows::{Rows, decode};
use crate::snapshots;
use crate::tables::{self, Table};

/// The longest key, in bytes, as Amazon has it.
const MAX_KEY: usize = 1024;

/// See the module.
pub struct Flat;

/// What the rows of the bucket's keys begin with.
pub fn prefix(rows: &dyn Rows, dir: &DirRef) -> Result<Vec<u8>> {
    let key = tables::bucket_id_key(dir.volume_id, dir.bucket_id);
    let mut names = rows
        .get_raw(tables::BUCKET_ID, &key)?
        .ok_or_else(|| refuse::no_directory(dir.bucket_id))?;
    names.push(b'/');
    Ok(names)
}

fn check_key(key: &[u8]) -> Result<()> {
    let invalid = |message: &str| OmError::refused(Status::InvalidKeyName, message);
    let Ok(text) = std::str::from_utf8(key) else {
        return Err(invalid("a key is UTF-8"));
    };
    if key.is_empty() {
        return Err(invalid("Key name is missing."));
    }
    if key.contains(&0) {
        return Err(invalid("a key contains no NUL"));
    }
    if key.len() > MAX_KEY {
        let message = format!("a key has {MAX_KEY} bytes at most, not {}", key.len());
        return Err(OmError::refused(Status::NameTooLong, message));
    }
    // What is read by such a key is in a snapshot.
    let first = text.trim_start_matches('/').split('/').next();
    match first == Some(snapshots::DIRECTORY) {
        true => Err(reserved()),
        false => Ok(()),
    }
}

impl Layout for Flat {
    fn path<'k>(&self, key: &'k str) -> Result<Vec<&'k [u8]>> {
        check_key(key.as_bytes())?;
        Ok(vec![key.as_bytes()])
    }

    fn is_directory_name(&self, _: &str) -> bool {
        false
    }

    fn check_new_name(&self, _: &DirRef, name: &[u8]) -> Result<()> {
        check_key(name)
    }

    fn check_filesystem(&self) -> Result<()> {
        let message = "keys of an object-store bucket are written whole: there are no directories, no \
                       links, and no changes in the middle";
        Err(OmError::refused(Status::NotSupportedOperation, message))
    }

    fn child(&self, rows: &dyn Rows, dir: &DirRef, name: &[u8]) -> Result<Option<Found>> {
        let (table, key) = self.row_key(rows, dir, name)?;
        let rows = &rows;
        let row: Option<InodeRow> = rows.get(table, &key)?;
        let slot = || Slot::Key {
            dir: *dir,
            name: name.to_vec(),
        };
        Ok(row.map(|row| Found { slot: slot(), row }))
    }

    fn row_key(&self, rows: &dyn Rows, dir: &DirRef, name: &[u8]) -> Result<(Table, Vec<u8>)> {
        let mut key = prefix(rows, dir)?;
        key.extend_from_slice(name);
        Ok((tables::KEY, key))
    }

    fn is_empty(&self, rows: &dyn Rows, dir: &DirRef) -> Result<bool> {
        Ok(!rows.any(tables::KEY, &prefix(rows, dir)?)?)
    }

    fn children(
        &self,
        rows: &dyn Rows,
        dir: &DirRef,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Found)>> {
        let prefix = prefix(rows, dir)?;
        let from = [prefix.as_slice(), after].concat();
        let page = rows.scan(tables::KEY, &prefix, Some(&from), limit)?;
        page.into_iter()
            .map(|(key, value)| {
                let name = key[prefix.len()..].to_vec();
                let slot = Slot::Key {
                    dir: *dir,
                    name: name.clone(),
                };
                let row = decode(tables::KEY, &value)?;
                Ok((name, Found { slot, row }))
            })
            .collect()
    }

    fn list_keys(&self, root: &DirRef, listing: &mut keys::Walk<'_>) -> Result<()> {
        listing.keys(root)
    }

    fn list_objects(&self, root: &DirRef, listing: &mut objects::Walk<'_>) -> Result<()> {
        listing.keys(root)
    }
}
