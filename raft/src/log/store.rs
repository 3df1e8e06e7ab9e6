//! The log as openraft sees it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use futures::{Stream, stream};
use openraft::entry::RaftPayload;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use ozone_common::disk::Disk;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::conf;
use super::flusher::{Flusher, Flushers, Op, Pending};
use super::recovery::{Recovered, recover};
use super::segment::Segment;
use super::state::State;
use super::writer::{Place, Segments, Writer};
use crate::RaftError;
use crate::error::io_error;
use crate::types::{Entry, LogId, Types, Vote};

/// Bytes read at once for a follower or for apply.
const READ_BYTES: usize = 1 << 20;

/// How a log is kept.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) segment_bytes: u64,
    pub(crate) cache_bytes: usize,
}

/// One log; shared between openraft's tasks and the fsync threads.
pub(super) struct Log {
    place: Place,
    cache_bytes: usize,
    /// Whether this log was there when it was opened.
    begun: bool,
    state: Mutex<State>,
    segments: Segments,
    writer: Mutex<Writer>,
    pub(super) pending: Mutex<Pending>,
    flusher: Arc<Flusher>,
}

impl Log {
    /// Runs a change of the files. The first that fails is the last: what an fsync may have lost
    /// cannot be told, so nothing after it may be acknowledged.
    pub(super) fn with_writer<T>(
        &self,
        change: impl FnOnce(&mut Writer) -> io::Result<T>,
    ) -> io::Result<T> {
        self.check()?;
        let result = change(&mut self.writer.lock());
        if let Err(cause) = &result {
            tracing::error!(dir = %self.place.dir.display(), %cause, "the log failed for good");
            self.state.lock().failed = Some(cause.to_string());
        }
        result
    }

    fn check(&self) -> io::Result<()> {
        match &self.state.lock().failed {
            None => Ok(()),
            Some(why) => Err(io::Error::other(format!("the log failed before: {why}"))),
        }
    }

    pub(super) fn evict(&self, written: u64) {
        self.state.lock().evict(written, self.cache_bytes);
    }

    fn segment_of(&self, index: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let after = segments.partition_point(|segment| segment.first <= index);
        let segment = segments.get(after.checked_sub(1)?)?;
        (index < segment.next()).then(|| segment.clone())
    }
}

/// Handle of a log.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Log>);

/// Where a stretch of entries is to be had.
enum Found {
    Entries(Vec<Entry>),
    InFile(Arc<Segment>, u64),
}

impl LogStore {
    /// Opens the log in `dir`, creating it when there is none. Blocks.
    pub(crate) fn open(
        dir: &Path,
        options: LogOptions,
        flushers: &Flushers,
    ) -> Result<Self, RaftError> {
        let LogOptions {
            disk,
            segment_bytes,
            cache_bytes,
        } = options;
        let place = Place {
            disk,
            dir: dir.to_path_buf(),
            segment_bytes,
        };
        let Recovered {
            meta,
            begun,
            segments,
            last,
        } = recover(&place)?;
        let info = place.disk.metadata(dir).map_err(io_error("look at", dir))?;
        let flusher = flushers
            .of_device(info.device)
            .map_err(io_error("start threads for", dir))?;
        let state = State::recovered(meta.vote, meta.purged, last);
        let segments = Segments::new(segments.into());
        let writer = Writer::new(
            place.clone(),
            segments.clone(),
            meta,
            flusher.housekeeper.clone(),
        );
        Ok(Self(Arc::new(Log {
            place,
            cache_bytes,
            begun,
            state: Mutex::new(state),
            segments,
            writer: Mutex::new(writer),
            pending: Mutex::default(),
            flusher,
        })))
    }

    /// The vote found when the log was opened, or saved since.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.0.state.lock().vote
    }

    /// Whether the log was there before it was opened, if only empty.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.begun
    }

    /// From now on the log is there, durably, if only empty.
    pub(crate) async fn begin(&self) -> io::Result<()> {
        let log = self.0.clone();
        let begin = move || log.with_writer(|writer| writer.save_meta());
        tokio::task::spawn_blocking(begin)
            .await
            .map_err(io::Error::other)?
    }

    /// How far the log was purged.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.0.state.lock().purged
    }

    /// The last entry, or how far the log was purged.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.0.state.lock().last
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_pristine(&self) -> bool {
        let state = self.0.state.lock();
        state.vote.is_none() && state.last.is_none()
    }

    /// Returns when everything submitted before is done, and nothing works on the files any more.
    pub(crate) async fn drain(&self) -> io::Result<()> {
        let written = self.submit(|done| Op::Barrier { done }).await;
        let (done, waiting) = oneshot::channel();
        self.0.flusher.housekeeper.run(move || {
            let _ = done.send(());
        });
        waiting.await.map_err(io::Error::other)?;
        written
    }

    async fn submit(&self, op: impl FnOnce(super::flusher::Done) -> Op) -> io::Result<()> {
        let (done, waiting) = oneshot::channel();
        self.0.flusher.submit(self.0.clone(), op(done));
        waiting
            .await
            .map_err(|_| io::Error::other("the fsync threads are gone"))?
    }

    /// Looks for entries from `from` on, before `to`.
    fn find(&self, from: u64, to: u64, limit: usize) -> io::Result<Found> {
        let state = self.0.state.lock();
        let from = from.max(state.first());
        let to = to.min(state.next());
        if from >= to {
            return Ok(Found::Entries(Vec::new()));
        }
        let cached_from = state.cached_from();
        if from >= cached_from {
            return Ok(Found::Entries(state.cached(from..to, limit)));
        }
        drop(state);
        let Some(segment) = self.0.segment_of(from) else {
            // A log may begin later than it is asked for.
            let begins = self.0.segments.read().first().map(|segment| segment.first);
            let begins = begins.filter(|first| *first > from).unwrap_or(cached_from);
            return self.find(begins, to, limit);
        };
        let end = to.min(cached_from).min(segment.next());
        Ok(Found::InFile(segment, end))
    }

    /// Reads entries from `from` on, before `to`; fewer when they pass `limit` bytes, but at least
    /// one when there is one.
    async fn read_some(&self, from: u64, to: u64, limit: usize) -> io::Result<Vec<Entry>> {
        let (segment, end) = match self.find(from, to, limit)? {
            Found::Entries(entries) => return Ok(entries),
            Found::InFile(segment, end) => (segment, end),
        };
        let from = from.max(segment.first).max(self.0.state.lock().first());
        let read = move || segment.read(from, end, limit as u64);
        tokio::task::spawn_blocking(read)
            .await
            .map_err(io::Error::other)?
    }
}

fn bounds(range: impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(at) => *at,
        Bound::Excluded(at) => at + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(at) => at + 1,
        Bound::Excluded(at) => *at,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<Types> for LogStore {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(range);
        let log = self.clone();
        let chunks = stream::try_unfold((log, from), move |(log, from)| async move {
            let entries = log.read_some(from, to, READ_BYTES).await?;
            let next = entries.last().map(|entry| entry.log_id.index() + 1);
            Ok::<_, io::Error>(
                next.map(|next| (stream::iter(entries.into_iter().map(Ok)), (log, next))),
            )
        });
        futures::TryStreamExt::try_flatten(chunks)
    }

    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (mut from, to) = bounds(range);
        let mut all = Vec::new();
        loop {
            let some = self.read_some(from, to, usize::MAX).await?;
            let Some(last) = some.last() else {
                return Ok(all);
            };
            from = last.log_id.index() + 1;
            all.extend(some);
        }
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read_some(start, end, READ_BYTES).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.vote())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.0.state.lock();
        Ok(LogState {
            last_purged_log_id: state.purged,
            last_log_id: state.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        self.submit(|done| Op::Vote { vote, done }).await?;
        self.0.state.lock().vote = Some(vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.0.check()?;
        let entries: Vec<Entry> = entries.into_iter().collect();
        let with_members = entries.iter().rev().find_map(|entry| {
            entry
                .payload
                .get_membership()
                .map(|membership| (entry.log_id, membership))
        });
        self.0.state.lock().append(&entries);
        self.0
            .flusher
            .submit(self.0.clone(), Op::Append { entries, flushed });
        if let Some((at, membership)) = with_members {
            let place = self.0.place.clone();
            self.0.flusher.housekeeper.run(move || {
                conf::save(&*place.disk, &place.dir, &at, &membership);
            });
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let next = last.map_or(0, |id| id.index() + 1);
        self.0.state.lock().truncate(next, last);
        self.submit(|done| Op::Truncate { next, done }).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.0.state.lock().purge(upto);
        self.0.flusher.submit(self.0.clone(), Op::Purge { upto });
        Ok(())
    }
}
