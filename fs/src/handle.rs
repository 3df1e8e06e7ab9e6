//! What open(2) and opendir(3) give out: handles by number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use nix::errno::Errno;

use crate::behind::Behind;
use crate::errno::Result;
use crate::inode::Inode;
use crate::vfs::dir::DirHandle;

/// An open file.
pub(crate) struct FileHandle {
    /// The file.
    pub(crate) inode: Arc<Inode>,
    /// Whether it was opened for writing.
    pub(crate) writable: bool,
    /// Whether what is written through it goes past the kernel's pages.
    pub(crate) direct: bool,
    /// Whether the kernel reads through it by itself.
    pub(crate) passed: bool,
    /// How far it has read what the kernel will read by itself.
    pub(crate) behind: Option<Behind>,
    /// Whether a descriptor of it was closed: most likely its release follows.
    pub(crate) closing: AtomicBool,
    /// Failures of the file that this handle has told of.
    pub(crate) failures_seen: AtomicU64,
}

#[derive(Clone)]
enum Handle {
    File(Arc<FileHandle>),
    Dir(Arc<DirHandle>),
}

/// Open files and directories by number; numbers are not reused.
#[derive(Default)]
pub(crate) struct HandleTable {
    next: AtomicU64,
    handles: DashMap<u64, Handle>,
}

impl HandleTable {
    fn add(&self, handle: Handle) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.handles.insert(number, handle);
        number
    }

    fn get(&self, number: u64) -> Result<Handle> {
        self.handles
            .get(&number)
            .map(|found| found.value().clone())
            .ok_or_else(|| Errno::EBADF.into())
    }

    /// Gives out a number for an open file.
    pub(crate) fn add_file(&self, handle: FileHandle) -> u64 {
        self.add(Handle::File(Arc::new(handle)))
    }

    /// Gives out a number for an open directory.
    pub(crate) fn add_dir(&self, handle: DirHandle) -> u64 {
        self.add(Handle::Dir(Arc::new(handle)))
    }

    /// The open file with that number; EBADF when there is none.
    pub(crate) fn file(&self, number: u64) -> Result<Arc<FileHandle>> {
        match self.get(number)? {
            Handle::File(file) => Ok(file),
            Handle::Dir(_) => Err(Errno::EBADF.into()),
        }
    }

    /// The open directory with that number; EBADF when there is none.
    pub(crate) fn dir(&self, number: u64) -> Result<Arc<DirHandle>> {
        match self.get(number)? {
            Handle::Dir(dir) => Ok(dir),
            Handle::File(_) => Err(Errno::EBADF.into()),
        }
    }

    /// Takes an open file out of the table.
    pub(crate) fn remove_file(&self, number: u64) -> Result<Arc<FileHandle>> {
        let file = self.file(number)?;
        self.handles.remove(&number);
        Ok(file)
    }

    /// Takes an open directory out of the table.
    pub(crate) fn remove_dir(&self, number: u64) {
        self.handles.remove(&number);
    }
}
