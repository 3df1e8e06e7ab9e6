//! Answers to the kernel.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use bytes::Bytes;
use fuser::{
    Errno, FileHandle, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr,
};
use nix::libc;

use crate::attr::Attr;
use crate::errno::FsError;
use crate::fuse::convert::file_attr;
use crate::vfs::dir::DirEntry;
use crate::vfs::open::Opened;

/// Object ids are never used again, and so are inode numbers.
const GENERATION: Generation = Generation(0);

/// A reply that can say no.
pub(super) trait Refuse {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),* $(,)?) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })*
    };
}

refuse!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyLseek,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr,
);

/// Answers with the errno of `error`. What a program cannot have caused is logged.
pub(super) fn refuse<R: Refuse>(op: &'static str, reply: R, error: &FsError) {
    let errno = error.errno();
    if matches!(errno, libc::EIO | libc::ETIMEDOUT | libc::EPROTO) {
        tracing::warn!(op, %error, "answered with an I/O error");
    }
    reply.refuse(Errno::from_i32(errno));
}

/// Answers with attributes, which the kernel may believe for a while.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) ttl: Duration,
}

impl Entry {
    pub(super) fn answer(self) -> impl FnOnce(ReplyEntry, Attr) + Send {
        move |reply, attr| reply.entry(&self.ttl, &file_attr(&attr), GENERATION)
    }

    pub(super) fn attr(self) -> impl FnOnce(ReplyAttr, Attr) + Send {
        move |reply, attr| reply.attr(&self.ttl, &file_attr(&attr))
    }

    pub(super) fn created(self) -> impl FnOnce(ReplyCreate, (Attr, Opened)) + Send {
        move |reply, (attr, opened)| {
            let handle = FileHandle(opened.handle);
            reply.created(
                &self.ttl,
                &file_attr(&attr),
                GENERATION,
                handle,
                super::fopen(&opened),
            );
        }
    }

    /// Adds a name to a listing; true when there was no room for it.
    pub(super) fn add(self, reply: &mut ReplyDirectoryPlus, entry: &DirEntry<'_>) -> bool {
        let (ino, name) = (INodeNo(entry.attr.ino), OsStr::from_bytes(entry.name));
        reply.add(
            ino,
            entry.next,
            name,
            &self.ttl,
            &file_attr(&entry.attr),
            GENERATION,
        )
    }
}

/// Answers with bytes to a caller that has room for `size`, or asks with 0 for how many they are.
pub(super) fn xattr(size: u32) -> impl FnOnce(ReplyXattr, Bytes) + Send {
    move |reply, data| match u32::try_from(data.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(&data),
        _ => reply.error(Errno::ERANGE),
    }
}
