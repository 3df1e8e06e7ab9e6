//! How the blocks of a container lie in files.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ozone_common::disk::{Disk, DiskFile, OpenMode};
use parking_lot::Mutex;

/// Files of the blocks of one container. All calls block.
pub trait ContainerLayout: Send + Sync + Debug {
    /// Opens the bytes of a block for writing, made if missing.
    fn create_block(&self, local: i64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens the bytes of a block for reading; none if there are none.
    fn open_block(&self, local: i64) -> io::Result<Option<Arc<dyn DiskFile>>>;

    /// Makes `to`, which must not exist, a copy of the bytes of a block.
    fn copy_block(&self, local: i64, to: &Path) -> io::Result<()>;

    /// Puts the file `from`, of the same filesystem, in the place of the bytes of a block.
    fn replace_block(&self, local: i64, from: &Path) -> io::Result<()>;

    /// Blocks created so far are found again after a power cut when this returns.
    fn sync_names(&self) -> io::Result<()>;

    /// Removes the bytes of a block; gives back how many there were. Fine when there are none.
    fn remove_block(&self, local: i64) -> io::Result<u64>;

    /// Bytes of a block on disk, committed or not; none if it has no file.
    fn stored_len(&self, local: i64) -> io::Result<Option<u64>>;

    /// Every block that has bytes here.
    fn list_blocks(&self) -> io::Result<Vec<i64>>;
}

/// Apache Ozone's layout: `chunks/<localID>.block`, one file for each block.
#[derive(Debug)]
pub struct FilePerBlock {
    disk: Arc<dyn Disk>,
    chunks: PathBuf,
    names: SharedSync,
}

impl FilePerBlock {
    /// The files in the directory `chunks`.
    pub fn new(disk: Arc<dyn Disk>, chunks: PathBuf) -> Self {
        Self {
            disk,
            chunks,
            names: SharedSync::default(),
        }
    }

    fn path(&self, local: i64) -> PathBuf {
        self.chunks.join(format!("{local}.block"))
    }
}

fn none_if_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl ContainerLayout for FilePerBlock {
    fn create_block(&self, local: i64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.path(local), OpenMode::OpenOrCreate)
    }

    fn open_block(&self, local: i64) -> io::Result<Option<Arc<dyn DiskFile>>> {
        none_if_missing(self.disk.open(&self.path(local), OpenMode::Read))
    }

    fn copy_block(&self, local: i64, to: &Path) -> io::Result<()> {
        self.disk.copy(&self.path(local), to)
    }

    fn replace_block(&self, local: i64, from: &Path) -> io::Result<()> {
        self.disk.rename(from, &self.path(local))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.names.run(|| self.disk.sync_dir(&self.chunks))
    }

    fn remove_block(&self, local: i64) -> io::Result<u64> {
        let path = self.path(local);
        let Some(info) = none_if_missing(self.disk.metadata(&path))? else {
            return Ok(0);
        };
        none_if_missing(self.disk.remove_file(&path))?;
        Ok(info.len)
    }

    fn stored_len(&self, local: i64) -> io::Result<Option<u64>> {
        Ok(none_if_missing(self.disk.metadata(&self.path(local)))?.map(|info| info.len))
    }

    fn list_blocks(&self) -> io::Result<Vec<i64>> {
        let entries = self.disk.list(&self.chunks)?;
        let local = |name: &str| name.strip_suffix(".block")?.parse().ok();
        Ok(entries
            .iter()
            .filter_map(|entry| local(&entry.name))
            .collect())
    }
}

/// Work that serves everyone who asked before it started, such as the fsync of a directory that
/// many new files share.
#[derive(Debug, Default)]
pub struct SharedSync {
    asked: Mutex<u64>,
    done: Mutex<u64>,
}

impl SharedSync {
    /// Returns when `work` has run from start to end after this call, whoever ran it.
    pub fn run(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mine = {
            let mut asked = self.asked.lock();
            *asked += 1;
            *asked
        };
        let mut done = self.done.lock();
        if *done >= mine {
            return Ok(());
        }
        let covers = *self.asked.lock();
        work()?;
        *done = covers;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ozone_common::disk::RealDisk;

    use super::*;

    #[test]
    fn blocks_are_files_that_can_be_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let layout = FilePerBlock::new(Arc::new(RealDisk), dir.path().to_path_buf());
        assert!(layout.open_block(5).unwrap().is_none());
        layout.create_block(5).unwrap().write_at(b"abc", 0).unwrap();
        layout.create_block(5).unwrap();
        layout.sync_names().unwrap();
        assert_eq!(layout.stored_len(5).unwrap(), Some(3));
        assert_eq!(layout.list_blocks().unwrap(), [5]);
        assert_eq!(layout.remove_block(5).unwrap(), 3);
        assert_eq!(layout.remove_block(5).unwrap(), 0);
        assert_eq!(layout.stored_len(5).unwrap(), None);
    }

    #[test]
    fn those_who_wait_share_one_run() {
        let (sync, runs, start) = (SharedSync::default(), AtomicUsize::new(0), Barrier::new(9));
        std::thread::scope(|scope| {
            let first = sync.done.lock();
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let work = || {
                        runs.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    };
                    sync.run(work).unwrap();
                });
            }
            start.wait();
            while *sync.asked.lock() < 8 {
                std::thread::yield_now();
            }
            drop(first);
        });
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_run_serves_nobody() {
        let sync = SharedSync::default();
        assert!(sync.run(|| Err(io::Error::other("no"))).is_err());
        let mut ran = false;
        sync.run(|| {
            ran = true;
            Ok(())
        })
        .unwrap();
        assert!(ran);
    }
}
