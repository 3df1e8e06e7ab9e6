//! The floor: a FUSE filesystem that keeps everything in memory.
//!
//! It does as little as one can behind the kernel's FUSE: it is alone, so the kernel may believe
//! every name and attribute, and its fsync has nothing to wait for. What the mount loses against it
//! is the mount's own; what this loses against the raw disk is the price of FUSE. Like the mount it
//! takes requests on several threads, moves a mebibyte at a time, and does without the kernel's
//! writeback cache.

mod tree;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Config, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, Session, TimeOrNow, WriteFlags,
};
use nix::libc;
use nix::unistd::{Gid, Uid};
use parking_lot::RwLock;

use self::tree::{Changes, NewNode, Tree};

/// How long the kernel may believe what it was told: nobody else changes anything.
const TTL: Duration = Duration::from_secs(3600);
/// As the mount has them.
const MAX_WRITE: u32 = 1 << 20;
const BACKGROUND: u16 = 64;
const THREADS: usize = 4;
const READ_AHEAD: u64 = 4 << 20;
const GENERATION: Generation = Generation(0);
const NO_HANDLE: FileHandle = FileHandle(0);

struct MemFs {
    tree: RwLock<Tree>,
}

/// Mounts at `mountpoint` and serves until standard input ends, which it does when whoever started
/// this process is gone.
pub(crate) fn serve(mountpoint: &Path) -> io::Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let fs = MemFs {
        tree: RwLock::new(Tree::new(uid.as_raw(), gid.as_raw())),
    };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("memfs".to_owned()),
        MountOption::DefaultPermissions,
    ];
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    let session = Session::new(fs, mountpoint, &config)?.spawn()?;
    let device = fs::metadata(mountpoint)?.dev();
    let bdi = format!("{}:{}", libc::major(device), libc::minor(device));
    let read_ahead = format!("/sys/class/bdi/{bdi}/read_ahead_kb");
    // Users other than root have the kernel's default, for the mount as well.
    let _ = fs::write(read_ahead, (READ_AHEAD >> 10).to_string());
    println!("mounted");
    io::stdin().read_to_end(&mut Vec::new())?;
    session.umount_and_join()
}

fn regular(req: &Request, kind: FileType, mode: u32) -> NewNode {
    NewNode {
        kind,
        mode,
        uid: req.uid(),
        gid: req.gid(),
        target: OsString::new(),
    }
}

fn at(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::Now => SystemTime::now(),
        TimeOrNow::SpecificTime(at) => at,
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn entry(reply: ReplyEntry, made: tree::Result<fuser::FileAttr>) {
    match made {
        Ok(attr) => reply.entry(&TTL, &attr, GENERATION),
        Err(errno) => reply.error(errno),
    }
}

fn attr(reply: ReplyAttr, found: tree::Result<fuser::FileAttr>) {
    match found {
        Ok(attr) => reply.attr(&TTL, &attr),
        Err(errno) => reply.error(errno),
    }
}

fn empty(reply: ReplyEmpty, done: tree::Result<()>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for MemFs {
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
            // An older kernel does without.
            let _ = config.add_capabilities(flag);
        }
        let sizes = [
            config.set_max_write(MAX_WRITE).is_ok(),
            config.set_max_background(BACKGROUND).is_ok(),
        ];
        match sizes.contains(&false) {
            true => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            false => Ok(()),
        }
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.tree.write().lookup(parent.0, name));
    }

    fn forget(&self, _: &Request, ino: INodeNo, nlookup: u64) {
        self.tree.write().forget(ino.0, nlookup);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attr(reply, self.tree.read().attr(ino.0));
    }

    fn setattr(
        &self,
        _: &Request,
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
        let changes = Changes {
            mode,
            uid,
            gid,
            size: size.map(position),
            atime: atime.map(at),
            mtime: mtime.map(at),
        };
        attr(reply, self.tree.write().change(ino.0, changes));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.tree.read().target(ino.0) {
            Ok(target) => reply.data(target.as_encoded_bytes()),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        if !matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG) {
            return reply.error(Errno::EPERM);
        }
        let new = regular(req, FileType::RegularFile, mode);
        entry(reply, self.tree.write().make(parent.0, name, new));
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
        let new = regular(req, FileType::Directory, mode);
        entry(reply, self.tree.write().make(parent.0, name, new));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree.write().remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree.write().remove(parent.0, name));
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let new = NewNode {
            target: target.as_os_str().to_owned(),
            ..regular(req, FileType::Symlink, 0o777)
        };
        entry(reply, self.tree.write().make(parent.0, name, new));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let keep = match flags {
            f if f.is_empty() => false,
            RenameFlags::RENAME_NOREPLACE => true,
            _ => return reply.error(Errno::EINVAL),
        };
        let (from, to) = ((parent.0, name), (newparent.0, newname));
        empty(reply, self.tree.write().rename(from, to, keep));
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        entry(reply, self.tree.write().link(ino.0, newparent.0, newname));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let new = regular(req, FileType::RegularFile, mode);
        match self.tree.write().make(parent.0, name, new) {
            Ok(attr) => {
                let flags = FopenFlags::FOPEN_KEEP_CACHE;
                reply.created(&TTL, &attr, GENERATION, NO_HANDLE, flags);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let content = self.tree.read().content(ino.0);
        match content {
            Ok(content) => reply.data(content.read().slice(position(offset), size as usize)),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let content = self.tree.read().content(ino.0);
        match content {
            Ok(content) => {
                content.write().write(position(offset), data);
                reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let add = |listed: &tree::Listed| {
            reply.add(
                listed.attr.ino,
                listed.cookie,
                listed.attr.kind,
                &listed.name,
            )
        };
        let listed = self.tree.write().list(ino.0, offset, false, add);
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let add = |listed: &tree::Listed| {
            let attr = &listed.attr;
            reply.add(
                attr.ino,
                listed.cookie,
                &listed.name,
                &TTL,
                attr,
                GENERATION,
            )
        };
        let listed = self.tree.write().list(ino.0, offset, true, add);
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        const BLOCKS: u64 = 1 << 30;
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, 4096, 255, 4096);
    }
}
