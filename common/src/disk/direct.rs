//! Writes that go from memory to the disk, past the page cache (O_DIRECT).

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::OnceLock;

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc;

/// What offsets, lengths and memory have to be multiples of: enough for every disk that has pages of 4 KiB.
const ALIGNED: usize = 4096;
/// What is written to a block from this byte on goes past the cache, by whoever writes it: such a stream is long. The
/// cache would copy it once more and give up other pages for it.
pub const PAST_CACHE_FROM: u64 = 32 << 20;
/// Bytes that are copied and written at a time.
const PIECE: usize = 1 << 20;

thread_local! {
    /// Aligned memory, once a thread has written past the cache.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A copy in memory from which it can be written past the cache as it is, with room for `whole` bytes in all.
pub fn aligned_copy(data: &[u8], whole: usize) -> Bytes {
    let mut copy: Vec<u8> = Vec::with_capacity(whole.max(data.len()) + ALIGNED);
    let start = copy.as_ptr().align_offset(ALIGNED);
    copy.resize(start, 0);
    copy.extend_from_slice(data);
    Bytes::from(copy).slice(start..)
}

/// Whether so many bytes at `offset` of a file can be written past the cache, where the filesystem can do that.
pub fn fits_past_cache(offset: u64, length: usize) -> bool {
    offset.is_multiple_of(ALIGNED as u64) && length.is_multiple_of(ALIGNED)
}

/// The second descriptor of a file, opened when it is needed; none where the filesystem knows no such writes.
#[derive(Debug, Default)]
pub(super) struct Direct(OnceLock<Option<File>>);

impl Direct {
    /// Writes all of `buf` at `offset` of `file`, always the same one; false if it has to be written in another way.
    pub(super) fn write(&self, file: &File, buf: &[u8], offset: u64) -> io::Result<bool> {
        if !fits_past_cache(offset, buf.len()) {
            return Ok(false);
        }
        let Some(direct) = self.0.get_or_init(|| open(file).ok()) else {
            return Ok(false);
        };
        match write_aligned(direct, buf, offset) {
            // A disk that wants more than these multiples.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(false),
            written => written.map(|()| true),
        }
    }
}

fn open(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut how = OpenOptions::new();
    how.write(true).custom_flags(libc::O_DIRECT).open(path)
}

fn write_aligned(direct: &File, buf: &[u8], offset: u64) -> io::Result<()> {
    if buf.as_ptr().addr().is_multiple_of(ALIGNED) {
        return direct.write_all_at(buf, offset);
    }
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(PIECE + ALIGNED, 0);
        let start = buffer.as_ptr().align_offset(ALIGNED);
        let aligned = &mut buffer[start..start + PIECE];
        let mut at = offset;
        for piece in buf.chunks(PIECE) {
            aligned[..piece.len()].copy_from_slice(piece);
            direct.write_all_at(&aligned[..piece.len()], at)?;
            at += piece.len() as u64;
        }
        Ok(())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::path::Path;

    use crate::disk::{Disk, OpenMode, RealDisk};

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n / 7) as u8).collect()
    }

    fn pages_written_past_the_cache_are_read(dir: &Path) {
        let path = dir.join("f");
        let file = RealDisk.open(&path, OpenMode::CreateNew).unwrap();
        let data = bytes((3 << 20) + 4096 + 1);
        let cut = [0, 4096, 5000, 8192, data.len() - 1, data.len()];
        // Neither the memory nor every length is aligned, and what was written before is still in the cache.
        for pair in cut.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            file.write_past_cache(&data[from..to], from as u64).unwrap();
        }
        let mut read = vec![0; data.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == data);
        file.sync_data().unwrap();
        assert!(std::fs::read(&path).unwrap() == data);
    }

    #[test]
    fn what_is_written_past_the_cache_is_read_as_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        pages_written_past_the_cache_are_read(dir.path());
    }

    #[test]
    fn in_memory_filesystems_serve_such_writes_in_their_own_way() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        pages_written_past_the_cache_are_read(dir.path());
    }
}
