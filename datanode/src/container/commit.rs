//! Writing bytes, proving that they are here, and making them exist.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use ozone_common::disk::DiskFile;
use ozone_proto::hdds::datanode::Result as Code;

use super::open_block::WriteFailure;
use super::{Container, OpenBlock, State};
use crate::chunk::Chunk;
use crate::error::{OpError, OpResult};
use crate::rows::{BlockRow, Change};

/// Bytes that a client which was lent a file may be ahead of its commits, about.
const AHEAD: u64 = 64 << 20;

/// What makes bytes exist.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The block.
    pub local: i64,
    /// Bytes that exist from now on.
    pub size: u64,
    /// Kept for the client.
    pub flags: i64,
    /// Chunks since the last commit; one at the offset of the last chunk replaces it.
    pub chunks: Vec<Chunk>,
    /// Place in the pipeline's log.
    pub bcsid: u64,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Bytes of the block that exist.
    pub length: u64,
    /// Commit that made them.
    pub bcsid: u64,
    /// The bytes are not all here: they must be fetched.
    pub lacking: bool,
}

/// Bytes that a member may have.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// Bytes of the block that are committed.
    pub committed: u64,
    /// Chunks after them; the first may replace the last committed one.
    pub chunks: Vec<Chunk>,
}

/// Whether bytes are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// All of them.
    Yes,
    /// Not all, for this reason.
    No(String),
}

impl Container {
    /// Writes a chunk whose data was verified. Calls for one block are made in order.
    pub fn write_chunk(&self, local: i64, chunk: &Chunk, data: &[u8]) -> OpResult<()> {
        self.volume.check_room(u64::from(chunk.len))?;
        self.stage(local, |block| block.write(chunk, data))
    }

    /// Takes in the chunks of a block that its client has put into the file, of those that a commit names. Gives
    /// their bytes.
    pub fn take_in_placed(&self, local: i64, chunks: &[Chunk]) -> OpResult<u64> {
        let committed = self.block(local)?.map_or(0, |row| row.size);
        // They are on the disk already; no more are taken in once it is full.
        self.volume.check_room(1)?;
        let mut bytes = 0;
        for chunk in chunks.iter().filter(|chunk| chunk.end() > committed) {
            self.stage(local, |block| {
                if block.placed(chunk)? {
                    bytes += u64::from(chunk.len);
                }
                Ok(())
            })?;
        }
        Ok(bytes)
    }

    /// The file of a block that is being written, for a client that puts the next chunks into it by itself.
    pub fn lend_to_write(&self, local: i64) -> OpResult<Arc<dyn DiskFile>> {
        self.check_writable()?;
        self.check_whole(local)?;
        if self.loans.has_file(local) {
            return Err(self.not_lent(local, "it is lent to somebody who reads it"));
        }
        // What it writes is not counted before it is committed.
        self.volume.check_room(AHEAD)?;
        self.loans.lent_to_writer(local);
        let lent = self.open_for_write(local)?.lend_to_write();
        lent.map_err(|error| self.io_failed("cut a block in", &error))
    }

    /// Refuses to write to a block of which committed bytes are not here.
    fn check_whole(&self, local: i64) -> OpResult<()> {
        let missing = self.missing.lock();
        let Some(from) = missing.get(&local) else {
            return Ok(());
        };
        let text = format!(
            "block {}/{local}: bytes from {from} on are being fetched",
            self.id
        );
        Err(OpError::new(Code::ChunkFileInconsistency, text))
    }

    fn stage(
        &self,
        local: i64,
        put: impl FnOnce(&OpenBlock) -> Result<(), WriteFailure>,
    ) -> OpResult<()> {
        self.check_writable()?;
        self.check_whole(local)?;
        let block = self.open_for_write(local)?;
        put(&block).map_err(|failure| match failure {
            WriteFailure::Io(error) => self.io_failed("write to block in", &error),
            WriteFailure::Misplaced(why) => OpError::new(
                Code::ChunkFileInconsistency,
                format!("block {}/{local}: {why}", self.id),
            ),
        })
    }

    /// Opens the file of a block to write to it; one that is lent moves to another file before.
    pub(super) fn open_for_write(&self, local: i64) -> OpResult<Arc<OpenBlock>> {
        if let Some(block) = self.open.lock().get(&local) {
            // It is not lent: what is being written never is.
            return Ok(block.clone());
        }
        self.move_away(local)?;
        let mut open = self.open.lock();
        if self.loans.has_file(local) {
            let text = format!("block {}/{local} was lent just now: try again", self.id);
            return Err(OpError::new(Code::ContainerNotOpen, text));
        }
        self.opened(&mut open, local)
    }

    fn opened(
        &self,
        open: &mut HashMap<i64, Arc<OpenBlock>>,
        local: i64,
    ) -> OpResult<Arc<OpenBlock>> {
        if let Some(block) = open.get(&local) {
            return Ok(block.clone());
        }
        self.check_here()?;
        let committed = self.db().block(self.id, local)?.map_or(0, |row| row.size);
        let end = self
            .missing
            .lock()
            .get(&local)
            .copied()
            .unwrap_or(committed);
        let made = self
            .layout
            .create_block(local)
            .and_then(|file| OpenBlock::new(file, end));
        let block = Arc::new(made.map_err(|error| self.io_failed("open block in", &error))?);
        open.insert(local, block.clone());
        Ok(block)
    }

    /// What of `chunks` a commit of `size` bytes adds to the block, when they fit on to it.
    pub fn new_chunks(&self, local: i64, size: u64, chunks: &[Chunk]) -> OpResult<Vec<Chunk>> {
        let committed = self.db().block(self.id, local)?.map_or(0, |row| row.size);
        let new: Vec<Chunk> = chunks
            .iter()
            .filter(|c| c.end() > committed)
            .cloned()
            .collect();
        if size <= committed {
            return Ok(Vec::new());
        }
        let misfit = |why: String| {
            Err(OpError::malformed(format!(
                "commit of {}/{local} to {size} bytes: {why}",
                self.id
            )))
        };
        let Some(first) = new.first() else {
            return misfit(format!(
                "{committed} bytes are committed and no chunk adds to them"
            ));
        };
        let replaces = first.offset < committed && {
            let old = self.db().chunk(self.id, local, first.offset)?;
            old.is_some_and(|old| old.end() == committed)
        };
        if first.offset != committed && !replaces {
            return misfit(format!(
                "{committed} bytes are committed, the next chunk is at {}",
                first.offset
            ));
        }
        let mut end = first.offset;
        for chunk in &new {
            if chunk.offset != end {
                return misfit(format!(
                    "a chunk is at {}, the one before it ends at {end}",
                    chunk.offset
                ));
            }
            end = chunk.end();
        }
        match end == size {
            true => Ok(new),
            false => misfit(format!("its chunks end at {end}")),
        }
    }

    /// Whether the bytes that `claim` names are here, and with `sync` makes everything of the block
    /// durable.
    pub fn hold(&self, local: i64, claim: &Claim, sync: bool) -> OpResult<Held> {
        self.volume.check_alive()?;
        let written = self.written_len(local)?;
        if written < claim.committed {
            let text = format!(
                "{written} bytes are here of {} committed ones",
                claim.committed
            );
            return Ok(Held::No(text));
        }
        let chunks = &claim.chunks;
        if let Some(from) = self.missing.lock().get(&local) {
            return Ok(Held::No(format!("bytes from {from} on are being fetched")));
        }
        let open = self.open.lock().get(&local).cloned();
        let Some(file) = self.file_of(local, open.as_deref())? else {
            return Ok(match chunks.is_empty() {
                true => Held::Yes,
                false => Held::No("the block has no file here".to_owned()),
            });
        };
        for chunk in chunks {
            if open.as_ref().is_some_and(|open| open.is_staged(chunk)) {
                continue;
            }
            if let Err(why) = self.verify_stored(&*file, chunk)? {
                return Ok(Held::No(why));
            }
        }
        if sync {
            let done = match &open {
                Some(open) => open.sync(&*self.layout),
                None => file.sync_data().and_then(|()| self.layout.sync_names()),
            };
            done.map_err(|error| self.sync_failed(&error))?;
        }
        Ok(Held::Yes)
    }

    /// Bytes of a block that are written here, committed or not.
    fn written_len(&self, local: i64) -> OpResult<u64> {
        if let Some(open) = self.open.lock().get(&local) {
            return Ok(open.end());
        }
        Ok(self.block(local)?.map_or(0, |row| row.size))
    }

    fn file_of(&self, local: i64, open: Option<&OpenBlock>) -> OpResult<Option<Arc<dyn DiskFile>>> {
        if let Some(open) = open {
            return Ok(Some(open.file().clone()));
        }
        self.layout
            .open_block(local)
            .map_err(|error| self.io_failed("open block in", &error))
    }

    /// Reads a chunk back and compares; the inner error says what differs.
    pub(super) fn verify_stored(
        &self,
        file: &dyn DiskFile,
        chunk: &Chunk,
    ) -> OpResult<Result<(), String>> {
        let mut data = vec![0; chunk.len as usize];
        match file.read_exact_at(&mut data, chunk.offset) {
            Ok(()) => Ok(chunk.verify(&data).map_err(|error| error.message)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(Err(format!("the file ends before {}", chunk.end())))
            }
            Err(error) => Err(self.io_failed("read block in", &error)),
        }
    }

    /// Makes bytes exist, whether they are here or not. A commit that was applied before changes
    /// nothing. Not durable by itself: the pipeline's log is.
    pub fn commit(&self, commit: &Commit) -> OpResult<Committed> {
        let mut counters = self.counters.lock();
        let old = self.db().block(self.id, commit.local)?;
        if commit.bcsid <= counters.bcsid {
            let row = old.unwrap_or(BlockRow {
                size: 0,
                bcsid: commit.bcsid,
                flags: 0,
            });
            let lacking = self.missing.lock().contains_key(&commit.local);
            return Ok(Committed {
                length: row.size,
                bcsid: row.bcsid,
                lacking,
            });
        }
        if !matches!(self.state(), State::Open | State::Closing) {
            return Err(self.refuse(Code::ContainerNotOpen));
        }
        let new = self.new_chunks(commit.local, commit.size, &commit.chunks)?;
        let old_size = old.map_or(0, |row| row.size);
        let size = commit.size.max(old_size);
        let mut change = Change::new(self.id);
        change.put_block(
            commit.local,
            &BlockRow {
                size,
                bcsid: commit.bcsid,
                flags: commit.flags,
            },
        );
        for chunk in &new {
            change.put_chunk(commit.local, chunk);
        }
        let claim = Claim {
            committed: old_size,
            chunks: new,
        };
        let lacking = match self.hold(commit.local, &claim, false)? {
            Held::Yes => false,
            Held::No(why) => {
                let block = format!("{}/{}", self.id, commit.local);
                tracing::info!(block, why, "committed bytes are not here, will fetch them");
                let from = *self.missing.lock().entry(commit.local).or_insert(old_size);
                change.put_missing(commit.local, from);
                true
            }
        };
        let mut next = *counters;
        next.blocks += u64::from(old.is_none());
        next.bytes = next.bytes.saturating_add(size - old_size);
        next.bcsid = commit.bcsid;
        change.counters(&next);
        self.db().write(change, false)?;
        *counters = next;
        drop(counters);
        if !lacking && let Some(open) = self.open.lock().get(&commit.local) {
            open.committed(size);
        }
        Ok(Committed {
            length: size,
            bcsid: commit.bcsid,
            lacking,
        })
    }

    /// Closes the files of blocks that were not used since the last call and await no commit.
    pub fn close_idle_blocks(&self) {
        self.open.lock().retain(|_, block| {
            let stays = block.was_used() || block.has_staged();
            if !stays {
                block.cut_lent();
            }
            stays
        });
        self.loans.close_idle_file();
    }

    /// The client is done with the block: its file is closed.
    pub fn finish_block(&self, local: i64) {
        let mut open = self.open.lock();
        if open.get(&local).is_some_and(|block| !block.has_staged()) {
            open.remove(&local);
        }
        self.loans.writer_is_done(local);
    }
}
