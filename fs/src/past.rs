//! What the kernel knows of snapshots: inodes under `.snapshot` of a bucket.
//!
//! Nothing in a snapshot changes, so this table knows neither leases nor pending writes, and shares
//! nothing with that of the live inodes. Their numbers have a slot above the object id: one for all
//! directories `.snapshot`, and one for each snapshot that this mount looks into.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use nix::errno::Errno;
use ozone_client::FileReader;
use parking_lot::Mutex;

use crate::attr::Attr;
use crate::errno::{FsError, Result};
use crate::number;
use crate::objects;
use crate::vfs::dir::Cursor;
use crate::wire::{self, DirRef, InodeKind, InodeRef, InodeRow};

/// Name of the directory in a bucket's root that shows its snapshots.
pub(crate) const NAME: &[u8] = b".snapshot";
/// Object ids end here, slots begin.
const SLOT: u32 = 48;
/// The slot of all directories `.snapshot`.
const LISTS: u64 = 1;
/// Slots end here: the bits above tell numbers of other kinds.
const END: u32 = 62;
/// Handles of this table have numbers from here on.
const HANDLES: u64 = 1 << 63;

/// Whether the inode number is of this table.
pub(crate) fn is_past(ino: u64) -> bool {
    number::first(ino) >> SLOT != 0 && !objects::is_object(ino)
}

/// Whether the handle is of this table.
pub(crate) fn is_handle(handle: u64) -> bool {
    handle >= HANDLES
}

/// Whether `.snapshot` in that directory shows the snapshots of a bucket.
pub(crate) fn is_bucket_root(dir: &DirRef) -> bool {
    dir.bucket_id != 0 && dir.parent_id == dir.bucket_id && dir.snapshot == 0
}

/// An inode in a snapshot, a snapshot's root, or a directory of snapshots.
pub(crate) struct Node {
    /// Its number.
    pub(crate) ino: u64,
    /// Number of the directory that it is in.
    pub(crate) parent: u64,
    /// As the namespace told it.
    pub(crate) found: wire::Inode,
    /// What is in it, if it is a directory.
    pub(crate) children: DirRef,
    lookups: AtomicU64,
    reader: OnceLock<Arc<FileReader>>,
}

impl Node {
    /// Its row.
    pub(crate) fn row(&self) -> &InodeRow {
        static NONE: OnceLock<InodeRow> = OnceLock::new();
        self.found
            .row
            .as_ref()
            .unwrap_or_else(|| NONE.get_or_init(InodeRow::default))
    }

    /// What stat(2) says of it.
    pub(crate) fn attr(&self) -> Attr {
        Attr::of(self.ino, self.row())
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.row().kind() == InodeKind::Directory
    }

    /// Whether it is a directory of snapshots, whose names may change.
    pub(crate) fn is_list(&self) -> bool {
        self.ino >> SLOT == LISTS
    }

    /// The one reader of its content.
    pub(crate) fn reader(&self, make: impl FnOnce() -> FileReader) -> Arc<FileReader> {
        self.reader.get_or_init(|| Arc::new(make())).clone()
    }
}

/// What open(2) and opendir(3) have given out.
pub(crate) struct Handle {
    /// The inode.
    pub(crate) node: Arc<Node>,
    /// How far a directory was read.
    pub(crate) cursor: tokio::sync::Mutex<Cursor>,
}

/// Slots of snapshots, by index.
#[derive(Default)]
struct Slots {
    by_snapshot: std::collections::HashMap<u64, u64>,
}

impl Slots {
    fn of(&mut self, snapshot: u64) -> Result<u64> {
        let next = LISTS + 1 + self.by_snapshot.len() as u64;
        match self.by_snapshot.get(&snapshot) {
            Some(slot) => Ok(*slot),
            None if next >= 1 << (END - SLOT) => {
                tracing::warn!(
                    "this mount has looked into as many snapshots as it can: mount anew"
                );
                Err(Errno::EOVERFLOW.into())
            }
            None => {
                self.by_snapshot.insert(snapshot, next);
                Ok(next)
            }
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Past {
    nodes: DashMap<u64, Arc<Node>>,
    handles: DashMap<u64, Arc<Handle>>,
    next_handle: AtomicU64,
    slots: Mutex<Slots>,
}

impl Past {
    /// The inode with that number; ESTALE when it was forgotten.
    pub(crate) fn get(&self, ino: u64) -> Result<Arc<Node>> {
        let found = self.nodes.get(&ino).map(|node| node.value().clone());
        found.ok_or_else(|| Errno::ESTALE.into())
    }

    /// The directory `.snapshot` of a bucket whose root is `bucket` and has these attributes; counts one
    /// lookup by the kernel.
    pub(crate) fn list_of(&self, bucket: &DirRef, row: InodeRow) -> Arc<Node> {
        let children = ozone_client::namespace::snapshots_of(*bucket);
        let place = InodeRef {
            dir: Some(children),
            name: Bytes::new(),
            object_id: bucket.bucket_id,
        };
        let row = InodeRow {
            mode: row.mode & 0o555,
            nlink: 2,
            size: 0,
            xattrs: Vec::new(),
            ..row
        };
        let node = Node {
            ino: LISTS << SLOT | bucket.bucket_id,
            parent: bucket.bucket_id,
            found: wire::Inode {
                r#ref: Some(place),
                row: Some(row),
                ..Default::default()
            },
            children,
            lookups: AtomicU64::new(1),
            reader: OnceLock::new(),
        };
        let node = Arc::new(node);
        // Attributes of the bucket may have changed since.
        self.nodes
            .entry(node.ino)
            .and_modify(|known| {
                let lookups = known.lookups.load(Ordering::Relaxed) + 1;
                node.lookups.store(lookups, Ordering::Relaxed);
                *known = node.clone();
            })
            .or_insert(node)
            .value()
            .clone()
    }

    /// The number of an inode that was found in a directory.
    pub(crate) fn number(&self, parent: &Node, found: &wire::Inode) -> Result<u64> {
        let row = found.row.as_ref().ok_or(Errno::EPROTO)?;
        let slot = match found.snapshot {
            0 => parent.ino >> SLOT,
            snapshot => self.slots.lock().of(snapshot)?,
        };
        Ok(slot << SLOT | row.object_id)
    }

    /// Takes what was found in a directory, and counts one lookup by the kernel.
    pub(crate) fn remember(&self, parent: &Node, found: wire::Inode) -> Result<Arc<Node>> {
        let ino = self.number(parent, &found)?;
        let children = ozone_client::namespace::dir_of(&found).map_err(FsError::from)?;
        let make = || {
            Arc::new(Node {
                ino,
                parent: parent.ino,
                found,
                children,
                lookups: AtomicU64::new(0),
                reader: OnceLock::new(),
            })
        };
        let entry = self.nodes.entry(ino).or_insert_with(make);
        entry.lookups.fetch_add(1, Ordering::Relaxed);
        Ok(entry.value().clone())
    }

    /// The kernel forgets `count` lookups.
    pub(crate) fn forget(&self, ino: u64, count: u64) {
        self.nodes.remove_if(&ino, |_, node| {
            node.lookups.fetch_sub(count, Ordering::Relaxed) <= count
        });
    }

    /// Gives out a handle.
    pub(crate) fn open(&self, node: Arc<Node>) -> u64 {
        let number = HANDLES + self.next_handle.fetch_add(1, Ordering::Relaxed);
        let cursor = tokio::sync::Mutex::default();
        self.handles
            .insert(number, Arc::new(Handle { node, cursor }));
        number
    }

    /// What a handle was given out for; EBADF when there is none.
    pub(crate) fn handle(&self, number: u64) -> Result<Arc<Handle>> {
        let found = self.handles.get(&number).map(|found| found.value().clone());
        found.ok_or_else(|| Errno::EBADF.into())
    }

    /// Takes a handle back.
    pub(crate) fn close(&self, number: u64) {
        self.handles.remove(&number);
    }
}
