//! One inode: where it is in the namespace, its attributes as last heard, and what this mount holds of its
//! content.

mod holding;
mod pages;
mod passed;
mod table;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::attr::Attr;
use crate::data::FileData;
use crate::errno::{FsError, Result};
use crate::failures::Failures;
use crate::leases::{Asked, Leases};
use crate::lent::Lent;
use crate::names::Names;
use crate::number::Lookups;
use crate::wire;

use pages::Cached;
pub(crate) use table::InodeTable;

/// Inode number, and object id, of `/`.
pub(crate) const ROOT: u64 = 1;

/// The directory `/` as a place to look in.
pub(crate) const ROOT_DIR: wire::DirRef = wire::DirRef {
    volume_id: 0,
    bucket_id: 0,
    parent_id: ROOT,
    snapshot: 0,
};

/// The children of the directory that has `id` in `dir`.
pub(crate) fn children_of(dir: &wire::DirRef, id: u64) -> wire::DirRef {
    match (dir.volume_id, dir.bucket_id) {
        _ if id == ROOT => ROOT_DIR,
        (0, _) => wire::DirRef {
            volume_id: id,
            bucket_id: 0,
            parent_id: id,
            snapshot: 0,
        },
        (volume, 0) => wire::DirRef {
            volume_id: volume,
            bucket_id: id,
            parent_id: id,
            snapshot: 0,
        },
        _ => wire::DirRef {
            parent_id: id,
            ..*dir
        },
    }
}

/// One inode.
pub(crate) struct Inode {
    /// Inode number and object id.
    pub(crate) id: u64,
    node: Mutex<Node>,
    data: OnceLock<Box<FileData>>,
    names: OnceLock<Box<Mutex<Names>>>,
    failures: OnceLock<Box<Mutex<Failures>>>,
    leases: Arc<Leases>,
    /// Changes of its names that this mount is making, if this is a directory.
    pub(crate) changing: AtomicU32,
    /// Held while the namespace is told of an open or a release.
    pub(crate) opening: tokio::sync::Mutex<()>,
}

/// A state of a file's content and place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    data: u64,
    size: u64,
    moved: u64,
}

/// What is known of an inode.
struct Node {
    dir: wire::DirRef,
    name: Bytes,
    row: wire::InodeRow,
    /// Lookups that the kernel has not forgotten.
    lookups: Lookups,
    /// Handles that programs have, and whether the kernel brings in pages through one, or through one that was closed
    /// since the first.
    handles: u32,
    paged: bool,
    /// What the kernel reads by itself, and handles through which it does.
    lent: Option<Arc<Lent>>,
    passed: u32,
    /// Handles of which a descriptor was closed.
    closing: u32,
    /// Whether the namespace has been told of an open that it has not been told the end of.
    held: bool,
    /// Whether the last name is gone.
    nameless: bool,
    /// Epoch of this mount's last change of the place, and of the row.
    moved: u64,
    changed: u64,
    /// What the kernel's cached pages are of, if it is a single version.
    cached: Option<Cached>,
    /// Generation of leases by which the row is believed, 0 for none.
    leased: u64,
    /// Epoch of the last change of which the row is not known to tell.
    doubted: u64,
    /// Changes of this mount that are in the row and not answered by the namespace.
    waiting: u32,
    /// Whether the namespace has not been sent what makes this inode.
    unborn: bool,
    /// Whether an answer was dropped because of changes that wait.
    missed: bool,
}

impl Node {
    /// Whether an answer may replace the row. One that does not tell of what waits may not.
    fn takes_answers(&mut self) -> bool {
        self.missed |= self.waiting > 0;
        self.waiting == 0
    }

    /// Takes what an answer says of the content: no change that waits is about that.
    fn take_content(&mut self, row: wire::InodeRow) {
        if row.update_id >= self.row.update_id {
            self.row.size = row.size;
            self.row.allocated = row.allocated;
            self.row.extents = row.extents;
            self.row.extents_in_table = row.extents_in_table;
            self.row.data_version = row.data_version;
            self.row.update_id = row.update_id;
        }
    }

    /// Believes the row, if the answer that it came with was leased and nothing came in between.
    fn believe(&mut self, leased: bool, asked: Asked) {
        if leased && self.doubted <= asked.epoch {
            self.leased = asked.generation;
        }
    }
}

impl Inode {
    fn new(place: wire::InodeRef, row: wire::InodeRow, leases: Arc<Leases>) -> Self {
        let id = place.object_id;
        let node = Node {
            dir: place.dir.unwrap_or(ROOT_DIR),
            name: place.name,
            row,
            lookups: Lookups::default(),
            handles: 0,
            paged: false,
            lent: None,
            passed: 0,
            closing: 0,
            held: false,
            nameless: false,
            moved: 0,
            changed: 0,
            cached: None,
            leased: 0,
            doubted: 0,
            waiting: 0,
            unborn: false,
            missed: false,
        };
        Self {
            id,
            node: Mutex::new(node),
            data: OnceLock::new(),
            names: OnceLock::new(),
            failures: OnceLock::new(),
            leases,
            changing: AtomicU32::new(0),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Place and id, as requests carry them.
    pub(crate) fn reference(&self) -> wire::InodeRef {
        let node = self.node.lock();
        wire::InodeRef {
            dir: Some(node.dir),
            name: node.name.clone(),
            object_id: self.id,
        }
    }

    /// The directory that this inode is in.
    pub(crate) fn parent(&self) -> wire::DirRef {
        self.node.lock().dir
    }

    /// The children of this directory.
    pub(crate) fn children(&self) -> wire::DirRef {
        children_of(&self.parent(), self.id)
    }

    /// Whether this is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.with_row(|row| row.kind() == wire::InodeKind::Directory)
    }

    /// Looks at the row as last heard, without a copy.
    pub(crate) fn with_row<T>(&self, look: impl FnOnce(&wire::InodeRow) -> T) -> T {
        look(&self.node.lock().row)
    }

    /// Place, id and row, as the data path takes them, and what tells this state from others.
    pub(crate) fn found(&self) -> (wire::Inode, Version) {
        let node = self.node.lock();
        let place = wire::InodeRef {
            dir: Some(node.dir),
            name: node.name.clone(),
            object_id: self.id,
        };
        let version = Version {
            data: node.row.data_version,
            size: node.row.size,
            moved: node.moved,
        };
        (
            wire::Inode {
                r#ref: Some(place),
                row: Some(node.row.clone()),
                leased: false,
                snapshot: 0,
            },
            version,
        )
    }

    /// Whether the name `name` in `dir` may be this file's: it is where it was last seen, or there are others.
    pub(crate) fn may_be_at(&self, dir: &wire::DirRef, name: &[u8]) -> bool {
        let node = self.node.lock();
        (node.dir == *dir && node.name == name) || node.row.nlink > 1
    }

    /// Whether the last name is gone, as far as this mount knows.
    pub(crate) fn nameless(&self) -> bool {
        self.node.lock().nameless
    }

    /// Now, to note before a question to the namespace.
    pub(crate) fn asked(&self) -> Asked {
        self.leases.asked()
    }

    /// Whether the row may be taken for the namespace's without asking.
    pub(crate) fn believed(&self) -> bool {
        let leased = self.node.lock().leased;
        self.leases.hold(leased)
    }

    /// The row is not the newest any more, or may not be.
    pub(crate) fn doubt(&self) {
        let mut node = self.node.lock();
        node.doubted = self.leases.next_epoch();
        node.leased = 0;
    }

    /// The names of this directory that are believed.
    pub(crate) fn names(&self) -> &Mutex<Names> {
        self.names.get_or_init(Box::default)
    }

    /// Takes an inode in answer to a question that was `asked` then. A row that may be older than
    /// what is known is dropped.
    pub(crate) fn heard(&self, found: wire::Inode, asked: Asked) {
        let Some(row) = found.row else { return };
        let mut node = self.node.lock();
        if !node.takes_answers() {
            return;
        }
        let known = node.row.update_id;
        if row.update_id > known || (row.update_id == known && node.changed <= asked.epoch) {
            node.row = row;
            node.believe(found.leased, asked);
        }
    }

    /// Takes the inode in answer to a change by this mount, which was `asked` for then.
    pub(crate) fn changed(&self, found: wire::Inode, asked: Asked) {
        let Some(row) = found.row else { return };
        let mut node = self.node.lock();
        node.changed = self.leases.next_epoch();
        if !node.takes_answers() {
            node.take_content(row);
        } else if row.update_id >= node.row.update_id {
            node.row = row;
            node.believe(found.leased, asked);
        }
    }

    /// Makes a change in memory, of which the namespace is told later.
    pub(crate) fn change_first(&self, change: impl FnOnce(&mut wire::InodeRow)) {
        let mut node = self.node.lock();
        change(&mut node.row);
        node.waiting += 1;
        node.changed = self.leases.next_epoch();
    }

    /// Whether the namespace has yet to be told, or to answer, of a change.
    pub(crate) fn waits(&self) -> bool {
        self.node.lock().waiting > 0
    }

    /// The namespace answered a change that was made here first: with the inode, if it is this one's,
    /// as `asked` for then.
    pub(crate) fn answered(&self, found: Option<wire::Inode>, asked: Asked) {
        let mut node = self.node.lock();
        node.waiting = node.waiting.saturating_sub(1);
        if node.waiting > 0 {
            if let Some(row) = found.and_then(|found| found.row) {
                node.take_content(row);
            }
            return;
        }
        if std::mem::take(&mut node.missed) {
            node.doubted = self.leases.next_epoch();
            node.leased = 0;
        }
        let leased = found.as_ref().is_some_and(|found| found.leased);
        if let Some(row) = found.and_then(|found| found.row)
            && row.update_id >= node.row.update_id
        {
            // The kernel's pages of a file that was new are those of its first version.
            if let Some(cached) = &mut node.cached
                && cached.version == 0
            {
                cached.version = row.data_version;
            }
            node.row = row;
            node.believe(leased, asked);
        }
    }

    /// The inode as programs see it, with what was written and is not committed.
    pub(crate) fn attr(&self) -> Attr {
        // Before the row: what is committed in between is then seen twice, not missed.
        let pending = self.data.get().map(|data| {
            let pending = data.pending.lock();
            (pending.end(), pending.times(), pending.bytes() as u64)
        });
        let node = self.node.lock();
        let mut attr = Attr::of(self.id, &node.row);
        if node.nameless {
            attr.nlink = 0;
        }
        if let Some((end, times, bytes)) = pending {
            attr.grow(end, times, bytes);
        }
        attr
    }

    /// The content of this file.
    pub(crate) fn data(&self) -> &FileData {
        self.data.get_or_init(Box::default)
    }

    /// The content of this file, if anything was read or written.
    pub(crate) fn data_if_any(&self) -> Option<&FileData> {
        self.data.get().map(|data| &**data)
    }

    /// A change of this inode, or of a name in it, is lost.
    pub(crate) fn failed(&self, error: FsError) {
        self.failures.get_or_init(Box::default).lock().add(error);
    }

    /// Failures that a handle which is opened now need not tell of.
    pub(crate) fn failures_told(&self) -> u64 {
        self.failures
            .get()
            .map_or(0, |failures| failures.lock().told())
    }

    /// The failure that a handle which has told of `seen` has not told of, and which stays so.
    pub(crate) fn untold_failure(&self, seen: &AtomicU64) -> Option<FsError> {
        let failures = self.failures.get();
        failures.and_then(|failures| failures.lock().untold(seen))
    }

    /// The failure that a handle has to tell of which has told of `seen`.
    pub(crate) fn tell_failure(&self, seen: &AtomicU64) -> Result<()> {
        match self.failures.get() {
            Some(failures) => failures.lock().tell(seen),
            None => Ok(()),
        }
    }

    /// Whether nobody can look at the file any more.
    pub(crate) fn abandoned(&self) -> bool {
        let node = self.node.lock();
        node.nameless && node.handles == 0
    }

    fn unused(&self) -> bool {
        // Before the row, as everywhere.
        let pending = self.data_if_any();
        if pending.is_some_and(|data| !data.pending.lock().is_clean()) {
            return false;
        }
        let node = self.node.lock();
        let known = node.lookups.any() || node.handles > 0 || node.held || node.waiting > 0;
        !known && self.id != ROOT
    }
}
