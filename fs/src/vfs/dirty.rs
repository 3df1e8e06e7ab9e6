//! Written bytes of one file that are not committed yet: a map from file offset to pieces that
//! never overlap, in which the later write wins.
//!
//! Pieces share the buffers that they came in; only small writes that continue one another are
//! copied together, so that a file written a few bytes at a time does not become a million pieces.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

/// Writes below this size are copied behind the piece that they continue.
const SMALL: usize = 64 << 10;
/// Pieces do not grow beyond this by copying.
const JOINED: usize = 256 << 10;

/// A piece of a file: where it begins, and its bytes.
pub type Piece = (u64, Bytes);

/// The map; see the module.
#[derive(Debug, Default)]
pub struct DirtyMap {
    pieces: BTreeMap<u64, Bytes>,
    bytes: usize,
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

    /// Lays `data` over what is there. Returns how many held bytes it replaced.
    pub fn insert(&mut self, offset: u64, data: Bytes) -> usize {
        if data.is_empty() {
            return 0;
        }
        let replaced = self.cut(offset, end_of(offset, &data));
        self.bytes += data.len();
        if !self.join(offset, &data) {
            self.pieces.insert(offset, data);
        }
        replaced
    }

    /// Copies a small write behind the piece that it continues.
    fn join(&mut self, offset: u64, data: &Bytes) -> bool {
        if data.len() >= SMALL {
            return false;
        }
        let Some((start, before)) = self.pieces.range_mut(..offset).next_back() else {
            return false;
        };
        if end_of(*start, before) != offset || before.len() + data.len() > JOINED {
            return false;
        }
        let mut joined = std::mem::take(before)
            .try_into_mut()
            .unwrap_or_else(|shared| {
                let mut copy = BytesMut::with_capacity((shared.len() + data.len()) * 2);
                copy.extend_from_slice(&shared);
                copy
            });
        joined.extend_from_slice(data);
        *before = joined.freeze();
        true
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
        self.bytes = 0;
        std::mem::take(&mut self.pieces).into_iter().collect()
    }

    /// Takes every run of contiguous pieces that has at least `least` bytes.
    pub fn take_runs(&mut self, least: usize) -> Vec<Piece> {
        let (mut taken, mut kept) = (Vec::new(), BTreeMap::new());
        let mut run: Vec<Piece> = Vec::new();
        let mut settle = |run: &mut Vec<Piece>| {
            let length: usize = run.iter().map(|(_, data)| data.len()).sum();
            if length >= least {
                taken.append(run);
            } else {
                kept.extend(run.drain(..));
            }
        };
        for (start, data) in std::mem::take(&mut self.pieces) {
            if run.last().is_some_and(|(s, d)| end_of(*s, d) != start) {
                settle(&mut run);
            }
            run.push((start, data));
        }
        settle(&mut run);
        self.pieces = kept;
        self.bytes = self.pieces.values().map(Bytes::len).sum();
        taken
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
                    let replaced = map.insert(from, Bytes::from(data.clone()));
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
        for (start, data) in map.take_runs(least) {
            for (i, byte) in data.iter().enumerate() {
                taken[usize::try_from(start).unwrap() + i] = Some(*byte);
            }
        }
        let mut expected = vec![None; model.len()];
        let mut start = 0;
        while start < model.len() {
            let length = model[start..].iter().take_while(|b| b.is_some()).count();
            if length >= least {
                expected[start..start + length].copy_from_slice(&model[start..start + length]);
                model[start..start + length].fill(None);
            }
            start += length.max(1);
        }
        assert_eq!(taken, expected);
    }

    #[test]
    fn small_appends_join_into_few_pieces() {
        let mut map = DirtyMap::default();
        for i in 0..100_000u64 {
            map.insert(i * 10, Bytes::copy_from_slice(&[i as u8; 10]));
        }
        assert_eq!(map.bytes(), 1_000_000);
        assert!(map.all().len() <= 1_000_000 / JOINED + 1);
        let middle = map.slices(500_005, 500_015);
        assert_eq!(flat(&middle, 500_005, 500_015)[5], Some(50_001u64 as u8));
    }

    #[test]
    fn a_snapshot_is_untouched_by_later_writes() {
        let mut map = DirtyMap::default();
        map.insert(0, Bytes::from_static(b"hello"));
        let before = map.slices(0, 5);
        map.insert(5, Bytes::from_static(b" world"));
        map.insert(0, Bytes::from_static(b"J"));
        assert_eq!(before, vec![(0, Bytes::from_static(b"hello"))]);
        assert_eq!(flat(&map.slices(0, 11), 0, 11)[..6], b"Jello ".map(Some));
    }
}
