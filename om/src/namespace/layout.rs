//! How buckets keep names. Layouts differ in this and in nothing else: what is done with the inode under a
//! name is written once, for all of them.

use ozone_proto::namespace::DirRef;

use super::{Found, flat::Flat, tree::Tree};
use crate::error::Result;
use crate::reads::{keys, objects};
use crate::rows::Rows;
use crate::tables::Table;

/// The names of a bucket.
pub trait Layout: Sync {
    /// The names that lead to a key from the bucket's root. Refuses what no key can be called.
    fn path<'k>(&self, key: &'k str) -> Result<Vec<&'k [u8]>>;

    /// Whether a key of this name is a directory, which has no content.
    fn is_directory_name(&self, key: &str) -> bool;

    /// Refuses names that nothing new in `dir` can have.
    fn check_new_name(&self, dir: &DirRef, name: &[u8]) -> Result<()>;

    /// Refuses what only a filesystem has: directories, links, and files that change in part.
    fn check_filesystem(&self) -> Result<()>;

    /// What `name` in `dir` is, with hard links followed to their inode.
    fn child(&self, rows: &dyn Rows, dir: &DirRef, name: &[u8]) -> Result<Option<Found>>;

    /// Where the row under a name in `dir` is, of anything but a directory.
    fn row_key(&self, rows: &dyn Rows, dir: &DirRef, name: &[u8]) -> Result<(Table, Vec<u8>)>;

    /// Whether nothing is in `dir`.
    fn is_empty(&self, rows: &dyn Rows, dir: &DirRef) -> Result<bool>;

    /// What is in `dir` after a name, in the order of names.
    fn children(
        &self,
        rows: &dyn Rows,
        dir: &DirRef,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Found)>>;

    /// Gives the keys of the bucket of `root` to a listing of keys.
    fn list_keys(&self, root: &DirRef, listing: &mut keys::Walk<'_>) -> Result<()>;

    /// Gives the keys of the bucket of `root` to a listing of objects.
    fn list_objects(&self, root: &DirRef, listing: &mut objects::Walk<'_>) -> Result<()>;
}

/// The layout of the bucket that `dir` is in: chosen when the bucket was made, and told by its id.
pub fn of(dir: &DirRef) -> &'static dyn Layout {
    match dir.is_object_store() {
        true => &Flat,
        false => &Tree,
    }
}
