//! Telling the kernel what it must not believe any more.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, Notifier};

use crate::vfs::KernelCache;

/// The cache of the kernel for one mount.
pub(crate) struct Kernel(pub(crate) Notifier);

impl KernelCache for Kernel {
    fn forget_name(&self, dir: u64, name: &[u8]) {
        log(self.0.inval_entry(INodeNo(dir), OsStr::from_bytes(name)));
    }

    fn forget_inode(&self, ino: u64) {
        // From the first byte on, all of them.
        log(self.0.inval_inode(INodeNo(ino), 0, 0));
    }

    fn forget_bytes(&self, ino: u64, bytes: Range<u64>) {
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        let length = signed(bytes.end - bytes.start);
        log(self
            .0
            .inval_inode(INodeNo(ino), signed(bytes.start), length));
    }

    fn keep_bytes(&self, ino: u64, content: &[u8]) {
        log(self.0.store(INodeNo(ino), 0, content));
    }
}

/// That the kernel does not know the name or the inode is what was wanted.
fn log(told: io::Result<()>) {
    if let Err(error) = told
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, "the kernel was not told of a change");
    }
}
