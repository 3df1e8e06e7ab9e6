//! The map from a file's bytes to where they are stored.
//!
//! A map is a list of extents, sorted by file offset, never overlapping. What no extent covers reads
//! as zeros. These functions are pure; who stores the list, and in how many rows, is
//! [`crate::file_map`]'s affair.

use ozone_proto::namespace::{Extent, extent::Source};

/// End of an extent in the file, exclusive.
pub fn end(extent: &Extent) -> u64 {
    extent.file_offset.saturating_add(extent.length)
}

/// The part of `extent` that lies in `[from, to)`, or `None`.
pub fn clip(extent: &Extent, from: u64, to: u64) -> Option<Extent> {
    let start = extent.file_offset.max(from);
    let stop = end(extent).min(to);
    if start >= stop {
        return None;
    }
    let mut piece = extent.clone();
    let skipped = start - extent.file_offset;
    piece.file_offset = start;
    piece.length = stop - start;
    match &mut piece.source {
        Some(Source::Block(block)) => block.offset = block.offset.saturating_add(skipped),
        // An inline value is within one row of the table, so what is skipped fits.
        Some(Source::Inline(inline)) => {
            let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
            inline.offset = inline.offset.saturating_add(skipped);
        }
        None => {}
    }
    Some(piece)
}

/// Takes `[from, to)` out of the map.
pub fn punch(map: &mut Vec<Extent>, from: u64, to: u64) {
    if from >= to {
        return;
    }
    let first = map.partition_point(|e| end(e) <= from);
    let last = map.partition_point(|e| e.file_offset < to);
    if first >= last {
        return;
    }
    let left = clip(&map[first], 0, from);
    let right = clip(&map[last - 1], to, u64::MAX);
    map.splice(first..last, left.into_iter().chain(right));
}

/// Lays `new` over the map: it wins over what was there.
pub fn overlay(map: &mut Vec<Extent>, new: Extent) {
    if new.length == 0 {
        return;
    }
    punch(map, new.file_offset, end(&new));
    let at = map.partition_point(|e| e.file_offset < new.file_offset);
    map.insert(at, new);
    // The neighbours may now be one run: first the right one, so that `at` stays true.
    join(map, at);
    if at > 0 {
        join(map, at - 1);
    }
}

/// Joins the extent at `at` with its right neighbour when the two are one run of one block.
fn join(map: &mut Vec<Extent>, at: usize) {
    if let Some([left, right]) = map.get_mut(at..at + 2)
        && absorb(left, right)
    {
        map.remove(at + 1);
    }
}

/// Makes `left` longer by `right` when the two are one run of one block.
fn absorb(left: &mut Extent, right: &Extent) -> bool {
    let reach = (end(left), left.length);
    let (Some(Source::Block(a)), Some(Source::Block(b))) = (&mut left.source, &right.source) else {
        return false;
    };
    let one_block = (a.container, a.local) == (b.container, b.local);
    if !one_block || (reach.0, a.offset.saturating_add(reach.1)) != (right.file_offset, b.offset) {
        return false;
    }
    a.bcsid = a.bcsid.max(b.bcsid);
    left.length += right.length;
    true
}

/// Gives extents another source where `moved` knows one; neighbours that become one run are joined.
/// Returns how many were changed.
pub fn rehome(map: &mut Vec<Extent>, moved: impl Fn(&Extent) -> Option<Source>) -> usize {
    let mut changed = 0;
    let old = std::mem::take(map);
    for mut extent in old {
        if let Some(source) = moved(&extent) {
            extent.source = Some(source);
            changed += 1;
        }
        if !map.last_mut().is_some_and(|last| absorb(last, &extent)) {
            map.push(extent);
        }
    }
    changed
}

/// The pieces of the map that lie in `[from, to)`.
pub fn slice(map: &[Extent], from: u64, to: u64) -> Vec<Extent> {
    let first = map.partition_point(|e| end(e) <= from);
    map[first..]
        .iter()
        .map_while(|e| clip(e, from, to))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ozone_proto::namespace::{BlockSource, InlineSource};

    fn block(file_offset: u64, length: u64, local: u64, offset: u64) -> Extent {
        let source = Source::Block(BlockSource {
            container: 1,
            local,
            offset,
            bcsid: 0,
        });
        Extent {
            file_offset,
            length,
            source: Some(source),
        }
    }

    /// Which byte of which block stands at each position of the file.
    fn paint(map: &[Extent], size: u64) -> Vec<Option<(u64, u64)>> {
        let mut bytes = vec![None; size as usize];
        for e in map {
            for i in 0..e.length {
                let at = &mut bytes[(e.file_offset + i) as usize];
                assert!(at.is_none(), "extents overlap");
                *at = match e.source.as_ref().unwrap() {
                    Source::Block(b) => Some((b.local, b.offset + i)),
                    Source::Inline(s) => Some((s.id + 1000, u64::from(s.offset) + i)),
                };
            }
        }
        bytes
    }

    #[test]
    fn sequential_appends_to_one_block_stay_one_extent() {
        let mut map = Vec::new();
        for i in 0..100 {
            overlay(&mut map, block(i * 10, 10, 7, i * 10));
        }
        assert_eq!(map, vec![block(0, 1000, 7, 0)]);
    }

    #[test]
    fn random_overlays_and_punches_equal_a_byte_array() {
        for seed in 0..200u64 {
            let mut state = seed * 2_654_435_761 + 12345;
            let mut next = |below: u64| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 33) % below
            };
            let mut map = Vec::new();
            let mut model: Vec<Option<(u64, u64)>> = vec![None; 400];
            for step in 0..60 {
                let from = next(300);
                let length = 1 + next(99);
                let kind = next(4);
                if kind == 0 {
                    punch(&mut map, from, from + length);
                    (from..from + length).for_each(|i| model[i as usize] = None);
                } else if kind == 1 {
                    let source = Source::Inline(InlineSource {
                        id: step,
                        ..Default::default()
                    });
                    overlay(
                        &mut map,
                        Extent {
                            file_offset: from,
                            length,
                            source: Some(source),
                        },
                    );
                    (0..length).for_each(|i| model[(from + i) as usize] = Some((step + 1000, i)));
                } else {
                    let at = next(1000);
                    overlay(&mut map, block(from, length, step % 3, at));
                    (0..length).for_each(|i| model[(from + i) as usize] = Some((step % 3, at + i)));
                }
                assert_eq!(paint(&map, 400), model, "seed {seed} step {step}");
                assert!(map.windows(2).all(|w| end(&w[0]) <= w[1].file_offset));
            }
            let (from, to) = (next(200), 200 + next(200));
            let cut = paint(&slice(&map, from, to), 400);
            for (i, byte) in cut.iter().enumerate() {
                let inside = (from..to).contains(&(i as u64));
                assert_eq!(*byte, if inside { model[i] } else { None });
            }
        }
    }
}
