//! statfs.

use crate::errno::Result;
use crate::objects;
use crate::past;
use crate::vfs::Vfs;
use crate::wire::DirRef;

/// Unit of the block counts, bytes.
pub const BLOCK: u32 = 4096;
/// Object ids end here; each is used once.
const IDS: u64 = 1 << 48;

/// Space and inodes, as statfs(2) says them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// Blocks of [`BLOCK`] bytes in all.
    pub blocks: u64,
    /// Blocks that are free.
    pub free: u64,
    /// Blocks that may be written.
    pub available: u64,
    /// Inodes in all, used or not.
    pub files: u64,
    /// Inodes that can still be made.
    pub files_free: u64,
}

impl Vfs {
    /// Inodes of the cluster, and space for data where `ino` is: what the copies that its bucket keeps
    /// leave of the disks.
    pub async fn stat_fs(&self, ino: u64) -> Result<StatFs> {
        let dir = self.directory_of(ino)?;
        let stat = self.namespace.stat_fs(dir).await?;
        let blocks = |bytes: u64| bytes / u64::from(BLOCK);
        let files_free = IDS.saturating_sub(stat.files);
        Ok(StatFs {
            blocks: blocks(stat.capacity),
            free: blocks(stat.capacity.saturating_sub(stat.used)),
            available: blocks(stat.available),
            files: stat.files + files_free,
            files_free,
        })
    }

    /// The directory that `ino` is, or is in.
    fn directory_of(&self, ino: u64) -> Result<DirRef> {
        if past::is_past(ino) {
            return Ok(self.past.get(ino)?.children);
        }
        if objects::is_object(ino) {
            return Ok(self.objects.get(ino)?.place.bucket.root);
        }
        let inode = self.inodes.get(ino)?;
        Ok(match inode.is_directory() {
            true => inode.children(),
            false => inode.parent(),
        })
    }
}
