//! Having the kernel forget what it has cached and must not believe any more.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::number;
use crate::vfs::Vfs;
use crate::wire::Change;

/// How often a wait for the kernel looks whether the kernel waits for this mount.
const LOOK: Duration = Duration::from_millis(2);
/// How long a wait for the kernel lasts. It forgets a page once the read that brings it has ended, and that may wait
/// for a datanode that does not answer: of the file that is read so somebody may see what it was, of no other.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the kernel has cached and must not believe any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// What is under a name of a directory.
    Name {
        /// Inode number of the directory.
        dir: u64,
        /// The name.
        name: Bytes,
    },
    /// The attributes of an inode, and the content if it is a file.
    Inode(u64),
    /// These bytes of a file's content.
    Bytes(u64, Range<u64>),
}

/// The kernel's cache of one mount.
pub trait KernelCache: Send + Sync {
    /// Forgets these, each group beside the others. Blocks, maybe for as long as system calls in one of the directories,
    /// or reads and writes of one of the files, wait for this mount.
    fn forget(&self, stale: Vec<Vec<Stale>>);
    /// This is the content of a file, of which nobody has a page: does not wait.
    fn keep_bytes(&self, ino: u64, content: &[u8]);
}

impl Vfs {
    /// From now on `kernel` caches what this filesystem answers.
    pub fn set_kernel(&self, kernel: Arc<dyn KernelCache>) {
        let _ = self.kernel.set(kernel);
    }

    /// Has the kernel forget these soon; completes when it has. May be called by any thread.
    pub(super) fn forget_soon(&self, stale: Vec<Vec<Stale>>) -> impl Future<Output = bool> + use<> {
        let kernel = self.kernel.get().cloned();
        let forgetting =
            kernel.map(|kernel| self.runtime.spawn_blocking(move || kernel.forget(stale)));
        async move {
            match forgetting {
                Some(forgetting) => forgetting.await.is_ok(),
                None => true,
            }
        }
    }

    /// An inode, under each of the numbers by which the kernel knows it.
    pub(super) fn numbers(&self, id: u64) -> impl Iterator<Item = u64> + use<> {
        let inode = self.inodes.peek(id);
        let second = inode.is_some_and(|inode| inode.has_second());
        std::iter::once(id).chain(second.then(|| number::second(id)))
    }

    /// What these changes make stale: the names of each directory together, and each file by itself.
    pub(super) fn stale<'a>(&self, changes: impl Iterator<Item = &'a Change>) -> Vec<Vec<Stale>> {
        let mut names = BTreeMap::<u64, Vec<Stale>>::new();
        let mut stale = Vec::new();
        for change in changes {
            let id = change.object_id;
            if change.name.is_empty() {
                stale.push(self.numbers(id).map(Stale::Inode).collect());
                continue;
            }
            let name = change.name.clone();
            names
                .entry(id)
                .or_default()
                .push(Stale::Name { dir: id, name });
        }
        stale.extend(names.into_values());
        stale
    }

    /// Has the kernel forget the content of all files that programs have open. Of the others it forgets what has
    /// changed when they are opened.
    pub(super) async fn forget_pages(&self) {
        let open = self.inodes.open().into_iter();
        let stale = open.map(|inode| self.numbers(inode.id).map(Stale::Inode).collect());
        self.forget_all(stale.collect(), &BTreeSet::new()).await;
    }

    /// Has the kernel forget all of these, and waits until it has: not for ever, and not while it may be waiting for a
    /// change in one of these directories by this mount, which may wait for a mount that waits for this one. What it
    /// has not forgotten by then it forgets when that change is done, or that read.
    pub(super) async fn forget_all(&self, stale: Vec<Vec<Stale>>, directories: &BTreeSet<u64>) {
        let in_use = || {
            let mut dirs = directories.iter().filter_map(|ino| self.inodes.peek(*ino));
            dirs.any(|dir| dir.changing.load(Ordering::Acquire) > 0)
        };
        let forgetting = self.forget_soon(stale);
        tokio::pin!(forgetting);
        let until = self.now() + PATIENCE;
        loop {
            tokio::select! {
                _ = &mut forgetting => return,
                () = self.clock.sleep(LOOK) => if in_use() || self.now() > until { return },
            }
        }
    }
}
