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

/// What gives room back goes on, and so does what is needed to come to that: a session, and the right to delete.
fn takes_room(body: &Body) -> bool {
    match body {
        Body::CreateVolumeRequest(_)
        | Body::CreateBucketRequest(_)
        | Body::CreateKeyRequest(_)
        | Body::CommitKeyRequest(_)
        | Body::AllocateBlockRequest(_)
        | Body::PutKey(_)
        | Body::CopyKey(_)
        | Body::InitiateMultiPartUploadRequest(_)
        | Body::CommitMultiPartUploadRequest(_)
        | Body::CompleteMultiPartUploadRequest(_)
        | Body::SetS3SecretRequest(_)
        | Body::CreateSnapshotRequest(_)
        | Body::RenameSnapshotRequest(_)
        | Body::Create(_)
        | Body::Link(_)
        | Body::AllocateBlocks(_)
        // For what mounts hold back, of which they are given nothing meanwhile.
        | Body::ReserveIds(_) => true,
        // A file is cut, or somebody is let in to delete.
        Body::SetAttr(r) => {
            let lets_in = r.mode.is_some() || r.uid.is_some() || r.gid.is_some();
            let frees = r.size.is_some() || !r.remove_xattrs.is_empty();
            !r.set_xattrs.is_empty() || !(frees || lets_in)
        }
        Body::Commit(r) => r.holes.is_empty() || !r.extents.is_empty(),
        Body::PutObjectTaggingRequest(r) => !r.key_args.tags.is_empty(),
        Body::GetS3SecretRequest(r) => r.create_if_not_exist(),
        Body::DeleteVolumeRequest(_)
        | Body::DeleteBucketRequest(_)
        | Body::DeleteKeyRequest(_)
        | Body::Unlink(_)
        // Over what is replaced, into the trash, or out of the way of `rmdir`.
        | Body::Rename(_)
        | Body::RenameKeyRequest(_)
        | Body::AbortMultiPartUploadRequest(_)
        | Body::DeleteSnapshotRequest(_)
        | Body::RevokeS3SecretRequest(_)
        | Body::OpenSession(_)
        | Body::CloseSession(_)
        | Body::ReleaseBlocks(_)
        | Body::Batch(_) => false,
        // The OM's own.
        Body::DropOrphans(_) | Body::Purge(_) | Body::Fold(_) | Body::ReclaimSnapshot(_) => false,
        // These only look.
        Body::InfoVolumeRequest(_)
        | Body::ListVolumeRequest(_)
        | Body::InfoBucketRequest(_)
        | Body::ListBucketsRequest(_)
        | Body::LookupKeyRequest(_)
        | Body::ListKeysRequest(_)
        | Body::GetKeyInfoRequest(_)
        | Body::ReadKey(_)
        | Body::ListObjects(_)
        | Body::ListMultiPartUploadPartsRequest(_)
        | Body::ListMultipartUploadsRequest(_)
        | Body::LookupS3Secret(_)
        | Body::ServiceListRequest(_)
        | Body::Lookup(_)
        | Body::GetAttr(_)
        | Body::ReadDir(_)
        | Body::GetExtents(_)
        | Body::Open(_)
        | Body::Release(_)
        | Body::StatFs(_)
        | Body::KeepAlive(_)
        | Body::RenewLeases(_)
        | Body::ListSnapshotRequest(_)
        | Body::SnapshotInfoRequest(_)
        | Body::SnapshotDiffRequest(_)
        | Body::SubmitSnapshotDiffRequest(_)
        | Body::ListSnapshotDiffJobRequest(_)
        | Body::CancelSnapshotDiffRequest(_) => false,
    }
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
    use ozone_proto::hdds::KeyValue;
    use ozone_proto::namespace::*;
    use ozone_proto::om::*;

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

    #[test]
    fn without_room_what_leads_to_a_deletion_goes_on() {
        for body in [
            Body::OpenSession(Default::default()),
            Body::CloseSession(Default::default()),
            Body::Rename(Default::default()),
            Body::RenameKeyRequest(Default::default()),
            Body::DeleteSnapshotRequest(Default::default()),
            Body::AbortMultiPartUploadRequest(Default::default()),
            Body::RevokeS3SecretRequest(Default::default()),
            Body::PutObjectTaggingRequest(Default::default()),
            Body::GetS3SecretRequest(GetS3SecretRequest {
                create_if_not_exist: Some(false),
                ..Default::default()
            }),
            Body::SetAttr(SetAttrRequest {
                size: Some(0),
                ..Default::default()
            }),
            Body::SetAttr(SetAttrRequest {
                mode: Some(0o700),
                ..Default::default()
            }),
            Body::Commit(CommitRequest {
                holes: vec![Hole::default()],
                ..Default::default()
            }),
        ] {
            assert!(!takes_room(&body), "{body:?}");
        }
    }

    #[test]
    fn without_room_nothing_else_is_written() {
        let tagged = KeyArgs {
            tags: vec![KeyValue::default()],
            ..Default::default()
        };
        for body in [
            Body::CompleteMultiPartUploadRequest(Default::default()),
            Body::CreateSnapshotRequest(Default::default()),
            Body::RenameSnapshotRequest(Default::default()),
            Body::ReserveIds(Default::default()),
            Body::GetS3SecretRequest(Default::default()),
            Body::SetS3SecretRequest(Default::default()),
            Body::PutObjectTaggingRequest(PutObjectTaggingRequest { key_args: tagged }),
            Body::SetAttr(SetAttrRequest {
                mtime_now: true,
                ..Default::default()
            }),
            Body::SetAttr(SetAttrRequest {
                size: Some(0),
                set_xattrs: vec![XAttr::default()],
                ..Default::default()
            }),
            Body::Commit(CommitRequest {
                holes: vec![Hole::default()],
                extents: vec![Extent::default()],
                ..Default::default()
            }),
            Body::Commit(Default::default()),
        ] {
            assert!(takes_room(&body), "{body:?}");
        }
    }
}
