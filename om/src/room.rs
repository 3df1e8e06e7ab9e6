//! Room on the disks of log and database. A log that cannot be written to ends the OM, so that changes
//! which need room are refused while there is little left; what gives room back goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::disk::Disk;
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::om::Status;
use ozone_proto::om::om_request::Body;
use tokio_util::sync::CancellationToken;

use crate::error::{OmError, Result};

/// Kept free: two segments of the log, a flush of the database, and what comes between two looks.
pub const RESERVE: u64 = 64 << 20;
/// Between looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Whether there is room, as last seen.
#[derive(Debug, Default)]
pub struct Room {
    low: AtomicBool,
}

impl Room {
    /// Whether there is little room.
    pub fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Refuses a request that needs room while there is little. A batch is let in: mounts have promised
    /// what is in it, it is bounded, and while there is little room they are given nothing to hold back.
    pub fn check(&self, body: &Body) -> Result<()> {
        if !self.is_low() || !takes_room(body) {
            return Ok(());
        }
        let message = "no space left on the disk of the OM: free some, or delete";
        Err(OmError::refused(Status::NoSpace, message))
    }
}

fn takes_room(body: &Body) -> bool {
    matches!(
        body,
        Body::CreateVolumeRequest(_)
            | Body::CreateBucketRequest(_)
            | Body::CreateKeyRequest(_)
            | Body::CommitKeyRequest(_)
            | Body::PutKey(_)
            | Body::CopyKey(_)
            | Body::InitiateMultiPartUploadRequest(_)
            | Body::CommitMultiPartUploadRequest(_)
            | Body::Create(_)
            | Body::Link(_)
            | Body::Commit(_)
            | Body::AllocateBlocks(_)
    )
}

/// Looks at the disks.
pub struct RoomWatch {
    /// What it tells.
    pub room: Arc<Room>,
    /// How it looks.
    pub disk: Arc<dyn Disk>,
    /// Where the log and the database are.
    pub dirs: Vec<PathBuf>,
}

#[async_trait]
impl Worker for RoomWatch {
    fn name(&self) -> String {
        "room-watch".to_owned()
    }

    async fn work(&mut self, _gate: &CancellationToken) -> Result<Next, WorkError> {
        let (disk, dirs) = (self.disk.clone(), self.dirs.clone());
        let low = ozone_kv::blocking(move || {
            let mut low = dirs
                .iter()
                .map(|dir| Ok(disk.space(dir)?.available < RESERVE));
            low.try_fold(false, |any, one: std::io::Result<bool>| {
                Ok::<_, std::io::Error>(any | one?)
            })
        });
        let low = low.await??;
        if self.room.low.swap(low, Ordering::Relaxed) != low {
            match low {
                true => {
                    tracing::error!(dirs = ?self.dirs, "little room left: changes that need room are refused")
                }
                false => tracing::info!("there is room again"),
            }
        }
        Ok(Next::After(INTERVAL))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {

    use super::*;

    #[test]
    fn without_room_only_what_needs_it_is_refused() {
        let room = Room::default();
        room.check(&Body::Create(Default::default())).unwrap();
        room.low.store(true, Ordering::Relaxed);
        let refused = room.check(&Body::Create(Default::default())).unwrap_err();
        assert!(refused.to_string().contains("space"), "{refused}");
        // Mounts have promised what is in it.
        room.check(&Body::Batch(Default::default())).unwrap();
        room.check(&Body::Unlink(Default::default())).unwrap();
        room.check(&Body::DeleteKeyRequest(Default::default()))
            .unwrap();
    }
}
