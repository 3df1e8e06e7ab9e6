//! fallocate and lseek: which parts of a file are stored.

use nix::errno::Errno;
use nix::libc;

use crate::errno::Result;
use crate::inode::Inode;
use crate::objects;
use crate::past;
use crate::vfs::{Vfs, Who};
use crate::wire::{CommitRequest, Extent, Hole};

/// Extents that are asked for at a time.
const PAGE: u32 = 1000;

/// A stretch of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Handle of the file.
    pub handle: u64,
    /// Where it begins.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

impl Vfs {
    /// fallocate(2): mode 0 makes the file long enough, PUNCH_HOLE and ZERO_RANGE turn a stretch
    /// into zeros that take no space. Space is not reserved ahead, so that KEEP_SIZE alone is
    /// refused.
    pub async fn fallocate(&self, who: &Who, stretch: Stretch, mode: i32) -> Result<()> {
        if objects::is_handle(stretch.handle) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let file = self.handles.file(stretch.handle)?;
        if !file.writable {
            return Err(Errno::EBADF.into());
        }
        let Some(end) = stretch
            .offset
            .checked_add(stretch.length)
            .filter(|end| i64::try_from(*end).is_ok())
        else {
            return Err(Errno::EFBIG.into());
        };
        let (zeros, grows) = match mode {
            0 => (false, true),
            libc::FALLOC_FL_ZERO_RANGE => (true, true),
            m if m == libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE => (true, false),
            m if m == libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE => (true, false),
            _ => return Err(Errno::EOPNOTSUPP.into()),
        };
        self.write_out(&file.inode).await;
        self.report(&file)?;
        if who.uid != 0 {
            self.kill_privileges(who, &file.inode).await?;
        }
        let hole = Hole {
            offset: stretch.offset,
            length: stretch.length,
        };
        let change = CommitRequest {
            holes: if zeros { vec![hole] } else { Vec::new() },
            size: if grows { end } else { 0 },
            ..Default::default()
        };
        self.commit(&file.inode, change).await?;
        self.follow(&file.inode).await;
        self.await_pages(&file.inode).await;
        Ok(())
    }

    /// lseek(2) with SEEK_DATA or SEEK_HOLE.
    pub async fn seek(&self, handle: u64, offset: u64, whence: i32) -> Result<u64> {
        if past::is_handle(handle) {
            return self.past_seek(handle, offset, whence);
        }
        if objects::is_handle(handle) {
            return self.object_seek(handle, offset, whence);
        }
        let file = self.handles.file(handle)?;
        self.write_out(&file.inode).await;
        self.report(&file)?;
        self.ensure_believed(&file.inode).await?;
        let size = file.inode.attr().size;
        if offset >= size {
            return Err(Errno::ENXIO.into());
        }
        let data = match whence {
            libc::SEEK_DATA => true,
            libc::SEEK_HOLE => false,
            _ => return Err(Errno::EINVAL.into()),
        };
        match self.find(&file.inode, offset, size, data).await? {
            Some(found) => Ok(found),
            None if data => Err(Errno::ENXIO.into()),
            None => Ok(size),
        }
    }

    /// The first byte from `offset` on that is stored (`data`) or is not.
    async fn find(&self, inode: &Inode, offset: u64, size: u64, data: bool) -> Result<Option<u64>> {
        let mut at = offset;
        while at < size {
            let page = self
                .at_place(inode, |place| {
                    self.namespace.get_extents(place, at, size - at, PAGE)
                })
                .await?;
            let (found, end) = scan(&page.extents, at, data);
            if found.is_some_and(|found| found < size) {
                return Ok(found);
            }
            if !page.more || end == at {
                // Behind the last extent is nothing but holes.
                return Ok((!data && end < size).then_some(end));
            }
            at = end;
        }
        Ok(None)
    }
}

/// Looks for a stored byte, or for a hole between extents, from `at` on. Also says how far the
/// extents reach.
fn scan(extents: &[Extent], mut at: u64, data: bool) -> (Option<u64>, u64) {
    for extent in extents {
        let end = extent.file_offset.saturating_add(extent.length);
        if end <= at {
            continue;
        }
        if data {
            return (Some(at.max(extent.file_offset)), end);
        }
        if extent.file_offset > at {
            return (Some(at), end);
        }
        at = end;
    }
    (None, at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn extents(ranges: &[(u64, u64)]) -> Vec<Extent> {
        let extent = |(from, to): &(u64, u64)| Extent {
            file_offset: *from,
            length: to - from,
            source: None,
        };
        ranges.iter().map(extent).collect()
    }

    #[test]
    fn holes_lie_between_extents_that_do_not_touch() {
        let map = extents(&[(0, 10), (10, 20), (30, 40)]);
        assert_eq!(scan(&map, 5, false), (Some(20), 40));
        assert_eq!(scan(&map, 25, false), (Some(25), 40));
        assert_eq!(scan(&map[..2], 5, false), (None, 20));
        assert_eq!(scan(&map[2..], 35, false), (None, 40));
    }

    #[test]
    fn data_begins_where_an_extent_does() {
        let map = extents(&[(10, 20), (30, 40)]);
        assert_eq!(scan(&map, 0, true).0, Some(10));
        assert_eq!(scan(&map, 15, true).0, Some(15));
        assert_eq!(scan(&map, 20, true).0, Some(30));
        assert_eq!(scan(&map, 40, true).0, None);
    }
}
