//! Extents laid over one another: the later one wins, and what is adjacent becomes one.

use std::collections::BTreeMap;

use ozone_proto::namespace::{Extent, extent::Source};

/// Extents that never overlap.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    extents: BTreeMap<u64, Extent>,
}

impl Overlay {
    /// Lays an extent over those that are there.
    pub(super) fn put(&mut self, extent: Extent) {
        if extent.length == 0 {
            return;
        }
        let (start, end) = (extent.file_offset, end_of(&extent));
        for under in self.take_overlapping(start, end) {
            for piece in [part(&under, 0, start), part(&under, end, u64::MAX)]
                .into_iter()
                .flatten()
            {
                self.extents.insert(piece.file_offset, piece);
            }
        }
        let before = self.extents.range_mut(..start).next_back().map(|(_, e)| e);
        match before {
            Some(before) if continues(before, &extent) => extend(before, &extent),
            _ => drop(self.extents.insert(start, extent)),
        }
    }

    /// All of them, in the order of the file.
    pub(super) fn into_extents(self) -> Vec<Extent> {
        self.extents.into_values().collect()
    }

    fn take_overlapping(&mut self, start: u64, end: u64) -> Vec<Extent> {
        let mut keys: Vec<u64> = self
            .extents
            .range(start..end)
            .map(|(key, _)| *key)
            .collect();
        let before = self.extents.range(..start).next_back();
        keys.extend(
            before
                .filter(|(_, e)| end_of(e) > start)
                .map(|(key, _)| *key),
        );
        keys.iter()
            .filter_map(|key| self.extents.remove(key))
            .collect()
    }
}

pub(super) fn end_of(extent: &Extent) -> u64 {
    extent.file_offset.saturating_add(extent.length)
}

/// The part of an extent that is within `from..to` of the file.
pub(super) fn part(extent: &Extent, from: u64, to: u64) -> Option<Extent> {
    let start = extent.file_offset.max(from);
    let end = end_of(extent).min(to);
    if start >= end {
        return None;
    }
    let (skip, length) = (start - extent.file_offset, end - start);
    let mut source = extent.source.clone();
    match &mut source {
        Some(Source::Block(block)) => block.offset += skip,
        Some(Source::Inline(inline)) => {
            let (from, to) = (skip as usize, (skip + length) as usize);
            let held = inline.data.len();
            inline.data = inline.data.slice(from.min(held)..to.min(held));
            inline.offset += skip as u32;
            // It was that of all the bytes.
            inline.crc32c = None;
        }
        None => {}
    }
    Some(Extent {
        file_offset: start,
        length,
        source,
    })
}

/// Whether `next` goes on, in file and block, where `extent` ends.
fn continues(extent: &Extent, next: &Extent) -> bool {
    let (Some(Source::Block(a)), Some(Source::Block(b))) = (&extent.source, &next.source) else {
        return false;
    };
    end_of(extent) == next.file_offset
        && (a.container, a.local) == (b.container, b.local)
        && a.offset + extent.length == b.offset
}

fn extend(extent: &mut Extent, next: &Extent) {
    extent.length += next.length;
    if let (Some(Source::Block(a)), Some(Source::Block(b))) = (&mut extent.source, &next.source) {
        a.bcsid = a.bcsid.max(b.bcsid);
    }
}

#[cfg(test)]
mod tests {
    use ozone_proto::namespace::BlockSource;

    use super::*;

    fn block(file_offset: u64, length: u64, local: u64, offset: u64) -> Extent {
        let source = BlockSource {
            container: 1,
            local,
            offset,
            bcsid: local,
        };
        Extent {
            file_offset,
            length,
            source: Some(Source::Block(source)),
        }
    }

    #[test]
    fn the_later_extent_wins_and_the_rest_of_the_earlier_stays() {
        let mut overlay = Overlay::default();
        overlay.put(block(0, 100, 1, 0));
        overlay.put(block(40, 20, 2, 0));
        let want = [
            block(0, 40, 1, 0),
            block(40, 20, 2, 0),
            block(60, 40, 1, 60),
        ];
        assert_eq!(overlay.into_extents(), want);
    }

    #[test]
    fn what_goes_on_in_file_and_block_is_one_extent() {
        let mut overlay = Overlay::default();
        overlay.put(block(0, 10, 1, 0));
        overlay.put(block(10, 10, 1, 10));
        overlay.put(block(20, 10, 1, 30));
        assert_eq!(
            overlay.into_extents(),
            [block(0, 20, 1, 0), block(20, 10, 1, 30)]
        );
    }

    #[test]
    fn any_sequence_of_writes_reads_as_the_last_ones_said() {
        let mut model = [0_u64; 64];
        let mut overlay = Overlay::default();
        let mut random = 12345_u64;
        for write in 1..200 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let start = (random >> 33) % 60;
            let length = 1 + (random >> 50) % (64 - start);
            overlay.put(block(start, length, write, 0));
            model[start as usize..(start + length) as usize].fill(write);
        }
        let mut seen = [0; 64];
        for extent in overlay.into_extents() {
            let Some(Source::Block(source)) = &extent.source else {
                unreachable!()
            };
            for at in extent.file_offset..end_of(&extent) {
                assert_eq!(seen[at as usize], 0, "overlap at {at}");
                seen[at as usize] = source.local;
            }
        }
        assert_eq!(seen, model);
    }
}
