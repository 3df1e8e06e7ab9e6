//! write: bytes go into memory and the call returns. Long runs are handed to the datanodes while
//! the program goes on writing; all of it is committed by a flush.

use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
use ozone_common::request::carry;

use crate::errno::Result;
use crate::inode::Inode;
use crate::objects;
use crate::vfs::attr::has_privileges;
use crate::vfs::{Vfs, Who};

/// One write.
#[derive(Debug, Clone)]
pub struct Write {
    /// Handle that it goes through.
    pub handle: u64,
    /// Where it begins.
    pub offset: u64,
    /// What is written.
    pub data: Bytes,
    /// Whether suid, sgid and capabilities fall with it.
    pub kill_privileges: bool,
}

impl Vfs {
    /// Writes without waiting; `false` when it has to wait for memory or for the namespace, and
    /// [`Vfs::write`] is to be called instead.
    pub fn try_write(self: &Arc<Self>, write: &Write) -> Result<bool> {
        if objects::is_handle(write.handle) {
            return Ok(false);
        }
        let inode = self.writable(write)?;
        if (write.kill_privileges && has_privileges(&inode))
            || inode.lent().is_some()
            || !self.budget.try_take(write.data.len())
        {
            return Ok(false);
        }
        self.take_in(&inode, write);
        Ok(true)
    }

    /// Writes; waits while too much is uncommitted.
    pub async fn write(self: &Arc<Self>, who: &Who, write: &Write) -> Result<()> {
        if objects::is_handle(write.handle) {
            return self.object_write(write).await;
        }
        let inode = self.writable(write)?;
        if write.kill_privileges {
            self.kill_privileges(who, &inode).await?;
        }
        if !self.budget.try_take(write.data.len()) {
            self.pressure.notify_one();
            self.budget.take(write.data.len()).await;
        }
        let Some(lent) = inode.lent() else {
            self.take_in(&inode, write);
            return Ok(());
        };
        // In one order for the file and for those who read it by themselves.
        let mut mirror = lent.mirror.lock().await;
        self.take_in(&inode, write);
        if let Err(error) = mirror.write(write.offset, write.data.clone()).await {
            tracing::debug!(inode = inode.id, %error, "who has the file open does not see a write yet");
        }
        Ok(())
    }

    fn writable(&self, write: &Write) -> Result<Arc<Inode>> {
        let file = self.handles.file(write.handle)?;
        if !file.writable {
            return Err(Errno::EBADF.into());
        }
        let end = write.offset.checked_add(write.data.len() as u64);
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(Errno::EFBIG.into());
        }
        Ok(file.inode.clone())
    }

    /// Takes a write for which there is room.
    fn take_in(self: &Arc<Self>, inode: &Arc<Inode>, write: &Write) {
        let piece = (write.offset, write.data.clone());
        let (wall_ns, now) = (self.clock.wall_ns(), self.now());
        let written = inode.data().pending.lock().write(piece, wall_ns, now);
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
