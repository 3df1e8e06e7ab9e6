//! Threads for work that blocks, bounded per disk.
//!
//! Reads, writes and fsyncs of a volume each have their own number of threads at most, so that a
//! slow fsync never keeps a read from starting, and many fsyncs overlap.

use tokio::sync::Semaphore;

use crate::error::{OpError, OpResult};

/// Kind of disk work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Reads of files and rows.
    Read,
    /// Writes into the page cache.
    Write,
    /// Work that waits for the disk.
    Sync,
}

/// The lanes of one volume.
#[derive(Debug)]
pub struct IoLanes {
    read: Semaphore,
    write: Semaphore,
    sync: Semaphore,
}

impl Default for IoLanes {
    fn default() -> Self {
        Self {
            read: Semaphore::new(32),
            write: Semaphore::new(16),
            sync: Semaphore::new(64),
        }
    }
}

impl IoLanes {
    /// Runs `work` on a thread that may block, once the lane has room.
    pub async fn run<T, F>(&self, lane: Lane, work: F) -> OpResult<T>
    where
        T: Send + 'static,
        F: FnOnce() -> OpResult<T> + Send + 'static,
    {
        let lane = match lane {
            Lane::Read => &self.read,
            Lane::Write => &self.write,
            Lane::Sync => &self.sync,
        };
        let _permit = lane
            .acquire()
            .await
            .map_err(|_| OpError::internal("shutting down"))?;
        match ozone_kv::blocking(work).await {
            Ok(done) => done,
            Err(error) => Err(OpError::internal(error.to_string())),
        }
    }
}
