//! write: bytes go into memory and the call returns. Long runs are handed to the datanodes while
//! the program goes on writing; all of it is committed by a flush.
//!
//! Who has too much uncommitted is answered late: his bytes are taken at once, and he brings no more meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
use ozone_common::request::carry;

use crate::data::Written;
use crate::errno::Result;
use crate::handle::FileHandle;
use crate::inode::Inode;
use crate::objects;
use crate::vfs::attr::{has_capabilities, has_privileges};
use crate::vfs::{Vfs, Who};

/// From this many bytes on, the program is told before the bytes are copied.
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
    /// Whether it is to be durable when it is answered (O_DSYNC), if the kernel does not see to that.
    pub durable: bool,
}

/// A file that takes a write without anything to do first.
pub struct Ready {
    file: Arc<FileHandle>,
    offset: u64,
}

/// What an answer has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owed {
    /// Memory: more is uncommitted than there is room for.
    memory: bool,
    /// The kernel may have pages of what was there before ([`crate::vfs::pages`]).
    pages: bool,
}

impl Vfs {
    /// The file that a write goes to, if there is nothing to do before and after; [`Vfs::write`] is to be called
    /// otherwise.
    pub fn ready_for(&self, write: Write) -> Result<Option<Ready>> {
        if objects::is_handle(write.handle) {
            return Ok(None);
        }
        let file = self.writable(write)?;
        if (write.kill_privileges && has_privileges(&file.inode))
            || file.inode.lent().is_some()
            || (file.direct && (write.durable || has_capabilities(&file.inode)))
        {
            return Ok(None);
        }
        let offset = write.offset;
        Ok(Some(Ready { file, offset }))
    }

    /// Takes the bytes of a write. `told` answers the program: whoever looks for the bytes from then on finds them,
    /// if only after they were copied.
    pub fn take_in(self: &Arc<Self>, to: Ready, data: &[u8], told: impl FnOnce() + Send + 'static) {
        let Ready { file, offset } = to;
        let memory = !self.budget.take(data.len());
        let mut pending = file.inode.data().pending.lock();
        let owed = Owed {
            memory,
            // Whoever opens the file after this look reads what is put there now.
            pages: file.direct && (pending.is_kept() || file.inode.is_paged()),
        };
        let (wall_ns, now) = (self.clock.wall_ns(), self.now());
        // The first bytes of a file also make it known as one that has any.
        let at_once = data.len() >= LONG && !pending.is_clean() && !owed.any();
        let mut told = Some(told);
        if let Some(told) = told.take_if(|_| at_once) {
            told();
        }
        let written = pending.write((offset, data), wall_ns, now);
        drop(pending);
        self.was_put(&file.inode, written);
        match told {
            None => {}
            Some(told) if !owed.any() => told(),
            Some(told) => {
                let (vfs, length) = (self.clone(), data.len() as u64);
                self.runtime.spawn(carry(async move {
                    vfs.settle(&file, offset, length, owed).await;
                    told();
                }));
            }
        }
    }

    /// Writes; waits while too much is uncommitted.
    pub async fn write(self: &Arc<Self>, who: &Who, write: Write, data: Bytes) -> Result<()> {
        if objects::is_handle(write.handle) {
            return self.object_write(write, data).await;
        }
        let file = self.writable(write)?;
        let inode = &file.inode;
        if write.kill_privileges {
            self.kill_privileges(who, inode).await?;
        } else if file.direct {
            // On the way through its pages, the kernel sees to that.
            self.kill_capabilities(who, inode).await?;
        }
        let memory = !self.budget.take(write.length);
        match inode.lent() {
            None => self.put(inode, write.offset, &data),
            Some(lent) => {
                // In one order for the file and for those who read it by themselves.
                let mut mirror = lent.mirror.lock().await;
                self.put(inode, write.offset, &data);
                if let Err(error) = mirror.write(write.offset, data).await {
                    tracing::debug!(inode = inode.id, %error, "who has the file open does not see a write yet");
                }
            }
        }
        let kept = || inode.data().pending.lock().is_kept();
        let pages = file.direct && (kept() || inode.is_paged());
        let owed = Owed { memory, pages };
        self.settle(&file, write.offset, write.length as u64, owed)
            .await;
        match write.durable && file.direct {
            true => self.fsync(write.handle).await,
            false => Ok(()),
        }
    }

    /// Does what has to be done between a write and its answer.
    async fn settle(&self, file: &FileHandle, offset: u64, length: u64, owed: Owed) {
        if owed.memory {
            self.pressure.notify_one();
            self.budget.wait().await;
        }
        if owed.pages {
            self.drop_pages(&file.inode, offset..offset + length).await;
        }
    }

    fn writable(&self, write: Write) -> Result<Arc<FileHandle>> {
        let file = self.handles.file(write.handle)?;
        if !file.writable {
            return Err(Errno::EBADF.into());
        }
        let end = write.offset.checked_add(write.length as u64);
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(Errno::EFBIG.into());
        }
        Ok(file)
    }

    /// Puts a copy of bytes to those of a file that are not committed.
    fn put(self: &Arc<Self>, inode: &Arc<Inode>, offset: u64, data: &[u8]) {
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

impl Owed {
    fn any(self) -> bool {
        self.memory || self.pages
    }
}
