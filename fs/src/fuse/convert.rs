//! Between the kernel's types and the filesystem's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, Request, TimeOrNow};
use nix::errno::Errno;
use nix::libc;

use crate::attr::Attr;
use crate::errno::Result;
use crate::vfs::Who;
use crate::vfs::attr::Time;
use crate::vfs::create::NewNode;
use crate::wire::InodeKind;

/// What programs are told to read and write at a time, bytes.
const IO_SIZE: u32 = 128 << 10;

/// Who makes a request.
pub(super) fn who(req: &Request) -> Who {
    Who {
        uid: req.uid(),
        gid: req.gid(),
        pid: req.pid(),
    }
}

pub(super) fn file_type(kind: InodeKind) -> FileType {
    match kind {
        InodeKind::Directory => FileType::Directory,
        InodeKind::Symlink => FileType::Symlink,
        InodeKind::Fifo => FileType::NamedPipe,
        InodeKind::CharDevice => FileType::CharDevice,
        InodeKind::BlockDevice => FileType::BlockDevice,
        InodeKind::Socket => FileType::Socket,
        InodeKind::File | InodeKind::HardLink | InodeKind::Unknown => FileType::RegularFile,
    }
}

/// What mknod(2) is asked to make.
pub(super) fn node_of(mode: u32, rdev: u32) -> Result<NewNode> {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFREG | 0 => InodeKind::File,
        libc::S_IFIFO => InodeKind::Fifo,
        libc::S_IFSOCK => InodeKind::Socket,
        libc::S_IFCHR => InodeKind::CharDevice,
        libc::S_IFBLK => InodeKind::BlockDevice,
        _ => return Err(Errno::EINVAL.into()),
    };
    let device = matches!(kind, InodeKind::CharDevice | InodeKind::BlockDevice);
    Ok(NewNode {
        rdev: if device { rdev } else { 0 },
        ..NewNode::of(kind, mode & 0o7777)
    })
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime_ns),
        mtime: system_time(attr.mtime_ns),
        ctime: system_time(attr.ctime_ns),
        crtime: system_time(attr.btime_ns),
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.mode & 0o7777).unwrap_or_default(),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: IO_SIZE,
        flags: 0,
    }
}

/// The attributes of nothing.
pub(super) fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        ..file_attr(&Attr::of(0, &crate::wire::InodeRow::default()))
    }
}

fn system_time(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}

pub(super) fn time(time: TimeOrNow) -> Time {
    match time {
        TimeOrNow::Now => Time::Now,
        TimeOrNow::SpecificTime(at) => Time::At(nanoseconds(at)),
    }
}

/// Nanoseconds since 1970. What the kernel says as `-s` seconds and `n` nanoseconds arrives, before
/// 1970, as the sum of both before it (fuser 0.18), and is put right.
fn nanoseconds(at: SystemTime) -> i64 {
    let clamp = |ns: i128| i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX });
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => {
            clamp(i128::from(after.as_secs()) * 1_000_000_000 + i128::from(after.subsec_nanos()))
        }
        Err(before) => {
            let before = before.duration();
            clamp(i128::from(before.subsec_nanos()) - i128::from(before.as_secs()) * 1_000_000_000)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn times_pass_at_nanoseconds() {
        let ns = 1_700_000_000_123_456_789;
        assert_eq!(nanoseconds(system_time(ns)), ns);
        assert_eq!(system_time(-1), UNIX_EPOCH - Duration::from_nanos(1));
        assert_eq!(
            nanoseconds(UNIX_EPOCH - Duration::from_secs(10)),
            -10_000_000_000
        );
        // -2 s and 800 ms, as fuser hands it on.
        let at = UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(nanoseconds(at), -1_200_000_000);
    }

    #[test]
    fn mknod_makes_what_the_mode_says() {
        let made = |mode| node_of(mode, 7).unwrap();
        assert_eq!(
            (made(libc::S_IFCHR | 0o600).kind, made(libc::S_IFCHR).rdev),
            (InodeKind::CharDevice, 7)
        );
        assert_eq!(
            (made(libc::S_IFIFO | 0o4644).mode, made(libc::S_IFIFO).rdev),
            (0o4644, 0)
        );
        assert_eq!(made(0o644).kind, InodeKind::File);
        assert!(node_of(libc::S_IFDIR, 0).unwrap_err().is(Errno::EINVAL));
    }
}
