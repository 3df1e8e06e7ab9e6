//! write: bytes go into memory and the call returns. Long runs are handed to the datanodes while
//! the program goes on writing; all of it is committed by a flush.

use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
use ozone_common::disk::aligned_copy;
use ozone_common::request::carry;

use crate::data::Written;
use crate::errno::Result;
use crate::inode::Inode;
use crate::objects;
use crate::vfs::attr::has_privileges;
use crate::vfs::{Vfs, Who};

/// From this many bytes on, the program is told before the bytes are copied, and they are copied so that they can be
/// written to a disk as they are.
const LONG: usize = 256 << 10;

/// One write, but for its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    /// Handle that it goes through.
    pub handle: u64,
    /// Where it begins.
    pub offset: u64,
    /// Bytes.
    pub length: usize,
    /// Whether suid, sgid and capabilities fall with it.
    pub kill_privileges: bool,
}

/// Memory for one write, and the file that it goes to.
pub struct Room {
    inode: Arc<Inode>,
    offset: u64,
}

impl Vfs {
    /// Room for a write that has nothing to wait for; none when it has to wait for memory or for the namespace, and
    /// [`Vfs::write`] is to be called instead.
    pub fn room_for(&self, write: Write) -> Result<Option<Room>> {
        if objects::is_handle(write.handle) {
            return Ok(None);
        }
        let inode = self.writable(write)?;
        if (write.kill_privileges && has_privileges(&inode))
            || inode.lent().is_some()
            || !self.budget.try_take(write.length)
        {
            return Ok(None);
        }
        let offset = write.offset;
        Ok(Some(Room { inode, offset }))
    }

    /// Writes where there is room. `told` answers the program: whoever looks for the bytes from then on finds them,
    /// if only after they were copied.
    pub fn take_in(self: &Arc<Self>, room: Room, data: &[u8], told: impl FnOnce()) {
        let Room { inode, offset } = room;
        if data.len() < LONG {
            self.put(&inode, offset, Bytes::copy_from_slice(data));
            return told();
        }
        let mut pending = inode.data().pending.lock();
        // The first bytes of a file also make it known as one that has any.
        if pending.is_clean() {
            drop(pending);
            self.put(&inode, offset, aligned_copy(data));
            return told();
        }
        let (wall_ns, now) = (self.clock.wall_ns(), self.now());
        told();
        let written = pending.write((offset, aligned_copy(data)), wall_ns, now);
        drop(pending);
        self.was_put(&inode, written);
    }

    /// Writes; waits while too much is uncommitted.
    pub async fn write(self: &Arc<Self>, who: &Who, write: Write, data: Bytes) -> Result<()> {
        if objects::is_handle(write.handle) {
            return self.object_write(write, data).await;
        }
        let inode = self.writable(write)?;
        if write.kill_privileges {
            self.kill_privileges(who, &inode).await?;
        }
        if !self.budget.try_take(write.length) {
            self.pressure.notify_one();
            self.budget.take(write.length).await;
        }
        let Some(lent) = inode.lent() else {
            self.put(&inode, write.offset, data);
            return Ok(());
        };
        // In one order for the file and for those who read it by themselves.
        let mut mirror = lent.mirror.lock().await;
        self.put(&inode, write.offset, data.clone());
        if let Err(error) = mirror.write(write.offset, data).await {
            tracing::debug!(inode = inode.id, %error, "who has the file open does not see a write yet");
        }
        Ok(())
    }

    fn writable(&self, write: Write) -> Result<Arc<Inode>> {
        let file = self.handles.file(write.handle)?;
        if !file.writable {
            return Err(Errno::EBADF.into());
        }
        let end = write.offset.checked_add(write.length as u64);
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(Errno::EFBIG.into());
        }
        Ok(file.inode.clone())
    }

    /// Puts bytes for which there is room to those of a file that are not committed.
    fn put(self: &Arc<Self>, inode: &Arc<Inode>, offset: u64, data: Bytes) {
        let (wall_ns, now) = (self.clock.wall_ns(), self.now());
        let written = inode
            .data()
            .pending
            .lock()
            .write((offset, data), wall_ns, now);
        self.was_put(inode, written);
    }

    fn was_put(self: &Arc<Self>, inode: &Arc<Inode>, written: Written) {
        if written.first {
            self.dirty.insert(inode.id, inode.clone());
        }
        self.budget.give(written.replaced);
        if written.pump {
            let (vfs, inode) = (self.clone(), inode.clone());
            self.runtime
                .spawn(carry(async move { vfs.pump(&inode).await }));
        }
    }
}
