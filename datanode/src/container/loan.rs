//! Lending the file of a block to a client of this machine, which reads it without asking.
//!
//! A block is lent when nobody writes to it and every byte of it was verified here since this process began, or by the
//! borrower: what is read from it is not. Before anything is written to a block that is lent, it moves to a copy of its file,
//! verified and durable. So it does for a borrower whose file changes, and who takes the old file over; that is
//! his when nobody else reads from it any more.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::coverage::Coverage;
use ozone_common::disk::{Disk, DiskFile, OpenMode};
use ozone_proto::hdds::datanode::Result as Code;
use parking_lot::{Condvar, Mutex};

use super::Container;
use super::stream::Stream;
use crate::error::{OpError, OpResult};

/// Smaller blocks are not lent.
pub(super) const LEND_FROM: u64 = 1 << 20;
/// Blocks of a container of which is remembered what was verified.
const REMEMBERED: usize = 256;
/// How long a borrower waits for those who read from a file that it takes over.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a borrower wants.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The block.
    pub local: i64,
    /// Bytes that it must have.
    pub length: u64,
    /// Commit that it must have.
    pub bcsid: u64,
    /// Whether the borrower has verified it, or it was lent to him before.
    pub verified: bool,
}

/// Why a block is not lent.
#[derive(Debug)]
pub struct NotLent {
    /// The reason.
    pub error: OpError,
    /// Whether it will be when all of it was read.
    pub once_read: bool,
}

impl From<OpError> for NotLent {
    fn from(error: OpError) -> Self {
        Self {
            error,
            once_read: false,
        }
    }
}

/// The blocks of a container that are lent.
#[derive(Debug, Default)]
pub(super) struct Loans {
    lent: Mutex<HashMap<i64, Loan>>,
    verified: Mutex<HashMap<i64, Coverage>>,
    reads: Reads,
    last_read: Mutex<Option<LastRead>>,
    /// Blocks that their writer may put bytes into by himself, until he is done with them.
    to_writers: Mutex<HashSet<i64>>,
}

/// The file of the block that was read last stays open: how far it was read is known for the next read.
#[derive(Debug)]
struct LastRead {
    local: i64,
    stream: Arc<Stream>,
    used: bool,
}

#[derive(Debug, Clone, Copy)]
struct Loan {
    to: u64,
    state: Lending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lending {
    /// The borrower has the file of the block.
    Same,
    /// The block is on its way to another file.
    Moving,
    /// The block has another file by now.
    Moved,
}

/// Those who read from files of blocks.
#[derive(Debug, Default)]
struct Reads {
    now: Mutex<Arc<Period>>,
    /// Earlier periods that may go on.
    before: Mutex<Vec<Arc<Period>>>,
}

/// Reads that began between two moves of blocks.
#[derive(Debug, Default)]
struct Period {
    running: Mutex<usize>,
    over: Condvar,
}

/// One read, until it is dropped.
#[derive(Debug)]
struct Reading(Arc<Period>);

/// A file of a block while it is read.
#[derive(Debug)]
pub(super) struct Stored {
    stream: Arc<Stream>,
    _reading: Reading,
}

impl std::ops::Deref for Stored {
    type Target = Stream;

    fn deref(&self) -> &Self::Target {
        &self.stream
    }
}

impl Reads {
    fn begin(&self) -> Reading {
        let period = self.now.lock();
        *period.running.lock() += 1;
        Reading(period.clone())
    }

    /// Waits until every read that has begun has ended. False if some goes on for too long.
    fn drain(&self) -> bool {
        let ended = std::mem::take(&mut *self.now.lock());
        self.before.lock().push(ended);
        let earlier = self.before.lock().clone();
        let all = earlier.iter().all(|period| {
            let mut running = period.running.lock();
            let waited = period
                .over
                .wait_while_for(&mut running, |running| *running > 0, PATIENCE);
            !waited.timed_out()
        });
        self.before
            .lock()
            .retain(|period| *period.running.lock() > 0);
        all
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut running = self.0.running.lock();
        *running -= 1;
        if *running == 0 {
            self.0.over.notify_all();
        }
    }
}

impl Loans {
    /// Whether a borrower has the file of the block, which is not to be written to.
    pub(super) fn has_file(&self, local: i64) -> bool {
        let lent = self.lent.lock();
        lent.get(&local)
            .is_some_and(|loan| loan.state != Lending::Moved)
    }

    /// The writer of the block has its file.
    pub(super) fn lent_to_writer(&self, local: i64) {
        self.to_writers.lock().insert(local);
    }

    /// The writer of the block is done with its file.
    pub(super) fn writer_is_done(&self, local: i64) {
        self.to_writers.lock().remove(&local);
    }

    fn is_lent_to(&self, local: i64, to: u64) -> bool {
        self.lent
            .lock()
            .get(&local)
            .is_some_and(|loan| loan.to == to)
    }

    /// False if somebody else moves the block.
    fn begin_move(&self, local: i64) -> bool {
        let mut lent = self.lent.lock();
        match lent.get_mut(&local) {
            Some(loan) if loan.state == Lending::Same => {
                loan.state = Lending::Moving;
                true
            }
            _ => false,
        }
    }

    fn set(&self, local: i64, state: Lending) {
        if let Some(loan) = self.lent.lock().get_mut(&local) {
            loan.state = state;
        }
    }

    /// Closes the file that was read last, if it is that block's.
    pub(super) fn close_file(&self, local: i64) {
        self.last_read.lock().take_if(|last| last.local == local);
    }

    /// Closes the file that was read last, unless it was since the last call.
    pub(super) fn close_idle_file(&self) {
        let mut last = self.last_read.lock();
        last.take_if(|last| !std::mem::take(&mut last.used));
    }

    /// What was verified of a block says nothing any more.
    pub(super) fn doubt(&self, local: i64) {
        self.verified.lock().remove(&local);
    }
}

impl Container {
    /// Opens the file of a block to read from it; none if it has none.
    pub(super) fn open_stored(&self, local: i64) -> OpResult<Option<Stored>> {
        // Before it is opened: what is opened later is not the file of an earlier loan.
        let reading = self.loans.reads.begin();
        let mut last = self.loans.last_read.lock();
        if last.as_ref().is_none_or(|last| last.local != local) {
            let file = self.layout.open_block(local);
            let file = file.map_err(|error| self.io_failed("open block in", &error))?;
            *last = file.map(|file| LastRead {
                local,
                stream: Arc::new(Stream::new(file)),
                used: true,
            });
        }
        Ok(last.as_mut().map(|last| {
            last.used = true;
            Stored {
                stream: last.stream.clone(),
                _reading: reading,
            }
        }))
    }

    /// These bytes of a block were read and are what was written.
    pub(super) fn note_verified(&self, local: i64, range: Range<u64>) {
        let mut verified = self.loans.verified.lock();
        if verified.len() >= REMEMBERED && !verified.contains_key(&local) {
            verified.clear();
        }
        verified.entry(local).or_default().add(range);
    }

    /// Lends the file of a block to the borrower `to`, until it gives it back.
    pub fn lend(&self, wanted: &Wanted, to: u64) -> Result<Arc<dyn DiskFile>, NotLent> {
        let local = wanted.local;
        let row = self.readable_block(local, wanted.bcsid)?;
        if row.size != wanted.length || row.size < LEND_FROM {
            return Err(self
                .not_lent(local, &format!("it has {} bytes", row.size))
                .into());
        }
        if self.missing.lock().contains_key(&local) {
            return Err(self.not_lent(local, "bytes of it are being fetched").into());
        }
        let verified = self.loans.verified.lock();
        if !wanted.verified && !verified.get(&local).is_some_and(|v| v.covers(row.size)) {
            return Err(NotLent {
                error: self.not_lent(local, "it was not read and verified as a whole yet"),
                once_read: true,
            });
        }
        drop(verified);
        let open = self.open.lock();
        if open.contains_key(&local) || self.loans.to_writers.lock().contains(&local) {
            return Err(self.not_lent(local, "it is being written").into());
        }
        let mut lent = self.loans.lent.lock();
        // Not to the same borrower either: it may be another file of his that has the same content.
        if lent.contains_key(&local) {
            return Err(self.not_lent(local, "it is lent already").into());
        }
        let opened = self.layout.open_block(local).and_then(|file| match file {
            Some(file) if file.len()? == row.size => Ok(Some(file)),
            _ => Ok(None),
        });
        let file = opened.map_err(|error| self.io_failed("open block in", &error))?;
        let file = file.ok_or_else(|| self.not_lent(local, "its file has another length"))?;
        let state = Lending::Same;
        lent.insert(local, Loan { to, state });
        Ok(file)
    }

    /// The borrower does not need the block any more.
    pub fn give_back(&self, local: i64, from: u64) {
        let mut lent = self.loans.lent.lock();
        if lent.get(&local).is_some_and(|loan| loan.to == from) {
            lent.remove(&local);
        }
    }

    /// Leaves the file that was lent to its borrower; the block has another one. After an error the loan goes on as
    /// before.
    pub fn detach(&self, local: i64, from: u64) -> OpResult<()> {
        if !self.loans.is_lent_to(local, from) {
            return Err(self.not_lent(local, "it is not lent to this borrower"));
        }
        self.move_away(local)?;
        if !self.loans.reads.drain() {
            return Err(self.not_lent(local, "somebody goes on reading it"));
        }
        self.give_back(local, from);
        Ok(())
    }

    /// Moves a block that is lent to a copy of its file, unless that was done.
    pub(super) fn move_away(&self, local: i64) -> OpResult<()> {
        let open = self.open.lock();
        if !self.loans.has_file(local) {
            return Ok(());
        }
        if open.contains_key(&local) || !self.loans.begin_move(local) {
            return Err(self.not_lent(local, "it is on its way to another file"));
        }
        drop(open);
        let moved = self.move_to_copy(local);
        self.loans.set(
            local,
            match &moved {
                Ok(()) => Lending::Moved,
                Err(_) => Lending::Same,
            },
        );
        moved
    }

    fn move_to_copy(&self, local: i64) -> OpResult<()> {
        let Some(row) = self.block(local)? else {
            // It is deleted, and its file with it.
            return Ok(());
        };
        self.volume.check_room(row.size)?;
        let copy = self.volume.layout().moving(self.id, local);
        let moved = self
            .make_copy(local, &copy)
            .and_then(|()| self.adopt(local, &copy));
        if moved.is_err()
            && let Err(error) = self.volume.disk().remove_file(&copy)
        {
            tracing::debug!(%error, "what was copied of a block goes at the next start");
        }
        moved
    }

    /// A copy that holds what was written, durably.
    fn make_copy(&self, local: i64, to: &Path) -> OpResult<()> {
        let disk: &dyn Disk = &**self.volume.disk();
        let failed = |error| self.io_failed("copy block in", &error);
        let parent = to.parent().map_or(Ok(()), |dir| disk.create_dir_all(dir));
        parent.map_err(failed)?;
        self.layout.copy_block(local, to).map_err(failed)?;
        let copy = disk.open(to, OpenMode::Write).map_err(failed)?;
        let lacking = self.missing.lock().get(&local).copied();
        for chunk in self.chunks(local)? {
            if lacking.is_some_and(|from| chunk.end() > from) {
                break;
            }
            if let Err(why) = self.verify_stored(&*copy, &chunk)? {
                return Err(OpError::new(Code::ChecksumMismatch, why));
            }
        }
        copy.sync_data().map_err(|error| self.sync_failed(&error))
    }

    /// Puts a copy in the place of the file, if the block was not deleted meanwhile.
    fn adopt(&self, local: i64, copy: &Path) -> OpResult<()> {
        let _counters = self.counters.lock();
        self.check_here()?;
        if self.block(local)?.is_none() {
            let removed = self.volume.disk().remove_file(copy);
            return removed.map_err(|error| self.io_failed("remove a copy in", &error));
        }
        let adopted = self.layout.replace_block(local, copy);
        self.loans.close_file(local);
        adopted.map_err(|error| self.io_failed("replace block in", &error))?;
        self.loans.doubt(local);
        self.layout
            .sync_names()
            .map_err(|error| self.sync_failed(&error))
    }

    pub(super) fn not_lent(&self, local: i64, why: &str) -> OpError {
        let text = format!("block {}/{local} cannot be lent: {why}", self.id);
        OpError::new(Code::UnsupportedRequest, text)
    }
}
