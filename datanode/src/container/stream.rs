//! The file of a block while it is read, from front to back or not.
//!
//! A long block that is read from front to back is brought into memory ahead of its readers, one stretch after the
//! other, in large pages. Their own reads, several at a time, would bring it in in small ones, which whoever reads the
//! file again (it may be lent) would pay for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ozone_common::disk::DiskFile;
use parking_lot::Mutex;

/// Bytes that are brought in at a time.
const STRETCH: u64 = 4 << 20;
/// Shorter files are left alone.
const LONG: u64 = 16 << 20;
/// Readers that are further than this from where the stream is are not part of it.
const NEAR: u64 = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Stream {
    file: Arc<dyn DiskFile>,
    /// How far it was brought in. Changed by who holds `turn`.
    reached: AtomicU64,
    turn: Mutex<()>,
}

impl Stream {
    pub(super) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self {
            file,
            reached: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }

    pub(super) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// To be called before `[offset, end)` is read. Whoever needs what another brings in waits for it.
    pub(super) fn bring_in(&self, offset: u64, end: u64) {
        if self.is_in(offset, end) {
            return;
        }
        let _turn = self.turn.lock();
        let reached = self.reached.load(Ordering::Acquire);
        if offset.abs_diff(reached) > NEAR {
            let from = offset - offset % STRETCH;
            self.reached.store(from, Ordering::Release);
            return;
        }
        loop {
            let from = self.reached.load(Ordering::Acquire);
            if from >= end {
                return;
            }
            let long = self.file.len().is_ok_and(|length| length >= LONG);
            // What cannot be brought in is read as ever, and fails there if it has to.
            let brought = long && self.file.populate(from, STRETCH).is_ok();
            let to = if brought { from + STRETCH } else { end };
            self.reached.store(to, Ordering::Release);
        }
    }

    fn is_in(&self, offset: u64, end: u64) -> bool {
        let reached = self.reached.load(Ordering::Acquire);
        end <= reached && reached - offset <= NEAR
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{self, IoSlice};

    use super::*;

    /// Counts where it was brought in.
    #[derive(Debug, Default)]
    struct Counting(Mutex<Vec<u64>>);

    impl DiskFile for Counting {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
        fn write_vectored_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn len(&self) -> io::Result<u64> {
            Ok(1 << 30)
        }
        fn populate(&self, offset: u64, _: u64) -> io::Result<()> {
            self.0.lock().push(offset);
            Ok(())
        }
    }

    fn brought_in(reads: &[u64]) -> Vec<u64> {
        let file = Arc::new(Counting::default());
        let stream = Stream::new(file.clone());
        for mib in reads {
            stream.bring_in(mib << 20, (mib + 1) << 20);
        }
        let populated = file.0.lock();
        populated.iter().map(|offset| offset >> 20).collect()
    }

    #[test]
    fn a_block_that_is_read_in_about_its_order_is_brought_in_stretch_by_stretch() {
        assert_eq!(brought_in(&[1, 0, 3, 2, 5, 4, 8]), [0, 4, 8]);
    }

    #[test]
    fn a_long_piece_is_brought_in_as_a_whole() {
        let file = Arc::new(Counting::default());
        Stream::new(file.clone()).bring_in(0, 32 << 20);
        assert_eq!(file.0.lock().len(), 8);
    }

    #[test]
    fn a_reader_that_jumps_brings_in_nothing_until_it_goes_on() {
        assert_eq!(brought_in(&[500, 100, 900]), [] as [u64; 0]);
        assert_eq!(brought_in(&[500, 501, 502]), [500]);
    }
}
