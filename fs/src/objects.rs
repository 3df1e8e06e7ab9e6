//! What the kernel knows of object-store buckets: their keys, as files in directories that are implied by slashes.
//!
//! Such a bucket has no directories, and its keys may be changed at any time by others, so nothing here is believed:
//! names and attributes are asked for at every look. A file has the number of its object, with a mark; a directory
//! one that is made of its path, so that it is the same for every mount.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use md5::{Digest, Md5};
use nix::errno::Errno;
use ozone_client::FileReader;
use ozone_client::objects::KeyName;
use parking_lot::Mutex;

use crate::attr::Attr;
use crate::errno::Result;
use crate::vfs::dir::Cursor;
use crate::vfs::objects::writing::Writing;
use crate::wire::{self, DirRef, InodeRow};

/// Numbers of this table have this bit; those of snapshots end below it.
const OBJECTS: u64 = 1 << 62;
/// What is in the bits below: a number made of a path, else the id of an object.
const BY_PATH: u64 = 1 << 61;
/// Files that are not objects yet, by a counter.
const UNBORN: u64 = 1 << 60;
/// Handles of this table have this bit.
const HANDLES: u64 = 1 << 62;
/// Name of the directory in a bucket's root that shows its snapshots.
pub(crate) const SNAPSHOTS: &str = ".snapshot";
/// Those of snapshots have this one.
const PAST_HANDLES: u64 = 1 << 63;

/// Whether the inode number is of this table.
pub(crate) fn is_object(ino: u64) -> bool {
    ino & OBJECTS != 0
}

/// Whether the handle is of this table.
pub(crate) fn is_handle(handle: u64) -> bool {
    handle & PAST_HANDLES == 0 && handle & HANDLES != 0
}

/// An object-store bucket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Its volume.
    pub(crate) volume: String,
    /// Its name.
    pub(crate) name: String,
    /// Its root.
    pub(crate) root: DirRef,
}

/// A path in an object-store bucket: a key, or what a directory's keys begin with, without a slash at its end. Empty
/// for the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The bucket.
    pub(crate) bucket: Arc<Bucket>,
    /// The path.
    pub(crate) path: String,
}

impl Place {
    /// The place of a name in this directory.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self {
            bucket: self.bucket.clone(),
            path: format!("{}{name}", self.prefix()),
        }
    }

    /// What the keys in this directory begin with.
    pub(crate) fn prefix(&self) -> String {
        match self.path.is_empty() {
            true => String::new(),
            false => format!("{}/", self.path),
        }
    }

    /// The key that a file at this place is.
    pub(crate) fn key(&self) -> KeyName<'_> {
        self.named(&self.path)
    }

    /// A key of the bucket.
    pub(crate) fn named<'a>(&'a self, key: &'a str) -> KeyName<'a> {
        KeyName {
            volume: &self.bucket.volume,
            bucket: &self.bucket.name,
            key,
        }
    }

    /// The number of the directory at this place.
    pub(crate) fn directory_ino(&self) -> u64 {
        match self.path.is_empty() {
            true => self.bucket.root.bucket_id,
            false => OBJECTS | BY_PATH | self.digest(0) >> 3,
        }
    }

    /// The number of a file at this place, which is object `id`.
    pub(crate) fn file_ino(&self, id: u64, past: bool) -> u64 {
        match past {
            // It may be the same object as a file of another place.
            true => OBJECTS | BY_PATH | self.digest(id) >> 3,
            false => OBJECTS | id,
        }
    }

    fn digest(&self, id: u64) -> u64 {
        let mut digest = Md5::new();
        digest.update(self.bucket.root.bucket_id.to_be_bytes());
        digest.update(id.to_be_bytes());
        digest.update(&self.path);
        let digest = digest.finalize();
        digest[..8]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The directory that it is in; of the root, itself.
    pub(crate) fn parent(&self) -> Self {
        let above = self.path.rsplit_once('/').map_or("", |(above, _)| above);
        Self {
            bucket: self.bucket.clone(),
            path: above.to_owned(),
        }
    }

    /// Whether it is the directory of the bucket's snapshots, or below.
    pub(crate) fn is_past(&self) -> bool {
        self.path.split('/').next() == Some(SNAPSHOTS)
    }

    fn id(&self) -> (u64, String) {
        (self.bucket.root.bucket_id, self.path.clone())
    }
}

/// What a node is.
pub(crate) enum Kind {
    /// A directory; with the object that marks it, if there is one.
    Directory(Option<Box<wire::Inode>>),
    /// An object.
    File(Box<wire::Inode>),
    /// A file that is being written.
    Unborn(Arc<Writing>),
}

/// A file or directory.
pub(crate) struct Node {
    /// Its number.
    pub(crate) ino: u64,
    /// Where it was found.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) kind: Kind,
    /// As last heard of.
    row: Mutex<InodeRow>,
    lookups: AtomicU64,
    /// Whether this mount has removed something from the directory, which may have been the last that implied it. For
    /// programs that remove a tree it is there until they remove it.
    emptied: AtomicBool,
}

impl Node {
    /// A node of which the kernel has not heard yet.
    pub(crate) fn new(place: Place, kind: Kind, row: InodeRow, ino: u64) -> Self {
        Self {
            ino,
            place,
            kind,
            row: Mutex::new(row),
            lookups: AtomicU64::new(0),
            emptied: AtomicBool::new(false),
        }
    }

    /// Its row.
    pub(crate) fn row(&self) -> InodeRow {
        match &self.kind {
            Kind::Unborn(writing) => writing.row(),
            _ => self.row.lock().clone(),
        }
    }

    /// Takes a newer row.
    pub(crate) fn heard(&self, row: InodeRow) {
        *self.row.lock() = row;
    }

    /// What stat(2) says of it.
    pub(crate) fn attr(&self) -> Attr {
        Attr::of(self.ino, &self.row())
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// The object that it is, or that marks the directory.
    pub(crate) fn object(&self) -> Option<&wire::Inode> {
        match &self.kind {
            Kind::File(found) => Some(found),
            Kind::Directory(marker) => marker.as_deref(),
            Kind::Unborn(_) => None,
        }
    }
}

/// What open(2) and opendir(3) have given out.
pub(crate) enum Handle {
    /// A directory, and how far it was read.
    Directory(Place, tokio::sync::Mutex<Cursor>),
    /// An object that is read; with its id, if the OM was told that it is open.
    Reading(FileReader, u64, Option<u64>),
    /// A file that is written.
    Writing(Arc<Writing>),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Objects {
    nodes: DashMap<u64, Arc<Node>>,
    handles: DashMap<u64, Arc<Handle>>,
    next: AtomicU64,
    /// Files that are being written and are not what is in the bucket, by place.
    writing: DashMap<(u64, String), Arc<Writing>>,
    /// How often objects are open for reading.
    opens: DashMap<u64, u64>,
}

impl Objects {
    /// The node with that number; ESTALE when it was forgotten.
    pub(crate) fn get(&self, ino: u64) -> Result<Arc<Node>> {
        self.known(ino).ok_or_else(|| Errno::ESTALE.into())
    }

    fn known(&self, ino: u64) -> Option<Arc<Node>> {
        self.nodes.get(&ino).map(|node| node.value().clone())
    }

    /// Takes what was found, and counts one lookup by the kernel.
    pub(crate) fn remember(&self, mut node: Node) -> Arc<Node> {
        match self.nodes.entry(node.ino) {
            Entry::Occupied(mut entry) => {
                let known = entry.get();
                let lookups = known.lookups.load(Ordering::Relaxed) + 1;
                node.lookups = AtomicU64::new(lookups);
                node.emptied = AtomicBool::new(known.emptied.load(Ordering::Relaxed));
                let node = Arc::new(node);
                entry.insert(node.clone());
                node
            }
            Entry::Vacant(entry) => {
                node.lookups = AtomicU64::new(1);
                entry.insert(Arc::new(node)).value().clone()
            }
        }
    }

    /// The kernel forgets `count` lookups.
    pub(crate) fn forget(&self, ino: u64, count: u64) {
        self.nodes.remove_if(&ino, |_, node| {
            node.lookups.fetch_sub(count, Ordering::Relaxed) <= count
        });
    }

    /// This mount has removed something from the directory.
    pub(crate) fn removed_from(&self, ino: u64) {
        if let Some(node) = self.known(ino) {
            node.emptied.store(true, Ordering::Relaxed);
        }
    }

    /// This mount has removed the directory.
    pub(crate) fn removed(&self, ino: u64) {
        if let Some(node) = self.known(ino) {
            node.emptied.store(false, Ordering::Relaxed);
        }
    }

    /// The row of a directory that is there only until the program that has emptied it removes it.
    pub(crate) fn emptied(&self, place: &Place) -> Option<InodeRow> {
        let node = self.known(place.directory_ino())?;
        let emptied = node.is_directory() && node.emptied.load(Ordering::Relaxed);
        emptied.then(|| node.row())
    }

    /// A number for a file that is not an object yet.
    pub(crate) fn unborn_ino(&self) -> u64 {
        OBJECTS | UNBORN | self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// What is written at the place takes the place of what is in the bucket.
    pub(crate) fn begin(&self, writing: &Arc<Writing>) {
        self.writing.insert(writing.place.id(), writing.clone());
    }

    /// What was written is in the bucket, or is lost.
    pub(crate) fn end(&self, writing: &Arc<Writing>) {
        let id = writing.place.id();
        self.writing
            .remove_if(&id, |_, known| Arc::ptr_eq(known, writing));
    }

    /// The file that is being written at the place.
    pub(crate) fn writing(&self, place: &Place) -> Option<Arc<Writing>> {
        let found = self.writing.get(&place.id());
        found.map(|found| found.value().clone())
    }

    /// Whether something is being written below the directory.
    pub(crate) fn is_written_below(&self, place: &Place) -> bool {
        let (bucket, prefix) = (place.bucket.root.bucket_id, place.prefix());
        let below = |(of, path): &(u64, String)| *of == bucket && path.starts_with(&prefix);
        self.writing.iter().any(|entry| below(entry.key()))
    }

    /// Gives out a handle.
    pub(crate) fn open(&self, handle: Handle) -> u64 {
        let number = HANDLES | self.next.fetch_add(1, Ordering::Relaxed);
        self.handles.insert(number, Arc::new(handle));
        number
    }

    /// What a handle was given out for; EBADF when there is none.
    pub(crate) fn handle(&self, number: u64) -> Result<Arc<Handle>> {
        let found = self.handles.get(&number).map(|found| found.value().clone());
        found.ok_or_else(|| Errno::EBADF.into())
    }

    /// The handles by which a file is written.
    pub(crate) fn writers(&self, ino: u64) -> Vec<Arc<Writing>> {
        let writing = |handle: &Handle| match handle {
            Handle::Writing(writing) if writing.ino == ino => Some(writing.clone()),
            _ => None,
        };
        let all = self.handles.iter();
        all.filter_map(|entry| writing(entry.value())).collect()
    }

    /// Takes a handle back; with the object that nobody has open any more.
    pub(crate) fn close(&self, number: u64) -> Option<(Arc<Handle>, Option<u64>)> {
        let (_, handle) = self.handles.remove(&number)?;
        let Handle::Reading(_, _, Some(id)) = &*handle else {
            return Some((handle, None));
        };
        let id = *id;
        Some((handle, self.let_go(id).then_some(id)))
    }

    /// The object is opened, or about to be.
    pub(crate) fn hold(&self, id: u64) {
        *self.opens.entry(id).or_default() += 1;
    }

    /// Whether this was the last to have the object open.
    pub(crate) fn let_go(&self, id: u64) -> bool {
        let last = self.opens.get_mut(&id).is_some_and(|mut opens| {
            *opens -= 1;
            *opens == 0
        });
        last && self.opens.remove_if(&id, |_, opens| *opens == 0).is_some()
    }

    /// Whether anybody has the object open.
    pub(crate) fn holds(&self, id: u64) -> bool {
        self.opens.contains_key(&id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn place(path: &str) -> Place {
        let root = DirRef {
            volume_id: 2,
            bucket_id: 3,
            parent_id: 3,
            snapshot: 0,
        };
        let bucket = Bucket {
            volume: "vol".into(),
            name: "bucket".into(),
            root,
        };
        Place {
            bucket: Arc::new(bucket),
            path: path.into(),
        }
    }

    #[test]
    fn a_directory_has_the_number_of_its_path_for_everybody() {
        let dir = place("a/b");
        assert_eq!(dir.directory_ino(), place("a").child("b").directory_ino());
        assert_ne!(dir.directory_ino(), place("a/c").directory_ino());
        assert_eq!(place("").directory_ino(), 3, "the bucket itself");
        for ino in [
            dir.directory_ino(),
            dir.file_ino(9, false),
            dir.file_ino(9, true),
        ] {
            assert!(is_object(ino) && ino < 1 << 63, "{ino:x}");
        }
        assert!(
            !is_object(1 << 47 | 9),
            "a bucket is found among the inodes"
        );
    }

    #[test]
    fn an_emptied_directory_is_there_until_it_is_removed_or_forgotten() {
        let objects = Objects::default();
        let dir = place("a");
        let ino = dir.directory_ino();
        let node = || Node::new(dir.clone(), Kind::Directory(None), InodeRow::default(), ino);
        objects.remember(node());
        assert!(objects.emptied(&dir).is_none());
        objects.removed_from(ino);
        objects.remember(node());
        assert!(objects.emptied(&dir).is_some());
        objects.removed(ino);
        assert!(objects.emptied(&dir).is_none());
        objects.removed_from(ino);
        objects.forget(ino, 2);
        assert!(objects.emptied(&dir).is_none());
        assert!(objects.get(ino).is_err());
    }
}
