//! The names of inodes that have several: by inode, where `fileTable` has them by name.

use crate::apply::Apply;
use crate::tables;

fn key(object: u64, directory: u64, name: &[u8]) -> Vec<u8> {
    let mut key = tables::number_key(&[object, directory]);
    key.extend_from_slice(name);
    key
}

/// The inode has this name.
pub fn add(apply: &mut Apply<'_>, object: u64, directory: u64, name: &[u8]) {
    apply.put_raw(tables::LINK, &key(object, directory, name), Vec::new());
}

/// The inode has this name no more.
pub fn remove(apply: &mut Apply<'_>, object: u64, directory: u64, name: &[u8]) {
    apply.delete(tables::LINK, &key(object, directory, name));
}
