//! The kernel's pages of files that are written past them.
//!
//! What a program writes through a handle that is opened for nothing else goes past the kernel's pages: into those it
//! would be copied once more, page by page, while the program waits. Before the kernel brings such a write, it gives
//! up the pages of what was there. Somebody who reads the file meanwhile may bring them in again, so those pages go
//! once more, before the write is answered. Files that are small are likely to be read soon: the kernel is given their
//! pages when they are closed.

use std::ops::Range;

use bytes::Bytes;

use crate::handle::FileHandle;
use crate::inode::Inode;
use crate::vfs::{Stale, Vfs};

/// Bytes of a file of which the kernel is given the pages. The file of a longer one is read by the kernel itself
/// (adr/0004).
const KEPT: u64 = 1 << 20;

impl Vfs {
    /// The kernel gives up its pages of these bytes of a file.
    pub(super) async fn drop_pages(&self, inode: &Inode, bytes: Range<u64>) {
        self.await_pages(inode).await;
        let numbers = self.numbers(inode.id);
        let stale = numbers.map(|ino| Stale::Bytes(ino, bytes.clone()));
        if !self.forget_soon(vec![stale.collect()]).await {
            tracing::warn!(
                inode = inode.id,
                "the kernel may show what was there before a write"
            );
        }
    }

    /// Waits until the kernel has the pages that it is being given: what changes the file must not be answered
    /// before that.
    pub(super) async fn await_pages(&self, inode: &Inode) {
        if let Some(data) = inode.data_if_any() {
            drop(data.keeping.lock().await);
        }
    }

    /// Gives the kernel the pages of a small file that a program has written and is closing. Once, until nobody
    /// has it open: it may be one of several descriptors, through which is written on.
    pub(super) async fn keep_pages(&self, file: &FileHandle) {
        let (inode, Some(kernel)) = (&file.inode, self.kernel.get()) else {
            return;
        };
        let Some(data) = inode.data_if_any().filter(|_| file.direct) else {
            return;
        };
        let _keeping = data.keeping.lock().await;
        if let Some(content) = self.to_be_kept(inode) {
            // Nobody else has the file open: the kernel has no page of it that somebody holds.
            kernel.keep_bytes(inode.id, &content);
        }
    }

    /// The content of a file, if all of it is in memory, and only this handle can change it.
    fn to_be_kept(&self, inode: &Inode) -> Option<Bytes> {
        let mut pending = inode.data().pending.lock();
        let sole = inode.is_open_once() && inode.lent().is_none() && !inode.has_second();
        let size = inode.with_row(|row| row.size).max(pending.end());
        if !sole || size > KEPT {
            return None;
        }
        pending.keep(size)
    }
}
