//! Freeing blocks: first their rows, then their files.
//!
//! Between the two stands a `delete_txns` row, so that a crash leaves no file without an owner.

use super::Container;
use crate::error::{OpError, OpResult};
use crate::rows::Change;

impl Container {
    /// Deletes blocks, committed or not. Returns the bytes of files that were freed. Deleting again
    /// changes nothing.
    pub fn delete_blocks(&self, transaction: i64, locals: &[i64]) -> OpResult<u64> {
        self.volume.check_alive()?;
        self.forget_blocks(transaction, locals)?;
        self.remove_files(transaction, locals)
    }

    fn forget_blocks(&self, transaction: i64, locals: &[i64]) -> OpResult<()> {
        let mut counters = self.counters.lock();
        let mut next = *counters;
        let mut change = Change::new(self.id);
        for &local in locals {
            let Some(row) = self.db().block(self.id, local)? else {
                continue;
            };
            next.blocks = next.blocks.saturating_sub(1);
            next.bytes = next.bytes.saturating_sub(row.size);
            change.delete_block(local, &self.chunks(local)?);
        }
        next.delete_tx = next.delete_tx.max(u64::try_from(transaction).unwrap_or(0));
        change.put_deletion(transaction, locals);
        change.counters(&next);
        self.db().write(change, true)?;
        *counters = next;
        drop(counters);
        let (mut open, mut missing) = (self.open.lock(), self.missing.lock());
        for local in locals {
            open.remove(local);
            missing.remove(local);
            self.loans.doubt(*local);
            self.loans.writer_is_done(*local);
        }
        Ok(())
    }

    fn remove_files(&self, transaction: i64, locals: &[i64]) -> OpResult<u64> {
        let mut freed = 0;
        for &local in locals {
            let removed = self.layout.remove_block(local);
            self.loans.close_file(local);
            freed += removed.map_err(|error| self.io_failed("remove block from", &error))?;
        }
        self.layout
            .sync_names()
            .map_err(|error| self.sync_failed(&error))?;
        let mut change = Change::new(self.id);
        change.delete_deletion(transaction);
        self.db().write(change, false)?;
        Ok(freed)
    }

    /// Finishes deletions that a crash interrupted.
    pub(super) fn finish_deletions(&self) -> OpResult<()> {
        for (transaction, locals) in self.db().deletions(self.id)? {
            let mut gone = Vec::with_capacity(locals.len());
            for local in locals {
                // A block that was written anew after its deletion keeps its file.
                if self.block(local)?.is_none() {
                    gone.push(local);
                }
            }
            self.remove_files(transaction, &gone)?;
        }
        Ok(())
    }

    /// Removes the container with everything in it. One with blocks only by `force`.
    pub(super) fn destroy(&self, force: bool) -> OpResult<()> {
        use ozone_proto::hdds::datanode::Result as Code;
        let blocks = self.counters().blocks;
        if blocks > 0 && !force {
            let text = format!("container {} has {blocks} blocks", self.id);
            return Err(OpError::new(Code::DeleteOnNonEmptyContainer, text));
        }
        self.set_state(super::State::Deleted)?;
        self.open.lock().clear();
        self.erase()
    }

    /// Removes rows and files of a container that is marked as deleted.
    pub(super) fn erase(&self) -> OpResult<()> {
        let mut change = Change::new(self.id);
        change.delete_all();
        self.db().write(change, true)?;
        let disk = self.volume.disk();
        let away = self.volume.layout().outgoing(self.id);
        let moved = match away.parent() {
            Some(parent) => disk.create_dir_all(parent),
            None => Ok(()),
        };
        let removed = moved
            .and_then(|()| disk.remove_dir_all(&away))
            .and_then(|()| match disk.exists(&self.dir)? {
                true => disk.rename(&self.dir, &away),
                false => Ok(()),
            })
            .and_then(|()| disk.remove_dir_all(&away));
        removed.map_err(|error| self.io_failed("remove", &error))?;
        match self.dir.parent() {
            Some(parent) => disk
                .sync_dir(parent)
                .map_err(|error| self.sync_failed(&error)),
            None => Ok(()),
        }
    }
}
