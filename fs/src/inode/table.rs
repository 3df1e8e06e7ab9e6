//! The inodes that the kernel or a program's open file knows.
//!
//! An inode number is the object id. Requests to the namespace name an inode by place and id, so
//! this table keeps the places true through the mount's own renames and unlinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use nix::errno::Errno;

use super::{Inode, ROOT, ROOT_DIR};
use crate::errno::{FsError, Result};
use crate::leases::{Asked, Leases};
use crate::number;
use crate::past;
use crate::wire;

/// All inodes that are known; see the module.
pub(crate) struct InodeTable {
    inodes: DashMap<u64, Arc<Inode>>,
    leases: Arc<Leases>,
    /// Epoch of the last foreign change of an inode that was not known. What an older question brings
    /// in is not believed.
    strange: AtomicU64,
}

impl InodeTable {
    /// A table that knows `/`.
    pub(crate) fn new(root: wire::InodeRow, leases: Arc<Leases>) -> Self {
        let place = wire::InodeRef {
            dir: Some(ROOT_DIR),
            name: Bytes::new(),
            object_id: ROOT,
        };
        let inodes = DashMap::new();
        inodes.insert(ROOT, Arc::new(Inode::new(place, root, leases.clone())));
        Self {
            inodes,
            leases,
            strange: AtomicU64::new(0),
        }
    }

    /// The inode with that number; ESTALE when it was forgotten. Whoever looks here for one that is in a
    /// snapshot would change it.
    pub(crate) fn get(&self, ino: u64) -> Result<Arc<Inode>> {
        let missing = match past::is_past(ino) {
            true => Errno::EROFS,
            false => Errno::ESTALE,
        };
        self.peek(ino).ok_or_else(|| missing.into())
    }

    /// The inode with that number, the first or the second, if it is known.
    pub(crate) fn peek(&self, ino: u64) -> Option<Arc<Inode>> {
        self.inodes
            .get(&number::first(ino))
            .map(|found| found.value().clone())
    }

    /// Now, to note before a question to the namespace.
    pub(crate) fn asked(&self) -> Asked {
        self.leases.asked()
    }

    /// Somebody else has changed the inode.
    pub(crate) fn doubt(&self, ino: u64) {
        // Before the look: an inode that comes in meanwhile is then met here or sees this.
        self.strange
            .fetch_max(self.leases.next_epoch(), Ordering::AcqRel);
        if let Some(inode) = self.peek(ino) {
            inode.doubt();
        }
    }

    /// Takes an inode in answer to a question that was `asked` then, and counts one lookup by the
    /// kernel, under the number that comes with it.
    pub(crate) fn remember(&self, found: wire::Inode, asked: Asked) -> Result<(Arc<Inode>, u64)> {
        let (Some(place), Some(row), leased) = (found.r#ref, found.row, found.leased) else {
            return Err(FsError::from(Errno::EPROTO));
        };
        let id = place.object_id;
        match self.inodes.entry(id) {
            Entry::Vacant(vacant) => {
                let inode = Arc::new(Inode::new(place, row, self.leases.clone()));
                let mut node = inode.node.lock();
                let number = node.look(id);
                node.believe(
                    leased && self.strange.load(Ordering::Acquire) <= asked.epoch,
                    asked,
                );
                drop(node);
                vacant.insert(inode.clone());
                Ok((inode, number))
            }
            Entry::Occupied(known) => {
                let inode = known.get().clone();
                let heard = wire::Inode {
                    r#ref: None,
                    row: Some(row),
                    leased,
                    snapshot: 0,
                };
                inode.heard(heard, asked);
                let mut node = inode.node.lock();
                let number = node.look(id);
                if node.moved <= asked.epoch && id != ROOT {
                    node.dir = place.dir.unwrap_or(ROOT_DIR);
                    node.name = place.name;
                    node.nameless = false;
                }
                drop(node);
                Ok((inode, number))
            }
        }
    }

    /// Counts one more lookup by the kernel of an inode that is known and believed.
    pub(crate) fn look_again(&self, ino: u64) -> Option<(Arc<Inode>, u64)> {
        let entry = self.inodes.get(&ino)?;
        let inode = entry.value().clone();
        if !inode.believed() {
            return None;
        }
        // The entry is held: it cannot be forgotten in between.
        let number = inode.node.lock().look(ino);
        Some((inode, number))
    }

    /// The kernel forgets `count` lookups.
    pub(crate) fn forget(&self, ino: u64, count: u64) {
        if let Some(inode) = self.peek(ino) {
            let mut node = inode.node.lock();
            node.lookups.forget(ino, count);
        }
        self.drop_unused(number::first(ino));
    }

    /// Forgets the inode if neither the kernel nor a handle knows it.
    pub(crate) fn drop_unused(&self, ino: u64) {
        self.inodes.remove_if(&ino, |_, inode| inode.unused());
    }

    /// The inode has a new place, by a rename of this mount.
    pub(crate) fn moved(&self, ino: u64, dir: wire::DirRef, name: Bytes) {
        let Some(inode) = self.peek(ino) else { return };
        let mut node = inode.node.lock();
        (node.dir, node.name, node.moved) = (dir, name, self.leases.next_epoch());
        (node.doubted, node.leased) = (node.moved, 0);
    }

    /// The inode lost a name; `left` are those that it still has, if that was told.
    pub(crate) fn lost_name(&self, ino: u64, left: Option<u32>) {
        let Some(inode) = self.peek(ino) else { return };
        let mut node = inode.node.lock();
        let directory = node.row.kind() == wire::InodeKind::Directory;
        let left = left.unwrap_or(if directory {
            0
        } else {
            node.row.nlink.saturating_sub(1)
        });
        node.row.nlink = left;
        node.nameless = left == 0;
        node.moved = self.leases.next_epoch();
        (node.doubted, node.leased) = (node.moved, 0);
    }

    /// The inode at a place, if it is known.
    pub(crate) fn at(&self, dir: &wire::DirRef, name: &[u8]) -> Option<Arc<Inode>> {
        self.inodes
            .iter()
            .map(|entry| entry.value().clone())
            .find(|inode| {
                let node = inode.node.lock();
                node.dir == *dir && node.name == name && !node.nameless
            })
    }

    /// Inodes that programs have open.
    pub(crate) fn open(&self) -> Vec<Arc<Inode>> {
        self.inodes
            .iter()
            .map(|entry| entry.value().clone())
            .filter(|inode| inode.held())
            .collect()
    }
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;
