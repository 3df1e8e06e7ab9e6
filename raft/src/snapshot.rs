//! A copy of a state machine as files in a directory, made for a member that is too far behind.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ozone_common::disk::{Disk, create_dir_durably};
use uuid::Uuid;

/// The directory of a copy; removed with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFiles(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Err(cause) = self.disk.remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %cause, "copy of the state not removed");
        }
    }
}

impl SnapshotFiles {
    pub(crate) fn dir(&self) -> &Path {
        &self.0.dir
    }
}

/// `<group>/snapshot/`: where copies lie while they are sent or received. Nothing in it outlives
/// the process.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotDir {
    pub(crate) disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl SnapshotDir {
    /// Empties `dir`, or creates it.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> io::Result<Self> {
        create_dir_durably(&*disk, &dir)?;
        for entry in disk.list(&dir)? {
            match entry.info.is_dir {
                true => disk.remove_dir_all(&entry.path)?,
                false => disk.remove_file(&entry.path)?,
            }
        }
        Ok(Self { disk, dir })
    }

    /// A new, empty directory.
    pub(crate) fn create(&self, purpose: &str) -> io::Result<SnapshotFiles> {
        let dir = self.dir.join(format!("{purpose}-{}", Uuid::new_v4()));
        self.disk.create_dir_all(&dir)?;
        Ok(SnapshotFiles(Arc::new(Owned {
            disk: self.disk.clone(),
            dir,
        })))
    }
}
