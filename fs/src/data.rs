//! The content of one file as this mount has it: what was written and is not committed, and the
//! reader and writer of what is.
//!
//! Bytes go from `dirty` to `in_flight` when they are handed to the writer, and leave `in_flight`
//! when they are committed and the reader knows the new map. So at every moment a byte that a
//! program wrote is in one of the three, and a reader who looks at the two maps first and at the
//! committed data second never misses one.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ozone_client::{FileReader, FileWriter};
use parking_lot::Mutex;

use crate::attr::WrittenAt;
use crate::inode::Version;
use crate::vfs::dirty::{DirtyMap, LONG_PIECE, Piece};

/// Contiguous bytes that are worth sending before a flush asks for it.
const RUN: usize = 1 << 20;
/// From here on in a file, where programs write long streams, a run is a long piece: fewer tasks are woken.
const LONG_FROM: u64 = 32 << 20;
/// What goes to blocks without an end to the write in sight is cut at such bytes: what follows is put behind it in
/// whole pages.
const PAGE: usize = 4096;

/// See the module.
#[derive(Default)]
pub(crate) struct FileData {
    /// What is not committed.
    pub(crate) pending: Mutex<Pending>,
    /// Writes to datanodes, one at a time. Held through a whole flush, so that flushes are ordered.
    pub(crate) writer: tokio::sync::Mutex<Option<FileWriter>>,
    /// Held while the kernel is given pages of the file.
    pub(crate) keeping: tokio::sync::Mutex<()>,
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
    /// Whether the kernel was given pages since the file was opened.
    kept: bool,
    /// When the oldest byte came, or what was older was committed, in monotonic time.
    since: Option<Duration>,
    /// Whether a task hands long runs to the writer.
    pumping: bool,
    /// Whether the writer failed and everything in flight has to be sent again.
    broken: bool,
    /// Whether somebody has begun to use the writer, and not ended.
    using: bool,
}

/// What of a file is to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// All of it.
    All,
    /// All, but for the part of a page with which a stream ends that may go on.
    Pages,
    /// The same, and that part when there is nothing else: it has waited.
    Aged,
    /// What the writer has.
    Sent,
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

    /// Whether the kernel was given pages of the file, by a close after which somebody may still write.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Nobody has the file open any more.
    pub(crate) fn closed(&mut self) {
        self.kept = false;
    }

    /// The whole content, of `size` bytes, to be given to the kernel, if nothing of it is committed or on its way,
    /// and it was not given before.
    pub(crate) fn keep(&mut self, size: u64) -> Option<Bytes> {
        let length = usize::try_from(size).ok()?;
        let whole = self.dirty.bytes() == length && self.dirty.run_at(0, length) == length;
        if length == 0 || !whole || !self.in_flight.is_empty() || self.kept {
            return None;
        }
        self.kept = true;
        let pieces = self.dirty.slices(0, size);
        match pieces.as_slice() {
            [(_, content)] => Some(content.clone()),
            pieces => {
                let mut content = BytesMut::with_capacity(length);
                pieces
                    .iter()
                    .for_each(|(_, piece)| content.extend_from_slice(piece));
                Some(content.freeze())
            }
        }
    }

    /// Since when something waits to be committed.
    pub(crate) fn since(&self) -> Option<Duration> {
        self.since
    }

    /// Takes a copy of a write, at wall time `wall_ns` and monotonic time `now`.
    pub(crate) fn write(&mut self, write: (u64, &[u8]), wall_ns: u64, now: Duration) -> Written {
        let first = self.is_clean();
        let (offset, data) = write;
        let replaced = self.dirty.copy_in(offset, data);
        (self.mtime_ns, self.written_ns) = (wall_ns, wall_ns);
        self.since.get_or_insert(now);
        let run = run_from(offset);
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
    /// that asks has to end. Their first byte will be at `placed` of a block. Returns also how many bytes in flight they
    /// replace.
    pub(crate) fn take_runs(&mut self, placed: u64) -> (Vec<Piece>, usize) {
        let pieces = self.dirty.take(placed, |run| match run_from(run.start) {
            worth if run.length < worth => 0,
            _ if run.length >= LONG_PIECE => run.whole(LONG_PIECE),
            worth => run.whole(worth),
        });
        self.pumping = !pieces.is_empty();
        let replaced = self.fly(&pieces);
        (pieces, replaced)
    }

    /// Marks as in flight what is to be committed and returns what the writer must get: the new pieces, or all
    /// when the writer failed before, the first byte for `placed` of a block. Returns also how many bytes in flight they
    /// replace.
    pub(crate) fn take(&mut self, what: Commit, placed: u64) -> (Vec<Piece>, usize) {
        let what = match what {
            // What a close has left is nothing that goes on.
            Commit::Pages | Commit::Aged if self.left => Commit::All,
            what => what,
        };
        let pieces = match what {
            Commit::All => self.dirty.take_all(),
            Commit::Pages => self.take_pages(placed),
            Commit::Aged => match self.take_pages(placed) {
                pages if pages.is_empty() && self.in_flight.is_empty() => self.dirty.take_all(),
                pages => pages,
            },
            Commit::Sent => Vec::new(),
        };
        let replaced = self.fly(&pieces);
        if self.broken {
            return (self.in_flight.all(), replaced);
        }
        (pieces, replaced)
    }

    fn take_pages(&mut self, placed: u64) -> Vec<Piece> {
        self.dirty
            .take(placed, |run| match run.goes_on || run.length >= RUN {
                true => run.whole(PAGE),
                false => run.length,
            })
    }

    fn fly(&mut self, pieces: &[Piece]) -> usize {
        pieces
            .iter()
            .map(|(offset, data)| self.in_flight.share(*offset, data.clone()))
            .sum()
    }

    /// The writer failed: what is in flight has to be sent again.
    pub(crate) fn lost_writer(&mut self) {
        self.broken = true;
    }

    /// The writer is about to be used. Whether the last use was given up in the middle: nobody knows then what the writer
    /// has, and it is lost.
    pub(crate) fn begin_use(&mut self) -> bool {
        let given_up = std::mem::replace(&mut self.using, true);
        self.broken |= given_up;
        given_up
    }

    /// That use has ended, however it went.
    pub(crate) fn end_use(&mut self) {
        self.using = false;
    }

    /// Everything in flight is committed, or lost, of what was taken as `what`, at monotonic time `now`. Returns the
    /// bytes that are no longer held.
    pub(crate) fn landed(&mut self, what: Commit, now: Duration) -> usize {
        self.broken = false;
        let freed = self.in_flight.bytes();
        self.in_flight = DirtyMap::default();
        // A close may have left what was not taken.
        let not_taken = freed == 0 || what == Commit::Sent;
        self.left &= not_taken && !self.dirty.is_empty();
        // What the writer had may be younger than what it had not.
        let younger = freed > 0 && what != Commit::Sent;
        self.since = match self.dirty.is_empty() {
            true => None,
            false if younger => Some(now),
            false => self.since,
        };
        freed
    }

    /// Nobody can see the file any more: nothing of it is to be committed. Returns the bytes that are no
    /// longer held.
    pub(crate) fn abandon(&mut self) -> usize {
        let dirty: usize = self.take(Commit::All, 0).1;
        dirty + self.landed(Commit::All, Duration::ZERO)
    }
}

/// Bytes of a run that is worth sending from there on.
fn run_from(offset: u64) -> usize {
    match offset < LONG_FROM {
        true => RUN,
        false => LONG_PIECE,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn write(pending: &mut Pending, offset: u64, text: &'static str) -> Written {
        pending.write((offset, text.as_bytes()), 7, Duration::from_secs(1))
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
        let (pieces, _) = pending.take(Commit::All, 0);
        assert_eq!(pieces.len(), 1);
        assert!(!write(&mut pending, 2, "bbbb").first);
        assert_eq!(seen(&pending, 8), "aabbbb..");
        assert_eq!((pending.end(), pending.bytes()), (6, 8));
        assert_eq!(pending.landed(Commit::All, Duration::ZERO), 4);
        assert_eq!(seen(&pending, 8), "..bbbb..");
        assert!(!pending.is_clean());
    }

    #[test]
    fn a_failed_writer_gets_everything_in_flight_again() {
        let mut pending = Pending::default();
        write(&mut pending, 0, "aaaa");
        pending.take(Commit::All, 0);
        pending.lost_writer();
        write(&mut pending, 2, "bb");
        let (pieces, replaced) = pending.take(Commit::All, 0);
        assert_eq!(replaced, 2);
        let bytes: Vec<u8> = pieces.iter().flat_map(|(_, data)| data.to_vec()).collect();
        assert_eq!(bytes, b"aabb");
        assert_eq!(pending.landed(Commit::All, Duration::ZERO), 4);
        write(&mut pending, 0, "c");
        assert_eq!(pending.take(Commit::All, 0).0.len(), 1);
    }

    #[test]
    fn what_a_use_of_the_writer_that_was_given_up_had_taken_is_sent_again() {
        let mut pending = Pending::default();
        write(&mut pending, 0, "aaaa");
        assert!(!pending.begin_use());
        pending.take(Commit::All, 0);
        pending.end_use();
        assert!(!pending.begin_use());
        assert!(pending.take(Commit::All, 0).0.is_empty());
        // Without an end.
        assert!(pending.begin_use());
        assert_eq!(pending.take(Commit::All, 0).0.len(), 1);
    }

    #[test]
    fn a_long_run_starts_one_task_until_nothing_long_is_left() {
        let mut pending = Pending::default();
        let mut next = 0;
        let mut write = |pending: &mut Pending| {
            let data = [1; RUN / 2];
            let pump = pending.write((next, &data), 7, Duration::ZERO).pump;
            next += data.len() as u64;
            pump
        };
        assert!(!write(&mut pending));
        assert!(write(&mut pending));
        assert!(!write(&mut pending));
        let taken = |pending: &mut Pending| -> usize {
            let (pieces, _) = pending.take_runs(0);
            pieces.iter().map(|(_, data)| data.len()).sum()
        };
        assert_eq!(taken(&mut pending), RUN);
        assert!(!write(&mut pending));
        assert_eq!(taken(&mut pending), RUN);
        assert_eq!(taken(&mut pending), 0);
        assert!(!write(&mut pending));
        assert!(write(&mut pending));
    }

    #[test]
    fn a_stream_that_may_go_on_is_cut_at_pages() {
        let mut pending = Pending::default();
        let data = vec![1; RUN + 100];
        pending.write((7, &data), 7, Duration::ZERO);
        let (pieces, _) = pending.take(Commit::Pages, 0);
        assert_eq!(
            pieces.iter().map(|(_, data)| data.len()).sum::<usize>(),
            RUN
        );
        assert_eq!(pending.landed(Commit::All, Duration::from_secs(3)), RUN);
        assert_eq!(pending.since(), Some(Duration::from_secs(3)));
        // However little there is more of it.
        pending.write((RUN as u64 + 107, &data[..PAGE]), 7, Duration::ZERO);
        pending.take(Commit::Pages, 0);
        assert_eq!(pending.landed(Commit::All, Duration::ZERO), PAGE);
        assert_eq!(pending.take(Commit::Pages, 0).0.len(), 0);
        assert_eq!(pending.landed(Commit::All, Duration::from_secs(5)), 0);
        assert_eq!(pending.since(), Some(Duration::ZERO), "it waits on");
        pending.take(Commit::Aged, 0);
        assert_eq!(pending.landed(Commit::All, Duration::ZERO), 100);
        assert!(pending.is_clean());
    }

    #[test]
    fn what_a_close_has_left_is_committed_as_a_whole() {
        for what in [Commit::Pages, Commit::Aged] {
            let mut pending = Pending::default();
            pending.write((0, &[1; 5000]), 7, Duration::ZERO);
            pending.take(Commit::All, 0);
            pending.landed(Commit::All, Duration::ZERO);
            pending.write((5000, &[1; 5000]), 7, Duration::ZERO);
            assert!(pending.leave(1 << 14));
            pending.take(what, 0);
            pending.landed(what, Duration::ZERO);
            assert!(pending.is_clean() && !pending.is_left(), "{what:?}");
        }
    }

    #[test]
    fn what_a_close_leaves_while_nothing_is_committed_stays_left() {
        let mut pending = Pending::default();
        pending.write((0, &[1; 5000]), 7, Duration::ZERO);
        pending.take(Commit::All, 0);
        pending.landed(Commit::All, Duration::ZERO);
        pending.write((5000, &[1; 10]), 7, Duration::ZERO);
        assert!(pending.take(Commit::Pages, 5000).0.is_empty());
        assert!(pending.leave(1 << 14));
        pending.landed(Commit::Pages, Duration::ZERO);
        assert!(pending.is_left());
    }

    #[test]
    fn what_a_close_has_left_beside_a_stream_stays_left() {
        let mut pending = Pending::default();
        write(&mut pending, 1 << 30, "left");
        assert!(pending.leave(1 << 14));
        pending.write((0, &vec![1; RUN]), 7, Duration::ZERO);
        pending.take_runs(0);
        pending.take(Commit::Sent, 0);
        assert_eq!(pending.landed(Commit::Sent, Duration::ZERO), RUN);
        assert!(pending.is_left());
        pending.take(Commit::Aged, 0);
        pending.landed(Commit::Aged, Duration::ZERO);
        assert!(!pending.is_left());
    }

    #[test]
    fn what_lies_beside_a_stream_grows_old() {
        let mut pending = Pending::default();
        write(&mut pending, 1 << 30, "beside");
        let data = vec![1; RUN];
        pending.write((0, &data), 7, Duration::from_secs(2));
        pending.take_runs(0);
        // However few bytes lack to a whole piece of the block.
        assert!(pending.take_runs(LONG_PIECE as u64 - 3).0.is_empty());
        pending.take(Commit::Sent, 0);
        assert_eq!(pending.landed(Commit::Sent, Duration::from_secs(3)), RUN);
        assert_eq!(pending.since(), Some(Duration::from_secs(1)));
        pending.take(Commit::Aged, 0);
        pending.landed(Commit::Aged, Duration::from_secs(4));
        assert!(pending.is_clean());
    }

    #[test]
    fn content_is_kept_as_a_whole_and_once() {
        let mut pending = Pending::default();
        write(&mut pending, 0, "aaaa");
        write(&mut pending, 6, "cc");
        assert_eq!(pending.keep(8), None, "there is a hole");
        write(&mut pending, 4, "bb");
        assert_eq!(pending.keep(9), None, "the end of it is committed");
        assert_eq!(pending.keep(8), Some(Bytes::from_static(b"aaaabbcc")));
        assert_eq!(pending.keep(8), None, "it was kept");
        pending.closed();
        pending.take(Commit::All, 0);
        assert_eq!(pending.keep(8), None, "it is on its way");
        pending.landed(Commit::All, Duration::ZERO);
        assert_eq!(pending.keep(0), None, "there is nothing");
    }

    #[test]
    fn the_oldest_byte_tells_the_age() {
        let mut pending = Pending::default();
        assert_eq!(pending.since(), None);
        write(&mut pending, 0, "a");
        assert_eq!(pending.since(), Some(Duration::from_secs(1)));
        assert_eq!(pending.times().map(|t| t.mtime_ns), Some(7));
        pending.take(Commit::All, 0);
        assert_eq!(
            pending.since(),
            Some(Duration::from_secs(1)),
            "it is not committed"
        );
        pending.landed(Commit::All, Duration::ZERO);
        assert_eq!((pending.since(), pending.times()), (None, None));
    }
}
