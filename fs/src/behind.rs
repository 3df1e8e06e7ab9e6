//! What a program has read of a large file and is done with, as far as that can be told.
//!
//! A file that the kernel will read by itself from the next open on ([`crate::vfs`], passing) needs no pages
//! under its own inode: the kernel has them once more as pages of the block's file. Those that a reader from
//! front to back leaves behind are given up while it reads; else the next open would wait until all are.

use std::ops::Range;

use parking_lot::Mutex;

/// Bytes that are given up at a time.
const STEP: u64 = 8 << 20;
/// Bytes behind the furthest read that may still be wanted: the kernel reads ahead, in no strict order.
const KEPT: u64 = 8 << 20;

/// The course of one handle's reads.
#[derive(Debug, Default)]
pub(crate) struct Behind(Mutex<Course>);

#[derive(Debug, Default)]
struct Course {
    /// End of the furthest read.
    reached: u64,
    /// What is before this was given up.
    given_up: u64,
    /// It reads here and there, and may come back.
    wanders: bool,
}

impl Behind {
    /// Notes a read. Returns what is to be given up now.
    pub(crate) fn read(&self, read: Range<u64>) -> Option<Range<u64>> {
        let mut course = self.0.lock();
        let ahead = read.start > course.reached.saturating_add(KEPT);
        let back = read.start < course.reached.saturating_sub(KEPT);
        course.wanders |= ahead || back;
        course.reached = course.reached.max(read.end);
        let done = course.reached.saturating_sub(KEPT);
        if course.wanders || done < course.given_up + STEP {
            return None;
        }
        let from = std::mem::replace(&mut course.given_up, done);
        Some(from..done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u64 = 1 << 20;

    #[test]
    fn what_is_read_from_front_to_back_is_given_up_once_and_in_order() {
        let behind = Behind::default();
        let given_up: Vec<_> = (0..64)
            // Each pair in the wrong order, as reads ahead may come.
            .map(|n| (n ^ 1) * READ)
            .filter_map(|at| behind.read(at..at + READ))
            .collect();
        assert_eq!(given_up.first().map(|range| range.start), Some(0));
        assert!(given_up.windows(2).all(|pair| pair[0].end == pair[1].start));
        let last = given_up.last().map_or(0, |range| range.end);
        assert!((64 * READ - KEPT - STEP..=64 * READ - KEPT).contains(&last));
    }

    #[test]
    fn who_comes_back_or_jumps_keeps_everything() {
        for jump in [0, 100 * READ] {
            let behind = Behind::default();
            for n in 0..12 {
                assert_eq!(behind.read(n * READ..(n + 1) * READ), None);
            }
            assert_eq!(behind.read(jump..jump + READ), None);
            for n in 12..64 {
                assert_eq!(behind.read(n * READ..(n + 1) * READ), None);
            }
        }
    }
}
