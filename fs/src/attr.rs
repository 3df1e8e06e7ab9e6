//! What stat(2) says of an inode.

use std::time::Duration;

use crate::number;
use crate::wire::{InodeKind, InodeRow};

/// Unit of `st_blocks`, bytes.
const SECTOR: u64 = 512;

/// Attributes of an inode. Times are nanoseconds since 1970, negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// File, directory, …
    pub kind: InodeKind,
    /// Permission bits with suid, sgid and sticky.
    pub mode: u32,
    /// Names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device that a device file stands for.
    pub rdev: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes that are stored, in units of 512.
    pub blocks: u64,
    /// Last access.
    pub atime_ns: i64,
    /// Last change of content.
    pub mtime_ns: i64,
    /// Last change of anything.
    pub ctime_ns: i64,
    /// Creation.
    pub btime_ns: i64,
}

/// Attributes that the kernel may believe for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The attributes.
    pub attr: Attr,
    /// How long they, and the name that they were asked for by, may be believed.
    pub valid: Duration,
}

impl Known {
    /// The same under the number by which the kernel is to know the inode. The number that programs see is the
    /// first one: of a second one nothing is believed, so that they ask for that.
    pub(crate) fn under(mut self, number: u64) -> Self {
        self.attr.ino = number;
        if number::is_second(number) {
            self.valid = Duration::ZERO;
        }
        self
    }
}

/// When bytes were written that are not in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenAt {
    /// The time that the file shows for it, which a program may have set since.
    pub mtime_ns: u64,
    /// The time of the last write.
    pub ctime_ns: u64,
}

impl Attr {
    /// The attributes in a row.
    pub fn of(ino: u64, row: &InodeRow) -> Self {
        Self {
            ino,
            kind: row.kind(),
            mode: row.mode,
            nlink: row.nlink,
            uid: row.uid,
            gid: row.gid,
            rdev: row.rdev,
            size: row.size,
            blocks: row.allocated.div_ceil(SECTOR),
            atime_ns: signed(row.atime_ns),
            mtime_ns: signed(row.mtime_ns),
            ctime_ns: signed(row.ctime_ns),
            btime_ns: signed(row.btime_ns),
        }
    }

    /// Adds what was written and is not in the row: the file reaches to `end`, has these times and holds
    /// up to `bytes` more.
    pub fn grow(&mut self, end: u64, times: Option<WrittenAt>, bytes: u64) {
        self.size = self.size.max(end);
        let Some(times) = times else {
            return;
        };
        self.mtime_ns = signed(times.mtime_ns);
        self.ctime_ns = self.ctime_ns.max(signed(times.ctime_ns));
        let most = self.size.div_ceil(SECTOR).max(self.blocks);
        self.blocks = (self.blocks + bytes.div_ceil(SECTOR)).min(most);
    }
}

/// Rows hold times as two's complement, so that years before 1970 fit.
fn signed(ns: u64) -> i64 {
    ns.cast_signed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn uncommitted_writes_show_in_size_and_times() {
        let row = InodeRow {
            size: 10,
            allocated: 10,
            mtime_ns: 5,
            ctime_ns: 9,
            ..Default::default()
        };
        let mut attr = Attr::of(3, &row);
        attr.grow(0, None, 0);
        assert_eq!((attr.size, attr.mtime_ns, attr.blocks), (10, 5, 1));
        let times = WrittenAt {
            mtime_ns: 8,
            ctime_ns: 8,
        };
        attr.grow(2000, Some(times), 1990);
        assert_eq!(
            (attr.size, attr.mtime_ns, attr.ctime_ns, attr.blocks),
            (2000, 8, 9, 4)
        );
    }

    #[test]
    fn times_before_1970_are_negative() {
        let row = InodeRow {
            mtime_ns: (-1i64).cast_unsigned(),
            ..Default::default()
        };
        assert_eq!(Attr::of(3, &row).mtime_ns, -1);
    }
}
