//! A block that is being written: its open file, and the chunks that are written but not committed.
//!
//! Staged chunks live in memory alone. After a crash the bytes behind them mean nothing and are
//! overwritten; the client still has them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ozone_common::disk::{DiskFile, PAST_CACHE_FROM};
use parking_lot::Mutex;

use super::ContainerLayout;
use crate::chunk::Chunk;

/// Why a chunk could not be written.
#[derive(Debug)]
pub(super) enum WriteFailure {
    /// It begins behind the end, or its bytes differ from those that are there.
    Misplaced(String),
    /// The disk refused.
    Io(io::Error),
}

impl From<io::Error> for WriteFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug)]
struct Tail {
    /// Bytes that are committed or staged.
    end: u64,
    /// Bytes of the file beyond `end`, which mean nothing, are still there.
    stale: bool,
    staged: BTreeMap<u64, Chunk>,
    /// Fsynced up to here.
    synced: u64,
    /// The file's name is durable.
    named: bool,
    /// A client may write behind `end`: nothing there was cut off since it was lent the file.
    lent: bool,
}

impl Tail {
    /// The block ends with this chunk now.
    fn stage(&mut self, chunk: &Chunk) {
        self.staged.retain(|offset, _| *offset < chunk.offset);
        self.staged.insert(chunk.offset, chunk.clone());
        self.end = chunk.end();
    }
}

/// A block that is being written.
#[derive(Debug)]
pub struct OpenBlock {
    file: Arc<dyn DiskFile>,
    tail: Mutex<Tail>,
    used: AtomicBool,
}

impl OpenBlock {
    /// A block of which the first `end` bytes count.
    pub(super) fn new(file: Arc<dyn DiskFile>, end: u64) -> io::Result<Self> {
        let stale = file.len()? > end;
        let tail = Tail {
            end,
            stale,
            staged: BTreeMap::new(),
            synced: 0,
            named: false,
            lent: false,
        };
        Ok(Self {
            file,
            tail: Mutex::new(tail),
            used: AtomicBool::new(true),
        })
    }

    pub(super) fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// Whether anything was written since the last call.
    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Bytes that are committed or staged.
    pub(super) fn end(&self) -> u64 {
        self.tail.lock().end
    }

    /// Whether chunks wait for their commit.
    pub(super) fn has_staged(&self) -> bool {
        !self.tail.lock().staged.is_empty()
    }

    /// Writes the next chunk, or finds that it is there already. The caller has verified `data`.
    pub(super) fn write(&self, chunk: &Chunk, data: &[u8]) -> Result<(), WriteFailure> {
        self.used.store(true, Ordering::Relaxed);
        let mut tail = self.tail.lock();
        if tail.staged.get(&chunk.offset) == Some(chunk) {
            return Ok(());
        }
        if chunk.offset > tail.end {
            let text = format!(
                "chunk begins at {}, the block ends at {}",
                chunk.offset, tail.end
            );
            return Err(WriteFailure::Misplaced(text));
        }
        let there = usize::try_from(tail.end - chunk.offset)
            .unwrap_or(usize::MAX)
            .min(data.len());
        if there > 0 {
            self.compare(&data[..there], chunk.offset)?;
        }
        if there == data.len() {
            return Ok(());
        }
        self.cut_stale(&mut tail)?;
        let rest = &data[there..];
        let written = match tail.end < PAST_CACHE_FROM {
            true => self.file.write_at(rest, tail.end),
            false => self.file.write_past_cache(rest, tail.end),
        };
        if let Err(error) = written {
            tail.lent = false;
            tail.stale = self.file.set_len(tail.end).is_err();
            return Err(error.into());
        }
        tail.stage(chunk);
        Ok(())
    }

    /// The file, for a client that puts the next chunks into it by itself.
    pub(super) fn lend_to_write(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.used.store(true, Ordering::Relaxed);
        let mut tail = self.tail.lock();
        self.cut_stale(&mut tail)?;
        tail.lent = true;
        Ok(self.file.clone())
    }

    /// Takes in the next chunk, which the client has put into the file; false if it was written here. What is in it
    /// was not verified: a client that lies harms its own block, and readers verify.
    pub(super) fn placed(&self, chunk: &Chunk) -> Result<bool, WriteFailure> {
        self.used.store(true, Ordering::Relaxed);
        let mut tail = self.tail.lock();
        if tail.staged.get(&chunk.offset) == Some(chunk) {
            return Ok(false);
        }
        let misplaced = |text: String| Err(WriteFailure::Misplaced(text));
        if !tail.lent {
            return misplaced("its file is not lent to be written to any more".to_owned());
        }
        if chunk.offset != tail.end {
            let text = format!(
                "chunk in place begins at {}, the block ends at {}",
                chunk.offset, tail.end
            );
            return misplaced(text);
        }
        let length = self.file.len()?;
        if length < chunk.end() {
            let text = format!(
                "chunk in place ends at {}, the file at {length}",
                chunk.end()
            );
            return misplaced(text);
        }
        tail.stage(chunk);
        Ok(true)
    }

    /// The client that was lent the file may be gone: what it put behind the end is cut off. It is lent no longer.
    pub(super) fn cut_lent(&self) {
        let mut tail = self.tail.lock();
        if !std::mem::take(&mut tail.lent) {
            return;
        }
        let cut = self.file.len().and_then(|length| match length > tail.end {
            true => self.file.set_len(tail.end),
            false => Ok(()),
        });
        if let Err(error) = cut {
            tracing::debug!(%error, "bytes behind the end of a block stay until it is written to");
        }
    }

    /// The block ends after `size` bytes for good: the rest is dropped. Whether a client may go on putting bytes there,
    /// who was lent the file.
    pub(super) fn trim(&self, size: u64) -> io::Result<bool> {
        self.used.store(true, Ordering::Relaxed);
        let mut tail = self.tail.lock();
        tail.staged.clear();
        tail.end = size;
        if self.file.len().map_or(true, |length| length > size) {
            self.file.set_len(size)?;
        }
        Ok(tail.lent)
    }

    fn cut_stale(&self, tail: &mut Tail) -> io::Result<()> {
        if tail.stale {
            self.file.set_len(tail.end)?;
            tail.stale = false;
        }
        Ok(())
    }

    fn compare(&self, data: &[u8], offset: u64) -> Result<(), WriteFailure> {
        let mut there = vec![0; data.len()];
        self.file.read_exact_at(&mut there, offset)?;
        if there == data {
            return Ok(());
        }
        let text = format!(
            "{} bytes at {offset} are written already, with other content",
            data.len()
        );
        Err(WriteFailure::Misplaced(text))
    }

    /// Whether exactly this chunk is staged.
    pub(super) fn is_staged(&self, chunk: &Chunk) -> bool {
        self.tail.lock().staged.get(&chunk.offset) == Some(chunk)
    }

    /// Everything written before the call is durable when this returns.
    pub(super) fn sync(&self, layout: &dyn ContainerLayout) -> io::Result<()> {
        let (end, synced, named) = {
            let tail = self.tail.lock();
            (tail.end, tail.synced, tail.named)
        };
        if synced < end || !named {
            self.file.sync_data()?;
        }
        if !named {
            layout.sync_names()?;
        }
        let mut tail = self.tail.lock();
        tail.synced = tail.synced.max(end);
        tail.named = true;
        Ok(())
    }

    /// The first `size` bytes are committed and here.
    pub(super) fn committed(&self, size: u64) {
        let mut tail = self.tail.lock();
        tail.staged.retain(|_, chunk| chunk.end() > size);
        tail.end = tail.end.max(size);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::disk::{Disk, FaultyDisk, OpenMode, RealDisk};

    use super::*;
    use crate::chunk::tests::chunk_of;

    fn block(disk: &dyn Disk, content: &[u8], end: u64) -> (tempfile::TempDir, OpenBlock) {
        let dir = tempfile::tempdir().unwrap();
        let file = disk
            .open(&dir.path().join("1.block"), OpenMode::CreateNew)
            .unwrap();
        file.write_at(content, 0).unwrap();
        (dir, OpenBlock::new(file, end).unwrap())
    }

    fn content(block: &OpenBlock) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(block.file.len().unwrap()).unwrap()];
        block.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn write(block: &OpenBlock, offset: u64, data: &[u8]) -> Result<(), WriteFailure> {
        block.write(&chunk_of(offset, data), data)
    }

    #[test]
    fn chunks_follow_each_other_without_holes() {
        let (_dir, block) = block(&RealDisk, b"", 0);
        write(&block, 0, b"abc").unwrap();
        write(&block, 3, b"def").unwrap();
        assert!(matches!(
            write(&block, 7, b"x"),
            Err(WriteFailure::Misplaced(_))
        ));
        assert_eq!(content(&block), b"abcdef");
        assert_eq!(block.end(), 6);
    }

    #[test]
    fn a_retry_is_fine_and_other_bytes_are_not() {
        let (_dir, block) = block(&RealDisk, b"", 0);
        write(&block, 0, b"abcdef").unwrap();
        write(&block, 0, b"abcdef").unwrap();
        write(&block, 2, b"cd").unwrap();
        assert!(matches!(
            write(&block, 2, b"cX"),
            Err(WriteFailure::Misplaced(_))
        ));
        assert_eq!(content(&block), b"abcdef");
    }

    #[test]
    fn a_short_last_chunk_may_be_sent_again_longer() {
        let (_dir, block) = block(&RealDisk, b"", 0);
        write(&block, 0, b"abc").unwrap();
        write(&block, 0, b"abcdef").unwrap();
        assert!(block.is_staged(&chunk_of(0, b"abcdef")));
        assert_eq!(content(&block), b"abcdef");
    }

    #[test]
    fn what_a_client_puts_in_place_is_taken_in_in_order() {
        let (_dir, block) = block(&RealDisk, b"", 0);
        write(&block, 0, b"abc").unwrap();
        let put = |offset, data: &[u8]| block.placed(&chunk_of(offset, data));
        assert!(put(3, b"def").is_err(), "it was not lent");
        let lent = block.lend_to_write().unwrap();
        lent.write_at(b"defghi", 3).unwrap();
        assert!(put(6, b"ghi").is_err(), "there is one before it");
        assert!(put(3, b"def").unwrap());
        assert!(!put(3, b"def").unwrap(), "it was taken in before");
        assert!(put(6, b"ghi").unwrap());
        assert!(put(9, b"jkl").is_err(), "the file ends before it");
        assert_eq!((block.end(), content(&block)), (9, b"abcdefghi".to_vec()));
    }

    #[test]
    fn a_file_that_was_cut_is_to_be_lent_anew() {
        let disk = FaultyDisk::new(Arc::new(RealDisk));
        let (_dir, block) = block(&*disk, b"", 0);
        let lent = block.lend_to_write().unwrap();
        disk.limit_room(Some(1));
        assert!(write(&block, 0, b"abc").is_err());
        disk.limit_room(None);
        lent.write_at(b"abc", 0).unwrap();
        assert!(block.placed(&chunk_of(0, b"abc")).is_err());
        block.lend_to_write().unwrap();
        lent.write_at(b"abc", 0).unwrap();
        assert!(block.placed(&chunk_of(0, b"abc")).unwrap());
    }

    #[test]
    fn a_file_is_lent_without_bytes_that_mean_nothing() {
        let (_dir, block) = block(&RealDisk, b"goodJUNK-JUNK", 4);
        block.lend_to_write().unwrap();
        assert_eq!(content(&block), b"good");
    }

    #[test]
    fn bytes_that_were_never_committed_are_overwritten() {
        let (_dir, block) = block(&RealDisk, b"goodJUNK-JUNK", 4);
        write(&block, 4, b"new").unwrap();
        assert_eq!(content(&block), b"goodnew");
    }

    #[test]
    fn a_full_disk_leaves_the_block_as_it_was() {
        let disk = FaultyDisk::new(Arc::new(RealDisk));
        let (_dir, block) = block(&*disk, b"", 0);
        write(&block, 0, b"abc").unwrap();
        disk.limit_room(Some(2));
        assert!(matches!(
            write(&block, 3, b"defg"),
            Err(WriteFailure::Io(_))
        ));
        assert_eq!((block.end(), content(&block)), (3, b"abc".to_vec()));
        disk.limit_room(None);
        write(&block, 3, b"defg").unwrap();
        assert_eq!(content(&block), b"abcdefg");
    }

    #[test]
    fn only_the_first_sync_of_the_same_bytes_costs_anything() {
        let disk = FaultyDisk::new(Arc::new(RealDisk));
        let (dir, block) = block(&*disk, b"", 0);
        let layout = super::super::FilePerBlock::new(disk.clone(), dir.path().to_path_buf());
        write(&block, 0, b"abc").unwrap();
        block.sync(&layout).unwrap();
        assert_eq!(disk.syncs(), 2, "the file and its directory");
        block.sync(&layout).unwrap();
        assert_eq!(disk.syncs(), 2);
        write(&block, 3, b"def").unwrap();
        block.sync(&layout).unwrap();
        assert_eq!(disk.syncs(), 3);
        write(&block, 6, b"ghi").unwrap();
        disk.fail_sync(1);
        assert!(block.sync(&layout).is_err());
    }
}
