//! The content of one file as this mount has it: what was written and is not committed, and the
//! reader and writer of what is.
//!
//! Bytes go from `dirty` to `in_flight` when they are handed to the writer, and leave `in_flight`
//! when they are committed and the reader knows the new map. So at every moment a byte that a
//! program wrote is in one of the three, and a reader who looks at the two maps first and at the
//! committed data second never misses one.

use std::sync::Arc;
use std::time::Duration;

use ozone_client::{FileReader, FileWriter};
use parking_lot::Mutex;

use crate::attr::WrittenAt;
use crate::inode::Version;
use crate::vfs::dirty::{DirtyMap, Piece};

/// Contiguous bytes that are worth sending before a flush asks for it.
const RUN: usize = 1 << 20;
/// The same so far behind the beginning of a file, where programs write long streams: fewer tasks are woken.
const LONG_RUN: usize = 4 << 20;
const LONG_FROM: u64 = 32 << 20;

/// See the module.
#[derive(Default)]
pub(crate) struct FileData {
    /// What is not committed.
    pub(crate) pending: Mutex<Pending>,
    /// Writes to datanodes, one at a time. Held through a whole flush, so that flushes are ordered.
    pub(crate) writer: tokio::sync::Mutex<Option<FileWriter>>,
    /// Reads what is committed; made at the first read.
    pub(crate) reader: Mutex<Option<Reader>>,
}

/// A reader and the state of the file that it was told of.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) reader: Arc<FileReader>,
    pub(crate) version: Version,
}

/// What is not committed of a file.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Not handed to the writer yet.
    dirty: DirtyMap,
    /// Handed to the writer, not committed.
    in_flight: DirtyMap,
    /// Time of the last write, and what a program has set for it since.
    written_ns: u64,
    mtime_ns: u64,
    /// Whether a close left it to the background to commit.
    left: bool,
    /// When the oldest dirty byte was written, in monotonic time.
    since: Option<Duration>,
    /// Whether a task hands long runs to the writer.
    pumping: bool,
    /// Whether the writer failed and everything in flight has to be sent again.
    broken: bool,
}

/// What a write did to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Uncommitted bytes that were replaced.
    pub(crate) replaced: usize,
    /// Nothing was pending before.
    pub(crate) first: bool,
    /// A task has to be started that hands long runs to the writer.
    pub(crate) pump: bool,
}

impl Pending {
    /// Whether everything is committed.
    pub(crate) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.in_flight.is_empty()
    }

    /// Bytes held in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.dirty.bytes() + self.in_flight.bytes()
    }

    /// Bytes that the writer has.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight.bytes()
    }

    /// The file is at least this long.
    pub(crate) fn end(&self) -> u64 {
        self.dirty.end().max(self.in_flight.end())
    }

    /// Times of what is not committed.
    pub(crate) fn times(&self) -> Option<WrittenAt> {
        (!self.is_clean()).then_some(WrittenAt {
            mtime_ns: self.mtime_ns,
            ctime_ns: self.written_ns,
        })
    }

    /// What was written before shows this time when it is committed.
    pub(crate) fn set_mtime(&mut self, mtime_ns: u64) {
        self.mtime_ns = mtime_ns;
    }

    /// Leaves up to `most` bytes, none of which are on their way, to the background to commit. False
    /// when there is more.
    pub(crate) fn leave(&mut self, most: usize) -> bool {
        let small = self.in_flight.is_empty() && self.dirty.bytes() <= most;
        self.left = small && !self.is_clean();
        small
    }

    /// Whether a close left it to the background to commit.
    pub(crate) fn is_left(&self) -> bool {
        self.left
    }

    /// When the oldest byte was written that nobody has handed on.
    pub(crate) fn since(&self) -> Option<Duration> {
        self.since
    }

    /// Takes a write, at wall time `wall_ns` and monotonic time `now`.
    pub(crate) fn write(&mut self, piece: Piece, wall_ns: u64, now: Duration) -> Written {
        let first = self.is_clean();
        let (offset, data) = piece;
        let replaced = self.dirty.insert(offset, data);
        (self.mtime_ns, self.written_ns) = (wall_ns, wall_ns);
        self.since.get_or_insert(now);
        let run = if offset < LONG_FROM { RUN } else { LONG_RUN };
        let pump = !self.pumping && self.dirty.run_at(offset, run) >= run;
        self.pumping |= pump;
        Written {
            replaced,
            first,
            pump,
        }
    }

    /// What reads of `[from, to)` must see, later pieces over earlier ones.
    pub(crate) fn overlay(&self, from: u64, to: u64) -> Vec<Piece> {
        let mut pieces = self.in_flight.slices(from, to);
        pieces.extend(self.dirty.slices(from, to));
        pieces
    }

    /// Marks long runs as in flight; the writer gets them, in this order. With none left the task
    /// that asks has to end. Returns also how many bytes in flight they replace.
    pub(crate) fn take_runs(&mut self) -> (Vec<Piece>, usize) {
        let pieces = self.dirty.take_runs(RUN);
        self.pumping = !pieces.is_empty();
        if self.dirty.is_empty() {
            self.since = None;
        }
        let replaced = self.fly(&pieces);
        (pieces, replaced)
    }

    /// Marks everything as in flight and returns what the writer must get: the new pieces, or all
    /// when the writer failed before. Returns also how many bytes in flight they replace.
    pub(crate) fn take_all(&mut self) -> (Vec<Piece>, usize) {
        let pieces = self.dirty.take_all();
        self.since = None;
        let replaced = self.fly(&pieces);
        if self.broken {
            return (self.in_flight.all(), replaced);
        }
        (pieces, replaced)
    }

    fn fly(&mut self, pieces: &[Piece]) -> usize {
        pieces
            .iter()
            .map(|(offset, data)| self.in_flight.insert(*offset, data.clone()))
            .sum()
    }

    /// The writer failed: what is in flight has to be sent again.
    pub(crate) fn lost_writer(&mut self) {
        self.broken = true;
    }

    /// Everything in flight is committed, or lost. Returns the bytes that are no longer held.
    pub(crate) fn landed(&mut self) -> usize {
        self.broken = false;
        self.left = false;
        let freed = self.in_flight.bytes();
        self.in_flight = DirtyMap::default();
        freed
    }

    /// Nobody can see the file any more: nothing of it is to be committed. Returns the bytes that are no
    /// longer held.
    pub(crate) fn abandon(&mut self) -> usize {
        let dirty: usize = self.take_all().1;
        dirty + self.landed()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn write(pending: &mut Pending, offset: u64, text: &'static str) -> Written {
        let piece = (offset, Bytes::from_static(text.as_bytes()));
        pending.write(piece, 7, Duration::from_secs(1))
    }

    fn seen(pending: &Pending, size: u64) -> String {
        let mut text = vec![b'.'; usize::try_from(size).unwrap()];
        for (offset, data) in pending.overlay(0, size) {
            let start = usize::try_from(offset).unwrap();
            text[start..start + data.len()].copy_from_slice(&data);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn reads_see_bytes_in_flight_under_later_writes() {
        let mut pending = Pending::default();
        assert!(write(&mut pending, 0, "aaaa").first);
        let (pieces, _) = pending.take_all();
        assert_eq!(pieces.len(), 1);
        assert!(!write(&mut pending, 2, "bbbb").first);
        assert_eq!(seen(&pending, 8), "aabbbb..");
        assert_eq!((pending.end(), pending.bytes()), (6, 8));
        assert_eq!(pending.landed(), 4);
        assert_eq!(seen(&pending, 8), "..bbbb..");
        assert!(!pending.is_clean());
    }

    #[test]
    fn a_failed_writer_gets_everything_in_flight_again() {
        let mut pending = Pending::default();
        write(&mut pending, 0, "aaaa");
        pending.take_all();
        pending.lost_writer();
        write(&mut pending, 2, "bb");
        let (pieces, replaced) = pending.take_all();
        assert_eq!(replaced, 2);
        let bytes: Vec<u8> = pieces.iter().flat_map(|(_, data)| data.to_vec()).collect();
        assert_eq!(bytes, b"aabb");
        assert_eq!(pending.landed(), 4);
        write(&mut pending, 0, "c");
        assert_eq!(pending.take_all().0.len(), 1);
    }

    #[test]
    fn a_long_run_starts_one_task_until_nothing_long_is_left() {
        let mut pending = Pending::default();
        let mut next = 0;
        let mut write = |pending: &mut Pending| {
            let data = Bytes::from(vec![1; RUN / 2]);
            next += data.len() as u64;
            pending.write((next, data), 7, Duration::ZERO).pump
        };
        assert!(!write(&mut pending));
        assert!(write(&mut pending));
        assert!(!write(&mut pending));
        assert_eq!(pending.take_runs().0.len(), 3);
        assert!(!write(&mut pending));
        assert_eq!(pending.take_runs().0.len(), 0);
        assert!(write(&mut pending));
    }

    #[test]
    fn the_oldest_byte_tells_the_age() {
        let mut pending = Pending::default();
        assert_eq!(pending.since(), None);
        write(&mut pending, 0, "a");
        assert_eq!(pending.since(), Some(Duration::from_secs(1)));
        assert_eq!(pending.times().map(|t| t.mtime_ns), Some(7));
        pending.take_all();
        assert_eq!(pending.since(), None);
        pending.landed();
        assert_eq!(pending.times(), None);
    }
}
