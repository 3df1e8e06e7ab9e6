//! Bytes that were committed without this replica having them, and how they get here.

use super::loan::LEND_FROM;
use super::{Container, State};
use crate::chunk::Chunk;
use crate::error::OpResult;
use crate::rows::Change;

impl Container {
    /// Committed blocks that lack bytes here, and from where on.
    pub fn lacking(&self) -> Vec<(i64, u64)> {
        let mut all: Vec<_> = self.missing.lock().iter().map(|(l, f)| (*l, *f)).collect();
        all.sort_unstable();
        all
    }

    /// The chunks of a lacking block that are not here or not right.
    pub fn chunks_to_fetch(&self, local: i64) -> OpResult<Vec<Chunk>> {
        let Some(from) = self.missing.lock().get(&local).copied() else {
            return Ok(Vec::new());
        };
        let mut lacking = Vec::new();
        let block = self.open_for_write(local)?;
        for chunk in self.db().chunks(self.id, local, from, u64::MAX)? {
            if self.verify_stored(&**block.file(), &chunk)?.is_err() {
                lacking.push(chunk);
            }
        }
        Ok(lacking)
    }

    /// Writes a fetched chunk where it belongs, after verifying it.
    pub fn store_fetched(&self, local: i64, chunk: &Chunk, data: &[u8]) -> OpResult<()> {
        chunk.verify(data)?;
        self.volume.check_room(u64::from(chunk.len))?;
        let block = self.open_for_write(local)?;
        let written = block.file().write_at(data, chunk.offset);
        written.map_err(|error| self.io_failed("write to block in", &error))
    }

    /// All bytes of a lacking block are here: makes them durable, then lets them be read. False if
    /// a commit has added more that lacks.
    pub fn repaired(&self, local: i64) -> OpResult<bool> {
        let block = self.open_for_write(local)?;
        let synced = block
            .file()
            .sync_data()
            .and_then(|()| self.layout.sync_names());
        synced.map_err(|error| self.sync_failed(&error))?;
        let _counters = self.counters.lock();
        self.check_here()?;
        if !self.chunks_to_fetch(local)?.is_empty() {
            return Ok(false);
        }
        let size = self.db().block(self.id, local)?.map_or(0, |row| row.size);
        let mut change = Change::new(self.id);
        change.delete_missing(local);
        self.db().write(change, false)?;
        self.missing.lock().remove(&local);
        self.damage.lock().remove(&local);
        if let Some(open) = self.open.lock().get(&local) {
            open.committed(size);
        }
        Ok(true)
    }
}

impl Container {
    /// Verifies a stored chunk. A damaged one counts as lacking from then on: it is no longer
    /// served, and fetched anew. False when it is damaged.
    pub fn check_chunk(&self, local: i64, chunk: &Chunk) -> OpResult<bool> {
        let why = match self.open_stored(local)? {
            Some(file) => match self.verify_stored(file.file(), chunk)? {
                Ok(()) => {
                    // The first chunk of a block that is never lent ends before.
                    if chunk.end() >= LEND_FROM {
                        self.note_verified(local, chunk.offset..chunk.end());
                    }
                    return Ok(true);
                }
                Err(why) => why,
            },
            None => "its file is gone".to_owned(),
        };
        let _counters = self.counters.lock();
        if self.state() == State::Deleted || self.db().block(self.id, local)?.is_none() {
            return Ok(true); // deleted meanwhile
        }
        tracing::error!(block = %format!("{}/{local}", self.id), why, "stored data is damaged");
        self.damage.lock().insert(local, why);
        self.loans.doubt(local);
        let from = {
            let mut missing = self.missing.lock();
            let from = missing.entry(local).or_insert(chunk.offset);
            *from = chunk.offset.min(*from);
            *from
        };
        let mut change = Change::new(self.id);
        change.put_missing(local, from);
        self.db().write(change, true)?;
        Ok(false)
    }
}
