//! Read-ahead: what a sequential reader will want next, fetched before it asks.
//!
//! The window doubles with each read that goes on where others ended. Reads may come somewhat out of
//! order, as a kernel sends them. Memory is bounded per reader by the window and per client by a
//! budget; without budget there is no read-ahead, but every read is served.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Result;

/// Bytes fetched in one piece.
const SEGMENT: u64 = 1 << 20;
/// How far from its expected place a read may be and still be sequential.
const NEAR: u64 = 2 * SEGMENT;
/// A first read of at least this length, at the start of the file, is taken for a sequential one.
const FIRST: u64 = 64 << 10;

/// Data that was or is being fetched.
pub(super) type Fetch = Shared<BoxFuture<'static, Result<Arc<Vec<Bytes>>>>>;

/// The state of one reader.
#[derive(Debug)]
pub(super) struct Ahead {
    limit: u64,
    budget: Arc<Semaphore>,
    /// The end of the furthest sequential read.
    next: Option<u64>,
    window: u64,
    segments: BTreeMap<u64, Segment>,
}

#[derive(Debug)]
struct Segment {
    end: u64,
    fetch: Fetch,
    _permit: OwnedSemaphorePermit,
}

/// Where a part of a read comes from.
#[derive(Debug)]
pub(super) enum Part {
    /// From data fetched ahead, which begins at `start`.
    Ahead {
        fetch: Fetch,
        start: u64,
        want: Range<u64>,
    },
    /// From the datanodes, now.
    Direct(Range<u64>),
}

impl Ahead {
    pub(super) fn new(limit: usize, budget: Arc<Semaphore>) -> Self {
        Self {
            limit: limit as u64,
            budget,
            next: None,
            window: 0,
            segments: BTreeMap::new(),
        }
    }

    /// Forgets all data.
    pub(super) fn clear(&mut self) {
        self.segments.clear();
    }

    /// Notes a read, starts what should come next with `start`, and tells where this read's bytes
    /// are.
    pub(super) fn plan(
        &mut self,
        read: Range<u64>,
        size: u64,
        start: impl Fn(Range<u64>) -> Fetch,
    ) -> Vec<Part> {
        self.note(&read);
        let parts = self.parts(read.clone());
        self.start_segments(read.end, size, start);
        parts
    }

    fn note(&mut self, read: &Range<u64>) {
        let length = read.end - read.start;
        let near = match self.next {
            None => read.start == 0 && length >= FIRST,
            // Before anything is sequential, only what goes on exactly makes it so.
            Some(next) if self.window == 0 => (next..=next + length).contains(&read.start),
            Some(next) => read.start.abs_diff(next) <= NEAR,
        };
        if !near {
            self.segments.clear();
            self.window = 0;
            self.next = Some(read.end);
            return;
        }
        let next = self.next.unwrap_or(0).max(read.end);
        self.next = Some(next);
        self.window = (self.window * 2).max(length * 2).min(self.limit);
        let behind = next.saturating_sub(NEAR);
        self.segments.retain(|_, segment| segment.end > behind);
    }

    fn parts(&self, read: Range<u64>) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut at = read.start;
        for (start, segment) in &self.segments {
            let want = at.max(*start)..segment.end.min(read.end);
            if want.is_empty() {
                continue;
            }
            if want.start > at {
                parts.push(Part::Direct(at..want.start));
            }
            at = want.end;
            parts.push(Part::Ahead {
                fetch: segment.fetch.clone(),
                start: *start,
                want,
            });
        }
        if at < read.end {
            parts.push(Part::Direct(at..read.end));
        }
        parts
    }

    fn start_segments(&mut self, from: u64, size: u64, start: impl Fn(Range<u64>) -> Fetch) {
        let Some(next) = self.next.filter(|_| self.window > 0) else {
            return;
        };
        let fetched = self
            .segments
            .last_key_value()
            .map_or(0, |(_, segment)| segment.end);
        if fetched >= next + self.window / 2 {
            return;
        }
        let mut at = fetched.max(from);
        let until = (next + self.window).min(size);
        while at < until {
            let end = (at + SEGMENT).min(until);
            let kib = u32::try_from((end - at).div_ceil(1024)).unwrap_or(u32::MAX);
            let Ok(permit) = self.budget.clone().try_acquire_many_owned(kib) else {
                return;
            };
            let segment = Segment {
                end,
                fetch: start(at..end),
                _permit: permit,
            };
            self.segments.insert(at, segment);
            at = end;
        }
    }
}

/// Runs a fetch in the background, for anyone to wait for.
pub(super) fn spawn(fetch: impl Future<Output = Result<Vec<Bytes>>> + Send + 'static) -> Fetch {
    let task = tokio::spawn(ozone_common::request::carry(fetch));
    let wait = async move {
        match task.await {
            Ok(data) => data.map(Arc::new),
            Err(error) => Err(crate::ClientError::unavailable(
                "read-ahead",
                error.to_string(),
            )),
        }
    };
    wait.boxed().shared()
}

/// Cuts `want` out of `data`, which begins at `start`. None if it does not hold all of it.
pub(super) fn cut(data: &[Bytes], start: u64, want: &Range<u64>) -> Option<Vec<Bytes>> {
    let mut out = Vec::new();
    let mut at = start;
    for piece in data {
        let end = at + piece.len() as u64;
        let (from, to) = (want.start.max(at), want.end.min(end));
        if from < to {
            out.push(piece.slice((from - at) as usize..(to - at) as usize));
        }
        at = end;
    }
    (at >= want.end).then_some(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    fn ahead() -> Ahead {
        Ahead::new(8 << 20, Arc::new(Semaphore::new(64 << 10)))
    }

    fn fetches(ahead: &mut Ahead, read: Range<u64>) -> Vec<Range<u64>> {
        let started = Mutex::new(Vec::new());
        ahead.plan(read, 1 << 30, |range| {
            started.lock().push(range);
            futures::future::pending().boxed().shared()
        });
        started.into_inner()
    }

    #[test]
    fn sequential_reads_are_fetched_ahead_of() {
        let mut ahead = ahead();
        let first = fetches(&mut ahead, 0..1 << 20);
        assert_eq!(first, [1 << 20..2 << 20, 2 << 20..3 << 20]);
        let second = fetches(&mut ahead, 1 << 20..2 << 20);
        assert_eq!(second.len(), 3, "{second:?}");
        let parts = ahead.parts(2 << 20..3 << 20);
        assert!(matches!(parts[..], [Part::Ahead { .. }]), "{parts:?}");
    }

    #[test]
    fn random_reads_fetch_nothing_more() {
        let mut ahead = ahead();
        for at in [5 << 20, 4 << 20, 500 << 20, 90 << 20, 0, 700 << 20] {
            assert!(fetches(&mut ahead, at..at + 4096).is_empty(), "{at}");
        }
    }

    #[test]
    fn the_window_is_bounded() {
        let mut ahead = ahead();
        for n in 0..100 {
            fetches(&mut ahead, n << 20..(n + 1) << 20);
            let held: u64 = ahead.segments.iter().map(|(start, s)| s.end - start).sum();
            assert!(held <= (8 << 20) + NEAR + SEGMENT, "{held}");
        }
    }

    #[test]
    fn without_budget_reads_go_on_directly() {
        let mut ahead = Ahead::new(8 << 20, Arc::new(Semaphore::new(0)));
        assert!(fetches(&mut ahead, 0..1 << 20).is_empty());
        let parts = ahead.parts(1 << 20..2 << 20);
        assert!(matches!(parts[..], [Part::Direct(_)]), "{parts:?}");
    }

    #[test]
    fn a_cut_is_complete_or_nothing() {
        let data = [Bytes::from_static(b"abc"), Bytes::from_static(b"def")];
        assert_eq!(cut(&data, 10, &(12..15)).unwrap().concat(), b"cde");
        assert!(cut(&data, 10, &(12..17)).is_none());
    }
}
