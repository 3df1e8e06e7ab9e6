//! Reading what is committed: nothing else exists.

use std::sync::Arc;

use bytes::Bytes;
use ozone_common::disk::DiskFile;
use ozone_proto::hdds::datanode::{ChecksumData, Result as Code};

use super::Container;
use super::loan::{LEND_FROM, Stored};
use crate::chunk::Chunk;
use crate::error::{OpError, OpResult};
use crate::rows::BlockRow;

/// Whole checksum windows of one chunk, to be read in one go.
#[derive(Debug, Clone)]
struct Run {
    chunk: Chunk,
    first: usize,
    end: usize,
}

impl Run {
    /// Its bytes in the block.
    fn range(&self) -> (u64, u64) {
        let window = u64::from(self.chunk.window);
        let at = |index: usize| self.chunk.offset + index as u64 * window;
        (at(self.first), at(self.end).min(self.chunk.end()))
    }
}

/// What must be read to answer for a range.
#[derive(Debug)]
pub struct ReadPlan {
    file: Option<Stored>,
    local: i64,
    /// Whether it is worth while to remember what was verified.
    lendable: bool,
    runs: Vec<Run>,
}

/// Bytes with the checksums of their windows.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Where `data` begins in the block.
    pub offset: u64,
    /// Whole windows.
    pub data: Bytes,
    /// Of `data`, from its first byte.
    pub checksums: ChecksumData,
}

impl Container {
    /// The row of a committed block that a client may see, when this replica is as new as the
    /// client asks (`bcsid`, 0 for any) and has the bytes.
    pub fn readable_block(&self, local: i64, bcsid: u64) -> OpResult<BlockRow> {
        self.check_readable()?;
        let newest = self.counters().bcsid;
        if bcsid > newest {
            let text = format!(
                "container {} is at commit {newest}, {bcsid} is asked for",
                self.id
            );
            return Err(OpError::new(Code::UnknownBcsid, text));
        }
        let Some(row) = self.block(local)? else {
            let text = format!("block {}/{local} does not exist", self.id);
            return Err(OpError::new(Code::NoSuchBlock, text));
        };
        if row.bcsid < bcsid {
            let text = format!(
                "block {}/{local} is at commit {}, {bcsid} is asked for",
                self.id, row.bcsid
            );
            return Err(OpError::new(Code::BcsidMismatch, text));
        }
        Ok(row)
    }

    /// All chunks of a block.
    pub fn chunks(&self, local: i64) -> OpResult<Vec<Chunk>> {
        self.db().chunks(self.id, local, 0, u64::MAX)
    }

    /// Plans the read of `len` bytes at `offset` (`None`: up to the end), in pieces of at most
    /// about `piece` bytes. A range that is not committed is refused.
    pub fn plan_read(
        &self,
        local: i64,
        row: BlockRow,
        range: (u64, Option<u64>),
        piece: u64,
    ) -> OpResult<ReadPlan> {
        let (offset, len) = range;
        let end = len.map_or(Some(row.size.max(offset)), |len| offset.checked_add(len));
        let Some(end) = end.filter(|end| *end <= row.size) else {
            let text = format!(
                "block {}/{local} has {} committed bytes, {:?} from {offset} on are asked for",
                self.id, row.size, len
            );
            return Err(OpError::new(Code::BlockNotCommitted, text));
        };
        if let Some(from) = self
            .missing
            .lock()
            .get(&local)
            .copied()
            .filter(|from| *from < end)
        {
            return Err(self.lacks(local, from));
        }
        if offset == end {
            return Ok(ReadPlan {
                file: None,
                local,
                lendable: false,
                runs: Vec::new(),
            });
        }
        let mut runs = Vec::new();
        let mut at = offset;
        for chunk in self.db().chunks(self.id, local, offset, end)? {
            if chunk.offset > at {
                break;
            }
            add_runs(&mut runs, &chunk, (at, end), piece);
            at = chunk.end();
        }
        if at < end {
            let text = format!("block {}/{local}: no chunk holds byte {at}", self.id);
            return Err(OpError::new(Code::UnableToFindChunk, text));
        }
        let file = self.open_stored(local)?;
        if file.is_none() {
            return Err(self.no_file(local, Code::UnableToFindChunk));
        }
        Ok(ReadPlan {
            file,
            local,
            lendable: row.size >= LEND_FROM,
            runs,
        })
    }
}

/// Adds the windows of `chunk` that hold any byte of `range`.
fn add_runs(runs: &mut Vec<Run>, chunk: &Chunk, range: (u64, u64), piece: u64) {
    let window = u64::from(chunk.window);
    let per_run = usize::try_from(piece / window).unwrap_or(usize::MAX).max(1);
    let index = |bytes: u64| usize::try_from(bytes / window).unwrap_or(usize::MAX);
    let mut first = index(range.0.saturating_sub(chunk.offset));
    let stop = range.1.min(chunk.end()) - chunk.offset;
    let last = index(stop.div_ceil(window) * window).min(chunk.windows());
    while first < last {
        let end = first.saturating_add(per_run).min(last);
        runs.push(Run {
            chunk: chunk.clone(),
            first,
            end,
        });
        first = end;
    }
}

impl ReadPlan {
    /// Number of pieces.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Nothing to read: the range is empty.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The chunk that a piece is of.
    pub fn chunk(&self, index: usize) -> Option<&Chunk> {
        self.runs.get(index).map(|run| &run.chunk)
    }

    /// Brings one piece into memory, for a reader that has the file. Gives its length, and all of it but its bytes.
    pub fn prepare(&self, index: usize) -> OpResult<(u64, Piece)> {
        let (run, file) = self.piece(index)?;
        let (offset, end) = run.range();
        file.bring_in(offset, end);
        let piece = Piece {
            offset,
            data: Bytes::new(),
            checksums: run.chunk.checksums(run.first, run.end),
        };
        Ok((end - offset, piece))
    }

    fn piece(&self, index: usize) -> OpResult<(&Run, &Stored)> {
        match (self.runs.get(index), &self.file) {
            (Some(run), Some(file)) => Ok((run, file)),
            _ => Err(OpError::internal(format!("read plan has no piece {index}"))),
        }
    }

    /// Reads one piece from the container that made the plan. What the disk has lost or changed is an error.
    pub fn read(&self, container: &Container, index: usize) -> OpResult<Piece> {
        let (run, file) = self.piece(index)?;
        let (offset, end) = run.range();
        let mut data = vec![0; usize::try_from(end - offset).unwrap_or(usize::MAX)];
        file.bring_in(offset, end);
        let read = file.file().read_exact_at(&mut data, offset);
        read.map_err(|error| {
            let text = format!("bytes {offset} to {end} of the block cannot be read: {error}");
            OpError::new(Code::UnableToFindChunk, text)
        })?;
        run.chunk.verify_windows(run.first, &data)?;
        if self.lendable {
            container.note_verified(self.local, offset..end);
        }
        let checksums = run.chunk.checksums(run.first, run.end);
        Ok(Piece {
            offset,
            data: data.into(),
            checksums,
        })
    }
}

impl Container {
    /// The file of a committed block, for a reader that verifies what it reads.
    pub fn lend_to_read(&self, local: i64) -> OpResult<Arc<dyn DiskFile>> {
        self.readable_block(local, 0)?;
        let opened = self.layout.open_block(local);
        let file = opened.map_err(|error| self.io_failed("open block in", &error))?;
        file.ok_or_else(|| self.no_file(local, Code::NoSuchBlock))
    }

    /// Why bytes that are committed are not served from here.
    fn lacks(&self, local: i64, from: u64) -> OpError {
        let block = format!("block {}/{local}", self.id);
        let text = match self.damage.lock().get(&local) {
            Some(why) => format!(
                "bytes of {block} from {from} on are damaged on this replica and wait to be fetched from another: {why}"
            ),
            None => format!(
                "this replica lacks bytes of {block} from {from} on, they wait to be fetched from another"
            ),
        };
        OpError::new(Code::UnableToFindChunk, text)
    }

    fn no_file(&self, local: i64, code: Code) -> OpError {
        OpError::new(code, format!("block {}/{local} has no file", self.id))
    }

    /// Bytes of a block as the file has them, committed or not, for a member that knows their
    /// checksums.
    pub fn raw_bytes(&self, local: i64, offset: u64, len: u64) -> OpResult<Vec<u8>> {
        self.volume.check_alive()?;
        let Some(stored) = self.open_stored(local)? else {
            return Err(self.no_file(local, Code::NoSuchBlock));
        };
        let mut data = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = stored.file().read_exact_at(&mut data, offset);
        read.map_err(|error| self.io_failed("read block in", &error))?;
        Ok(data)
    }
}
