//! The filesystem-optimised layout: a bucket is a tree of directories, each of which has its names filed under its
//! id. Keys of the object interface are paths in it.

use ozone_proto::namespace::{DirRef, InodeRow};

use super::layout::Layout;
use super::{Found, Slot, check_name, follow, reserved};
use crate::error::{OmError, Result};
use crate::reads::{keys, objects};
use crate::rows::{Row, Rows, decode};
use crate::snapshots;
use crate::tables::{self, Table};
use ozone_proto::om::Status;

/// See the module.
pub struct Tree;

impl Layout for Tree {
    /// At least one name, none of them special; empty ones count for nothing.
    fn path<'k>(&self, key: &'k str) -> Result<Vec<&'k [u8]>> {
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
        if names[0] == snapshots::DIRECTORY.as_bytes() {
            return Err(reserved());
        }
        names.iter().try_for_each(|n| check_name(n))?;
        Ok(names)
    }

    fn is_directory_name(&self, key: &str) -> bool {
        key.ends_with('/')
    }

    fn check_new_name(&self, dir: &DirRef, name: &[u8]) -> Result<()> {
        check_name(name)?;
        let in_root = dir.bucket_id != 0 && dir.parent_id == dir.bucket_id;
        match in_root && name == snapshots::DIRECTORY.as_bytes() {
            true => Err(reserved()),
            false => Ok(()),
        }
    }

    fn check_filesystem(&self) -> Result<()> {
        Ok(())
    }

    fn child(&self, rows: &dyn Rows, dir: &DirRef, name: &[u8]) -> Result<Option<Found>> {
        let rows = &rows;
        let (volume, bucket) = (dir.volume_id, dir.bucket_id);
        let key = tables::child_key(volume, bucket, dir.parent_id, name);
        if let Some(row) = rows.get(tables::FILE, &key)? {
            return follow(rows, volume, bucket, tables::FILE, key, row).map(Some);
        }
        let row = rows.get(tables::DIRECTORY, &key)?;
        let table = tables::DIRECTORY;
        Ok(row.map(|row| Found {
            slot: Slot::Row { table, key },
            row,
        }))
    }

    fn row_key(&self, _: &dyn Rows, dir: &DirRef, name: &[u8]) -> Result<(Table, Vec<u8>)> {
        let key = tables::child_key(dir.volume_id, dir.bucket_id, dir.parent_id, name);
        Ok((tables::FILE, key))
    }

    fn is_empty(&self, rows: &dyn Rows, dir: &DirRef) -> Result<bool> {
        let prefix = tables::children_prefix(dir.volume_id, dir.bucket_id, dir.parent_id);
        Ok(!rows.any(tables::FILE, &prefix)? && !rows.any(tables::DIRECTORY, &prefix)?)
    }

    /// Directories and files are in tables of their own: one page of each, merged by name.
    fn children(
        &self,
        rows: &dyn Rows,
        dir: &DirRef,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Found)>> {
        let prefix = tables::children_prefix(dir.volume_id, dir.bucket_id, dir.parent_id);
        let from = (!after.is_empty()).then(|| [prefix.as_slice(), after].concat());
        let page = |table: Table| rows.scan(table, &prefix, from.as_deref(), limit);
        let directories = page(tables::DIRECTORY)?
            .into_iter()
            .map(|row| (tables::DIRECTORY, row));
        let files = page(tables::FILE)?
            .into_iter()
            .map(|row| (tables::FILE, row));
        let mut found: Vec<(Table, Row)> = directories.chain(files).collect();
        found.sort_by(|a, b| a.1.0.cmp(&b.1.0));
        found.truncate(limit);
        found
            .into_iter()
            .map(|(table, (key, value))| {
                let row: InodeRow = decode(table, &value)?;
                let name = key[prefix.len()..].to_vec();
                let found = follow(&rows, dir.volume_id, dir.bucket_id, table, key, row)?;
                Ok((name, found))
            })
            .collect()
    }

    fn list_keys(&self, root: &DirRef, listing: &mut keys::Walk<'_>) -> Result<()> {
        listing.directory(root, &mut Vec::new())
    }

    fn list_objects(&self, root: &DirRef, listing: &mut objects::Walk<'_>) -> Result<()> {
        listing.directory(root, &mut Vec::new()).map(drop)
    }
}
