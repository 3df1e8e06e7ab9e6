//! The disk seam: every durable byte outside RocksDB goes through [`Disk`], so that tests can put a
//! [`FaultyDisk`] in the place of [`RealDisk`] and prove what survives a failed fsync, a full disk or
//! a power cut.
//!
//! The rules are those of POSIX, and callers rely on nothing beyond them: a write is durable after
//! [`DiskFile::sync_data`], a name (create, rename, remove) after [`Disk::sync_dir`] of its
//! directory. All calls block.

mod direct;
mod faulty;
mod large_pages;
mod real;
mod replace;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use direct::{PAST_CACHE_FROM, aligned_copy, fits_past_cache};
pub use faulty::{Cut, FaultyDisk};
pub use real::RealDisk;
pub use replace::{TMP_SUFFIX, create_dir_durably, replace_file};

/// How to open a file. All modes but [`Read`](OpenMode::Read) also allow reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; writes fail.
    Read,
    /// Must exist.
    Write,
    /// Must not exist.
    CreateNew,
    /// Created when missing, kept as it is otherwise.
    OpenOrCreate,
    /// Created when missing, emptied otherwise.
    Truncate,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// Bytes of a file.
    pub len: u64,
    /// Bytes that the file takes on disk, which holes make less than `len`.
    pub allocated: u64,
    /// A directory rather than a file.
    pub is_dir: bool,
    /// Last change of the content.
    pub modified: SystemTime,
    /// The device that holds it: paths with equal values share its bandwidth and its fsyncs.
    pub device: u64,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Last part of the path.
    pub name: String,
    /// Whole path.
    pub path: PathBuf,
    /// What it is.
    pub info: FileInfo,
}

/// Room on the filesystem that holds a path, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Size of the filesystem.
    pub total: u64,
    /// What an unprivileged process may still use.
    pub available: u64,
}

/// An open file. Positions are explicit, so one handle may serve many threads.
#[allow(clippy::len_without_is_empty)]
pub trait DiskFile: Send + Sync + Debug {
    /// Reads at `offset`; fewer bytes than asked for mean the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bufs`, one after the other, from `offset` on.
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// What was written is durable when this returns. After a failure nothing is known of what was
    /// written since the last success, and a later success proves nothing about it.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or extends with zeros (a hole).
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// A descriptor of the file that another process can be given; none if it is no file of the
    /// operating system.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Writes zeros over `[offset, offset + len)`, so that after a sync later writes there change
    /// nothing but data.
    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        const BLOCK: usize = 1 << 20;
        let zeros = vec![0u8; BLOCK.min(usize::try_from(len).unwrap_or(BLOCK))];
        let mut done = 0;
        while done < len {
            let n = usize::try_from(len - done).map_or(zeros.len(), |left| left.min(zeros.len()));
            self.write_at(&zeros[..n], offset + done)?;
            done += n as u64;
        }
        Ok(())
    }

    /// Writes all of `buf` at `offset`.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write_vectored_at(&[IoSlice::new(buf)], offset)
    }

    /// As `write_at`, and keeps what was written out of memory where the disk can: for what is long and will
    /// hardly be read soon.
    fn write_past_cache(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(buf, offset)
    }

    /// Brings bytes that will be read into memory, where that helps.
    fn populate(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    /// Fills `buf` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let n = self.read_at(buf, offset)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf = &mut buf[n..];
            offset += n as u64;
        }
        Ok(())
    }
}

/// A tree of files.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file or directory, replacing a file at `to` atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes `to`, which must not exist, a file with the content of `from`.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        const PIECE: usize = 1 << 20;
        let (from, to) = (
            self.open(from, OpenMode::Read)?,
            self.open(to, OpenMode::CreateNew)?,
        );
        let (mut piece, mut at) = (vec![0; PIECE], 0);
        loop {
            let read = from.read_at(&mut piece, at)?;
            if read == 0 {
                return Ok(());
            }
            to.write_at(&piece[..read], at)?;
            at += read as u64;
        }
    }

    /// Gives the file at `from` a second name.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all in it. Fine when there is none.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and those above it. Fine when it exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// What is at `path`.
    fn metadata(&self, path: &Path) -> io::Result<FileInfo>;

    /// Names created, renamed and removed in `dir` are durable when this returns.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Room left where `path` is.
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;

    /// Whether something is at `path`.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut content = vec![0; len];
        file.read_exact_at(&mut content, 0)?;
        Ok(content)
    }
}
