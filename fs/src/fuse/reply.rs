//! Answers to the kernel.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use fuser::{
    BackingId, Errno, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr,
};
use nix::libc;

use crate::attr::Known;
use crate::errno::FsError;
use crate::fuse::convert::{file_attr, nothing};
use crate::number;
use crate::vfs::dir::DirEntry;
use crate::vfs::lookup::Looked;
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
    // The program has a bare errno; which rule its name breaks is only said here.
    if let (libc::EINVAL, FsError::Client(error)) = (errno, error) {
        tracing::info!(op, %error, "refused as invalid");
    }
    reply.refuse(Errno::from_i32(errno));
}

/// Answers with what is under a name.
pub(super) fn looked(reply: ReplyEntry, looked: Looked) {
    match looked {
        Looked::Inode(known) => entry(reply, known),
        Looked::Nothing(valid) if valid.is_zero() => reply.error(Errno::ENOENT),
        // Number 0 tells the kernel that there is nothing, and that it may remember so.
        Looked::Nothing(valid) => reply.entry(&valid, &nothing(), GENERATION),
    }
}

pub(super) fn entry(reply: ReplyEntry, known: Known) {
    reply.entry(&known.valid, &file_attr(&known.attr), GENERATION);
}

pub(super) fn attr(reply: ReplyAttr, known: Known) {
    reply.attr(&known.valid, &file_attr(&known.attr));
}

/// Answers an open. What the kernel reads by itself, it keeps no pages of.
pub(super) fn opened(reply: ReplyOpen, opened: &Opened) {
    let handle = FileHandle(opened.handle);
    let passed = opened.lent.as_ref();
    match passed.and_then(|lent| lent.registration().downcast_ref::<BackingId>()) {
        Some(id) => reply.opened_passthrough(handle, FopenFlags::empty(), id),
        None => reply.opened(handle, super::fopen(opened)),
    }
}

pub(super) fn created(reply: ReplyCreate, (known, opened): (Known, Opened)) {
    reply.created(
        &known.valid,
        &file_attr(&known.attr),
        GENERATION,
        FileHandle(opened.handle),
        super::fopen(&opened),
    );
}

/// Adds a name to a listing; true when there was no room for it.
pub(super) fn add(reply: &mut ReplyDirectoryPlus, entry: &DirEntry<'_>) -> bool {
    let ino = INodeNo(number::first(entry.attr.ino));
    let name = OsStr::from_bytes(entry.name);
    let attr = file_attr(&entry.attr);
    reply.add(ino, entry.next, name, &entry.valid, &attr, GENERATION)
}

/// Answers with bytes to a caller that has room for `size`, or asks with 0 for how many they are.
pub(super) fn xattr(size: u32) -> impl FnOnce(ReplyXattr, Bytes) + Send {
    move |reply, data| match u32::try_from(data.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(&data),
        _ => reply.error(Errno::ERANGE),
    }
}
