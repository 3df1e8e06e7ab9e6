//! Written bytes of one file that are not committed yet: a map from file offset to pieces that
//! never overlap, in which the later write wins.
//!
//! Writes that continue one another are copied together, so that a file written a few bytes at a time does not
//! become a million pieces. A stream is copied into long pieces, whatever its writes are cut into: each is a chunk of
//! a block later, and goes to a disk from where it lies.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ozone_common::disk::aligned_copy;

/// Writes below this size are copied behind the piece that they continue.
const SMALL: usize = 64 << 10;
/// Pieces do not grow beyond this by being copied to where there is more room.
const JOINED: usize = 256 << 10;
/// A write of this size where a long piece may begin, or one that continues so many bytes, begins one.
const LONG: usize = 256 << 10;
/// Bytes that a long piece has room for.
pub(crate) const LONG_PIECE: usize = 4 << 20;

/// A piece of a file: where it begins, and its bytes.
pub type Piece = (u64, Bytes);

/// Contiguous pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where they begin, and their length.
    pub(crate) start: u64,
    pub(crate) length: usize,
    /// Whether what lies before them was taken last.
    pub(crate) goes_on: bool,
    /// Where in its block their first byte will be.
    placed: u64,
}

impl Run {
    /// Bytes of it up to the last whole `grain` of the block.
    pub(crate) fn whole(&self, grain: usize) -> usize {
        let end = self.placed + self.length as u64;
        at((end - end % grain as u64).saturating_sub(self.placed))
    }
}

/// The map; see the module.
#[derive(Debug, Default)]
pub struct DirtyMap {
    pieces: BTreeMap<u64, Bytes>,
    bytes: usize,
    /// Where ended what was taken last, and how long that run was.
    stream: Option<(u64, usize)>,
}

impl DirtyMap {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// End of the last piece; 0 when there is none.
    pub fn end(&self) -> u64 {
        self.pieces
            .last_key_value()
            .map_or(0, |(start, data)| end_of(*start, data))
    }

    /// Lays a copy of `data` over what is there. Returns how many held bytes it replaced.
    pub fn copy_in(&mut self, offset: u64, data: &[u8]) -> usize {
        let replaced = self.cut(offset, offset + data.len() as u64);
        self.bytes += data.len();
        let joined = self.join(offset, data);
        let (at, rest) = (offset + joined as u64, &data[joined..]);
        if !rest.is_empty() {
            // Not every long write: those at random would take room for a long piece each.
            let begins = rest.len() >= LONG && at.is_multiple_of(LONG_PIECE as u64);
            let long = begins || self.is_stream(at, rest.len());
            let room = if long { LONG_PIECE } else { 0 };
            self.pieces.insert(at, copy_of(rest, room));
        }
        replaced
    }

    /// Lays `data` over what is there, which is shared. Returns how many held bytes it replaced.
    pub fn share(&mut self, offset: u64, data: Bytes) -> usize {
        let replaced = self.cut(offset, end_of(offset, &data));
        self.bytes += data.len();
        if !data.is_empty() {
            self.pieces.insert(offset, data);
        }
        replaced
    }

    /// Whether a write goes on with a long run, held or taken, and is the last of it.
    fn is_stream(&self, offset: u64, length: usize) -> bool {
        let held = |before: u64| self.run_at(before, LONG) >= LONG;
        let taken = |(end, length)| end == offset && length >= LONG;
        let last = !self.pieces.contains_key(&(offset + length as u64));
        last && (self.stream.is_some_and(taken) || offset.checked_sub(1).is_some_and(held))
    }

    /// Copies as much of a write as there is room for behind the piece that it continues. Returns how much.
    fn join(&mut self, offset: u64, data: &[u8]) -> usize {
        let Some((start, before)) = self.pieces.range_mut(..offset).next_back() else {
            return 0;
        };
        if end_of(*start, before) != offset {
            return 0;
        }
        let small = data.len() < SMALL && before.len() + data.len() <= JOINED;
        let (mut joined, room) = match std::mem::take(before).try_into_mut() {
            Ok(own) => {
                let room = own.capacity().min(LONG_PIECE).saturating_sub(own.len());
                (own, room)
            }
            Err(shared) if small => {
                let mut copy = BytesMut::with_capacity((shared.len() + data.len()) * 2);
                copy.extend_from_slice(&shared);
                (copy, 0)
            }
            Err(shared) => {
                *before = shared;
                return 0;
            }
        };
        let fits = if small {
            data.len()
        } else {
            room.min(data.len())
        };
        joined.extend_from_slice(&data[..fits]);
        *before = joined.freeze();
        fits
    }

    /// Forgets what is held of `[from, to)`. Returns how many bytes that was.
    pub fn cut(&mut self, from: u64, to: u64) -> usize {
        let before = self.bytes;
        if let Some((start, data)) = self.pieces.range_mut(..from).next_back() {
            let (start, end) = (*start, end_of(*start, data));
            if end > from {
                let tail = data.split_off(at(from - start));
                self.bytes -= tail.len();
                if end > to {
                    let rest = tail.slice(at(to - from)..);
                    self.bytes += rest.len();
                    self.pieces.insert(to, rest);
                }
            }
        }
        while let Some((start, data)) = self.pieces.range(from..to).next() {
            let (start, end) = (*start, end_of(*start, data));
            let Some(data) = self.pieces.remove(&start) else {
                break;
            };
            self.bytes -= data.len();
            if end > to {
                let rest = data.slice(at(to - start)..);
                self.bytes += rest.len();
                self.pieces.insert(to, rest);
            }
        }
        before - self.bytes
    }

    /// Takes everything, in order.
    pub fn take_all(&mut self) -> Vec<Piece> {
        self.take(0, |run| run.length)
    }

    /// Takes of each run as many bytes, from its beginning on, as `part` says. The first byte will be at `placed` of a
    /// block, and all others behind it.
    pub(crate) fn take(&mut self, mut placed: u64, part: impl Fn(Run) -> usize) -> Vec<Piece> {
        let mut taken = Vec::new();
        let mut run: Vec<Piece> = Vec::new();
        for (start, data) in std::mem::take(&mut self.pieces) {
            if run.last().is_some_and(|(s, d)| end_of(*s, d) != start) {
                placed += self.split(&mut run, placed, &part, &mut taken);
            }
            run.push((start, data));
        }
        self.split(&mut run, placed, &part, &mut taken);
        self.bytes = self.pieces.values().map(Bytes::len).sum();
        taken
    }

    /// Divides a run into what is taken and what stays. Returns how much is taken.
    fn split(
        &mut self,
        run: &mut Vec<Piece>,
        placed: u64,
        part: &impl Fn(Run) -> usize,
        taken: &mut Vec<Piece>,
    ) -> u64 {
        let Some((start, _)) = run.first() else {
            return 0;
        };
        let whole = Run {
            start: *start,
            length: run.iter().map(|(_, data)| data.len()).sum(),
            goes_on: self.stream.is_some_and(|(end, _)| end == *start),
            placed,
        };
        let end = whole.start + part(whole).min(whole.length) as u64;
        if end > whole.start {
            self.stream = Some((end, whole.length));
        }
        for (start, mut data) in run.drain(..) {
            if start >= end {
                self.pieces.insert(start, data);
                continue;
            }
            if end_of(start, &data) > end {
                let rest = data.split_off(at(end - start));
                // Of its own, so that what continues it can be copied behind it.
                let room = if whole.length >= LONG { LONG_PIECE } else { 0 };
                self.pieces.insert(end, copy_of(&rest, room));
            }
            taken.push((start, data));
        }
        end - whole.start
    }

    /// Length of the contiguous run around `offset`, counted no further than `enough`.
    pub fn run_at(&self, offset: u64, enough: usize) -> usize {
        let Some((start, data)) = self.pieces.range(..=offset).next_back() else {
            return 0;
        };
        if end_of(*start, data) <= offset {
            return 0;
        }
        let (mut first, mut last) = (*start, end_of(*start, data));
        for (start, data) in self.pieces.range(..first).rev() {
            if end_of(*start, data) != first || at(last - first) >= enough {
                break;
            }
            first = *start;
        }
        for (start, data) in self.pieces.range(last..) {
            if *start != last || at(last - first) >= enough {
                break;
            }
            last = end_of(*start, data);
        }
        at(last - first)
    }

    /// What is held of `[from, to)`, in order.
    pub fn slices(&self, from: u64, to: u64) -> Vec<Piece> {
        let first = self
            .pieces
            .range(..=from)
            .next_back()
            .map_or(from, |(start, _)| *start);
        let mut found = Vec::new();
        for (start, data) in self.pieces.range(first..to) {
            let (low, high) = (from.max(*start), to.min(end_of(*start, data)));
            if low < high {
                found.push((low, data.slice(at(low - start)..at(high - start))));
            }
        }
        found
    }

    /// Everything that is held, in order.
    pub fn all(&self) -> Vec<Piece> {
        self.pieces
            .iter()
            .map(|(start, data)| (*start, data.clone()))
            .collect()
    }
}

/// A copy with room for `room` bytes, if that is more.
fn copy_of(data: &[u8], room: usize) -> Bytes {
    match room > data.len() {
        true => aligned_copy(data, room),
        false => Bytes::copy_from_slice(data),
    }
}

fn end_of(start: u64, data: &Bytes) -> u64 {
    start + data.len() as u64
}

/// A distance within buffers that fit into memory.
fn at(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::rng::{OsRng, Rng, SeededRng};

    use super::*;

    fn bytes_of(map: &DirtyMap, size: usize) -> Vec<Option<u8>> {
        let mut seen = vec![None; size];
        for (start, data) in map.all() {
            for (i, byte) in data.iter().enumerate() {
                let slot = &mut seen[usize::try_from(start).unwrap() + i];
                assert!(slot.is_none(), "pieces overlap");
                *slot = Some(*byte);
            }
        }
        seen
    }

    fn flat(pieces: &[Piece], from: u64, to: u64) -> Vec<Option<u8>> {
        let mut seen = vec![None; usize::try_from(to - from).unwrap()];
        for (start, data) in pieces {
            assert!(*start >= from && end_of(*start, data) <= to && !data.is_empty());
            for (i, byte) in data.iter().enumerate() {
                seen[usize::try_from(start - from).unwrap() + i] = Some(*byte);
            }
        }
        seen
    }

    #[test]
    fn behaves_as_a_plain_array_under_random_operations() {
        const SIZE: u64 = 4096;
        let seed = OsRng.u64();
        println!("seed {seed}");
        let rng = SeededRng::new(seed);
        let mut map = DirtyMap::default();
        let mut model: Vec<Option<u8>> = vec![None; SIZE as usize];
        for step in 0..20_000 {
            let from = rng.below(SIZE);
            let to = (from + 1 + rng.below(if rng.below(4) == 0 { 2000 } else { 40 })).min(SIZE);
            let span = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
            let held = model[span.clone()].iter().flatten().count();
            match rng.below(12) {
                0..=6 => {
                    let data: Vec<u8> = span.clone().map(|_| rng.u64() as u8).collect();
                    let replaced = match rng.below(2) {
                        0 => map.copy_in(from, &data),
                        _ => map.share(from, Bytes::from(data.clone())),
                    };
                    assert_eq!(replaced, held, "step {step}, seed {seed}");
                    model[span]
                        .iter_mut()
                        .zip(data)
                        .for_each(|(m, d)| *m = Some(d));
                }
                7 => {
                    assert_eq!(map.cut(from, to), held, "step {step}, seed {seed}");
                    model[span].fill(None);
                }
                8..=9 => {
                    let seen = flat(&map.slices(from, to), from, to);
                    assert_eq!(seen, model[span], "step {step}, seed {seed}");
                }
                10 => check_runs(
                    &mut map,
                    &mut model,
                    64 + usize::try_from(rng.below(512)).unwrap(),
                ),
                _ => check_run_length(&map, &model, from),
            }
            let count = model.iter().flatten().count();
            assert_eq!(map.bytes(), count, "step {step}, seed {seed}");
            let end = model
                .iter()
                .rposition(Option::is_some)
                .map_or(0, |i| i as u64 + 1);
            assert_eq!(map.end(), end, "step {step}, seed {seed}");
        }
        assert_eq!(bytes_of(&map, SIZE as usize), model, "seed {seed}");
    }

    fn check_run_length(map: &DirtyMap, model: &[Option<u8>], from: u64) {
        let from = usize::try_from(from).unwrap();
        let after = model[from..].iter().take_while(|b| b.is_some()).count();
        let before = model[..from]
            .iter()
            .rev()
            .take_while(|b| b.is_some())
            .count();
        let expected = if after == 0 { 0 } else { before + after };
        assert_eq!(map.run_at(from as u64, usize::MAX), expected);
    }

    fn check_runs(map: &mut DirtyMap, model: &mut [Option<u8>], least: usize) {
        let mut taken = vec![None; model.len()];
        let whole = |length: usize| length - length % least;
        for (start, data) in map.take(0, |run| whole(run.length)) {
            for (i, byte) in data.iter().enumerate() {
                taken[usize::try_from(start).unwrap() + i] = Some(*byte);
            }
        }
        let mut expected = vec![None; model.len()];
        let mut start = 0;
        while start < model.len() {
            let length = model[start..].iter().take_while(|b| b.is_some()).count();
            let part = start..start + whole(length);
            expected[part.clone()].copy_from_slice(&model[part.clone()]);
            model[part].fill(None);
            start += length.max(1);
        }
        assert_eq!(taken, expected);
    }

    #[test]
    fn small_appends_join_into_few_pieces() {
        let mut map = DirtyMap::default();
        for i in 0..100_000u64 {
            map.copy_in(i * 10, &[i as u8; 10]);
        }
        assert_eq!(map.bytes(), 1_000_000);
        assert!(map.all().len() <= 1_000_000 / JOINED + 1);
        let middle = map.slices(500_005, 500_015);
        assert_eq!(flat(&middle, 500_005, 500_015)[5], Some(50_001u64 as u8));
    }

    #[test]
    fn a_snapshot_is_untouched_by_later_writes() {
        let mut map = DirtyMap::default();
        map.copy_in(0, b"hello");
        let before = map.slices(0, 5);
        map.copy_in(5, b" world");
        map.copy_in(0, b"J");
        assert_eq!(before, vec![(0, Bytes::from_static(b"hello"))]);
        assert_eq!(flat(&map.slices(0, 11), 0, 11)[..6], b"Jello ".map(Some));
    }

    /// Writes `total` bytes in pieces of `write`; takes runs of `run` bytes as they are there, and says where they lie.
    fn stream(total: usize, write: usize, run: usize) -> (Vec<Piece>, DirtyMap) {
        let (mut map, mut taken) = (DirtyMap::default(), Vec::new());
        for from in (0..total).step_by(write) {
            let data: Vec<u8> = (from..(from + write).min(total))
                .map(|n| (n % 251) as u8)
                .collect();
            map.copy_in(from as u64, &data);
            let placed = taken
                .iter()
                .map(|(_, data): &Piece| data.len() as u64)
                .sum();
            taken.extend(map.take(placed, |of| of.whole(run)));
        }
        (taken, map)
    }

    #[test]
    fn a_stream_lies_in_long_aligned_pieces_whatever_it_is_written_in() {
        for write in [10 << 10, 64 << 10, 100_000, (1 << 20) - 48, 1 << 20] {
            let (taken, map) = stream(20 << 20, write, LONG_PIECE);
            let count: usize = taken.iter().map(|(_, data)| data.len()).sum();
            assert_eq!((count, map.bytes()), (20 << 20, 0), "{write}");
            // But for the beginning, where it was not known for a stream.
            let later = taken
                .iter()
                .filter(|(start, _)| *start >= LONG_PIECE as u64);
            for (start, data) in later {
                assert!(
                    data.as_ptr().addr().is_multiple_of(4096),
                    "{write} at {start}"
                );
                assert_eq!(data.len(), LONG_PIECE, "{write} at {start}");
            }
            let right = |(start, data): &Piece| {
                let mut bytes = data.iter().zip(*start..);
                bytes.all(|(byte, n)| u64::from(*byte) == n % 251)
            };
            assert!(taken.iter().all(right), "{write}");
        }
    }

    #[test]
    fn what_stays_of_a_run_is_continued_in_place() {
        let (taken, mut map) = stream(5 << 19, 5 << 18, 1 << 20);
        assert_eq!(taken.len(), 2);
        assert_eq!(map.bytes(), 1 << 19);
        map.copy_in(5 << 19, &[7; 1 << 19]);
        assert_eq!(map.all().len(), 1);
    }

    #[test]
    fn a_stream_that_is_out_of_line_in_its_block_comes_into_line_again() {
        let mut map = DirtyMap::default();
        let data = vec![1; 1 << 20];
        map.copy_in(77, &data);
        assert_eq!(
            map.take(0, |run| run.whole(4096)),
            [(77, data.clone().into())]
        );
        map.copy_in(77 + (1 << 20), &data);
        // 100 bytes of something else are in the block by now.
        let taken = map.take((1 << 20) + 100, |run| {
            assert!(run.goes_on);
            run.whole(4096)
        });
        let length: usize = taken.iter().map(|(_, data)| data.len()).sum();
        assert_eq!((length + 100) % 4096, 0);
        assert_eq!(map.bytes(), (1 << 20) - length);
    }
}
