//! Which bytes of something were looked at, in whatever order.

use std::ops::Range;

/// Gaps that are remembered; with more, what is behind them is forgotten.
const MOST: usize = 64;

/// A set of bytes: ranges in order, with gaps between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(Vec<Range<u64>>);

impl Coverage {
    /// Adds the bytes of `range`.
    pub fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|known| known.end < range.start);
        let last = self.0.partition_point(|known| known.start <= range.end);
        let touched = &self.0[first..last];
        let start = touched.first().map_or(range.start, |known| known.start);
        let end = touched.last().map_or(range.end, |known| known.end);
        let whole = start.min(range.start)..end.max(range.end);
        self.0.splice(first..last, [whole]);
        self.0.truncate(MOST);
    }

    /// Whether all of the first `length` bytes are in it.
    pub fn covers(&self, length: u64) -> bool {
        let first = self.0.first();
        length == 0 || first.is_some_and(|known| known.start == 0 && known.end >= length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_any_order_become_one() {
        let mut seen = Coverage::default();
        for range in [20..30, 0..5, 10..20, 40..50, 29..41] {
            seen.add(range);
        }
        assert!(seen.covers(5) && !seen.covers(6));
        seen.add(5..10);
        assert!(seen.covers(50) && !seen.covers(51));
        assert_eq!(seen.0.len(), 1);
        seen.add(3..4);
        assert_eq!(seen.0.first(), Some(&(0..50)));
    }

    #[test]
    fn what_was_seen_in_tatters_takes_bounded_memory() {
        let mut seen = Coverage::default();
        for at in 0..1000 {
            seen.add(at * 10..at * 10 + 5);
        }
        assert_eq!(seen.0.len(), MOST);
        seen.add(0..10_000);
        assert!(seen.covers(10_000));
    }

    #[test]
    fn nothing_covers_nothing() {
        let mut seen = Coverage::default();
        seen.add(7..7);
        assert!(seen.covers(0) && !seen.covers(1));
    }
}
