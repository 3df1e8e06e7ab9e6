//! The kernel's requests: each is decoded, handed to a task that calls [`Vfs`], and answered from
//! there. Nothing is decided here.

pub(crate) mod apart;
mod convert;
pub(crate) mod kernel;
mod passing;
mod reply;
mod start;

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use tokio::runtime::Handle;

use crate::errno::Result;
use crate::fuse::convert::{file_type, node_of, time, who};
use crate::fuse::passing::Passing;
use crate::fuse::reply::{Refuse, xattr};
use crate::vfs::attr::Changes;
use crate::vfs::create::NewNode;
use crate::vfs::open::Opened;
use crate::vfs::space::Stretch;
use crate::vfs::statfs::BLOCK;
use crate::vfs::write::Write;
use crate::vfs::{Name, Target, Vfs};
use crate::wire::{InodeKind, XAttr};

/// Most bytes of one write request.
const MAX_WRITE: u32 = 1 << 20;
/// Requests in the background (read-ahead, releases) that the kernel may have open.
const BACKGROUND: u16 = 64;
/// Longest name, as statfs(2) says it.
const NAME_MAX: u32 = 255;

/// A [`Vfs`] under the kernel.
pub(crate) struct Fuse {
    vfs: Arc<Vfs>,
    runtime: Handle,
}

impl Fuse {
    /// Must be called within the runtime that is to run the requests.
    pub(crate) fn new(vfs: Arc<Vfs>) -> Self {
        Self {
            vfs,
            runtime: Handle::current(),
        }
    }

    /// Does `work` and answers with what it gives.
    fn run<R, T, W>(
        &self,
        op: &'static str,
        reply: R,
        work: W,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) where
        R: Refuse + Send + 'static,
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let started = Instant::now();
        // What a request may need to wait for takes kilobytes, which are not to be moved about.
        let work = Box::pin(work);
        let whole = async move {
            match work.await {
                Ok(done) => answer(reply, done),
                Err(error) => reply::refuse(op, reply, &error),
            }
            metrics::histogram!("ozone_fs_request_seconds", "op" => op).record(started.elapsed());
        };
        self.start(op, whole);
    }

    fn start(&self, op: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        start::start(&self.runtime, op, work);
    }
}

fn owned(name: &OsStr) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn fopen(opened: &Opened) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keep_cache);
    flags.set(FopenFlags::FOPEN_DIRECT_IO, opened.direct);
    flags
}

fn done(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

impl Filesystem for Fuse {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_CACHE_SYMLINKS,
        ];
        for flag in wanted {
            if config.add_capabilities(flag).is_err() {
                tracing::info!(?flag, "the kernel does without");
            }
        }
        if !self.vfs.passes_through()
            || config
                .add_capabilities(InitFlags::FUSE_PASSTHROUGH)
                .is_err()
            || config.set_max_stack_depth(1).is_err()
        {
            self.vfs.pass_nothing();
        }
        let sizes = [
            config.set_max_write(MAX_WRITE).is_ok(),
            config.set_max_background(BACKGROUND).is_ok(),
        ];
        if sizes.contains(&false) {
            return Err(io::Error::from_raw_os_error(nix::libc::EINVAL));
        }
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), owned(name));
        let work = async move { vfs.lookup(&who, parent.0, &name).await };
        self.run("lookup", reply, work, reply::looked);
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        self.vfs.forget(ino.0, nlookup);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let vfs = self.vfs.clone();
        self.run(
            "getattr",
            reply,
            async move { vfs.get_attr(ino.0).await },
            reply::attr,
        );
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        let mode = mode.map(|mode| mode & 0o7777);
        let changes = Changes {
            mode,
            uid,
            gid,
            size,
            atime: atime.map(time),
            mtime: mtime.map(time),
        };
        let work = async move { vfs.set_attr(&who, ino.0, changes).await };
        self.run("setattr", reply, work, reply::attr);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let vfs = self.vfs.clone();
        self.run(
            "readlink",
            reply,
            async move { vfs.read_link(ino.0).await },
            |reply, target| reply.data(&target),
        );
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), owned(name));
        let work = async move { vfs.make(&who, parent.0, &name, node_of(mode, rdev)?).await };
        self.run("mknod", reply, work, reply::entry);
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), owned(name));
        let node = NewNode::of(InodeKind::Directory, mode & 0o7777);
        let work = async move { vfs.make(&who, parent.0, &name, node).await };
        self.run("mkdir", reply, work, reply::entry);
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), owned(name));
        self.run(
            "unlink",
            reply,
            async move { vfs.unlink(&who, parent.0, &name).await },
            done,
        );
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), owned(name));
        self.run(
            "rmdir",
            reply,
            async move { vfs.rmdir(&who, parent.0, &name).await },
            done,
        );
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), owned(name));
        let node = NewNode {
            target: owned(target.as_os_str()),
            ..NewNode::of(InodeKind::Symlink, 0o777)
        };
        let work = async move { vfs.make(&who, parent.0, &name, node).await };
        self.run("symlink", reply, work, reply::entry);
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let target = match flags {
            f if f.is_empty() => Target::Replace,
            RenameFlags::RENAME_NOREPLACE => Target::Keep,
            RenameFlags::RENAME_EXCHANGE => Target::Exchange,
            _ => return reply.error(Errno::EINVAL),
        };
        let (vfs, who, name, newname) = (self.vfs.clone(), who(req), owned(name), owned(newname));
        let work = async move {
            let from = Name {
                parent: parent.0,
                name: &name,
            };
            let to = Name {
                parent: newparent.0,
                name: &newname,
            };
            vfs.rename(&who, from, to, target).await
        };
        self.run("rename", reply, work, done);
    }

    fn link(
        &self,
        req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), owned(newname));
        let work = async move { vfs.link(&who, ino.0, newparent.0, &name).await };
        self.run("link", reply, work, reply::entry);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        let work = async move {
            let opened = vfs.open(&who, ino.0, flags.0, Some(&Passing(&reply))).await;
            match opened {
                Ok(opened) => reply::opened(reply, &opened),
                Err(error) => reply::refuse("open", reply, &error),
            }
        };
        self.start("open", work);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), owned(name));
        let work = async move {
            vfs.create(&who, parent.0, &name, mode & 0o7777, flags)
                .await
        };
        self.run("create", reply, work, reply::created);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let vfs = self.vfs.clone();
        let work = async move { vfs.read(fh.0, offset, size as usize).await };
        self.run("read", reply, work, |reply, data| reply.data(&data));
    }

    fn write(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let write = Write {
            handle: fh.0,
            offset,
            length: data.len(),
            kill_privileges: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
            durable: flags.0 & nix::libc::O_DSYNC != 0,
        };
        match self.vfs.ready_for(write) {
            Ok(Some(file)) => return self.vfs.take_in(file, data, move || reply.written(size)),
            Ok(None) => {}
            Err(error) => return reply::refuse("write", reply, &error),
        }
        let (vfs, who, data) = (self.vfs.clone(), who(req), Bytes::copy_from_slice(data));
        let work = async move { vfs.write(&who, write, data).await };
        self.run("write", reply, work, move |reply, ()| reply.written(size));
    }

    fn flush(&self, _: &Request, _: INodeNo, fh: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        let vfs = self.vfs.clone();
        self.run("flush", reply, async move { vfs.flush(fh.0).await }, done);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs.clone();
        self.run(
            "release",
            reply,
            async move { vfs.release(fh.0).await },
            done,
        );
    }

    fn fsync(&self, _: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        let vfs = self.vfs.clone();
        self.run("fsync", reply, async move { vfs.fsync(fh.0).await }, done);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.vfs.open_dir(ino.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(error) => reply::refuse("opendir", reply, &error),
        }
    }

    fn readdir(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        let work = async move {
            let mut reply = reply;
            let mut sink = |entry: crate::vfs::dir::DirEntry<'_>| {
                let kind = file_type(entry.attr.kind);
                reply.add(
                    INodeNo(entry.attr.ino),
                    entry.next,
                    kind,
                    OsStr::from_bytes(entry.name),
                )
            };
            match vfs.read_dir(&who, fh.0, offset, false, &mut sink).await {
                Ok(()) => reply.ok(),
                Err(error) => reply::refuse("readdir", reply, &error),
            }
        };
        self.start("readdir", work);
    }

    fn readdirplus(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        let work = async move {
            let mut reply = reply;
            let mut sink = |found: crate::vfs::dir::DirEntry<'_>| reply::add(&mut reply, &found);
            match vfs.read_dir(&who, fh.0, offset, true, &mut sink).await {
                Ok(()) => reply.ok(),
                Err(error) => reply::refuse("readdirplus", reply, &error),
            }
        };
        self.start("readdirplus", work);
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.vfs.release_dir(fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        let vfs = self.vfs.clone();
        self.run(
            "fsyncdir",
            reply,
            async move { vfs.fsync_dir(fh.0).await },
            done,
        );
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let vfs = self.vfs.clone();
        self.run(
            "statfs",
            reply,
            async move { vfs.stat_fs(ino.0).await },
            |reply, s| {
                reply.statfs(
                    s.blocks,
                    s.free,
                    s.available,
                    s.files,
                    s.files_free,
                    BLOCK,
                    NAME_MAX,
                    BLOCK,
                );
            },
        );
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        let attribute = XAttr {
            name: owned(name),
            value: Bytes::copy_from_slice(value),
        };
        self.run(
            "setxattr",
            reply,
            async move { vfs.set_xattr(&who, ino.0, attribute, flags).await },
            done,
        );
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let (vfs, name) = (self.vfs.clone(), owned(name));
        self.run(
            "getxattr",
            reply,
            async move { vfs.get_xattr(ino.0, &name).await },
            xattr(size),
        );
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let vfs = self.vfs.clone();
        self.run(
            "listxattr",
            reply,
            async move { vfs.list_xattrs(ino.0).await },
            xattr(size),
        );
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, who, name) = (self.vfs.clone(), who(req), owned(name));
        self.run(
            "removexattr",
            reply,
            async move { vfs.remove_xattr(&who, ino.0, name).await },
            done,
        );
    }

    fn fallocate(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let (vfs, who) = (self.vfs.clone(), who(req));
        let stretch = Stretch {
            handle: fh.0,
            offset,
            length,
        };
        self.run(
            "fallocate",
            reply,
            async move { vfs.fallocate(&who, stretch, mode).await },
            done,
        );
    }

    fn lseek(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let Ok(from) = u64::try_from(offset) else {
            return reply.error(Errno::ENXIO);
        };
        let vfs = self.vfs.clone();
        let work = async move { vfs.seek(fh.0, from, whence).await };
        self.run("lseek", reply, work, |reply, found| {
            reply.offset(i64::try_from(found).unwrap_or(i64::MAX))
        });
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }
}
