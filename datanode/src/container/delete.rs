//! Freeing blocks: first their rows, then their files.
//!
//! Between the two stands a `delete_txns` row, so that a crash leaves no file without an owner. Blocks and the container
//! that they are in are removed one after the other: files and rows of a container that is gone may be those of one that
//! came here anew.

use ozone_proto::hdds::datanode::Result as Code;

use super::{Container, State};
use crate::error::{OpError, OpResult};
use crate::rows::Change;

impl Container {
    /// Deletes blocks, committed or not. Returns the bytes of files that were freed. Deleting again
    /// changes nothing.
    pub fn delete_blocks(&self, transaction: i64, locals: &[i64]) -> OpResult<u64> {
        let _removing = self.removing.lock();
        self.volume.check_alive()?;
        self.check_here()?;
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
        let mut damage = self.damage.lock();
        for local in locals {
            open.remove(local);
            missing.remove(local);
            damage.remove(local);
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
        let _removing = self.removing.lock();
        self.mark_deleted(force)?;
        self.open.lock().clear();
        self.erase()
    }

    /// From here on nobody changes its rows or makes files in it.
    fn mark_deleted(&self, force: bool) -> OpResult<()> {
        let counters = self.counters.lock();
        // What did not go away the last time is tried again.
        if self.state() == State::Deleted {
            return Ok(());
        }
        let blocks = counters.blocks;
        if blocks > 0 && !force {
            let text = format!("container {} has {blocks} blocks", self.id);
            return Err(OpError::new(Code::DeleteOnNonEmptyContainer, text));
        }
        self.set_state(State::Deleted)
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
