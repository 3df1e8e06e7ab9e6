//! The operations that change the namespace, one file each: its apply, and where the leader has
//! something to decide beforehand, its prepare. This file is the registry: one line a verb.

pub mod allocate_blocks;
pub mod batch;
pub mod bucket_create;
pub mod bucket_delete;
pub mod commit;
pub mod create;
pub mod fold;
pub mod key_commit;
pub mod key_copy;
pub mod key_create;
pub mod key_delete;
pub mod key_put;
pub mod key_rename;
pub mod key_tags;
pub mod link;
pub mod multipart;
pub mod purge;
pub mod rename;
pub mod s3_secret;
pub mod session;
pub mod set_attr;
pub mod snapshot_create;
pub mod snapshot_delete;
pub mod snapshot_reclaim;
pub mod snapshot_rename;
pub mod unlink;
pub mod volume_create;
pub mod volume_delete;

use ozone_proto::om::OmRequest;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;

use crate::apply::Apply;
use crate::error::{Result, refuse};
use crate::leader::Leader;
use crate::removals::Removal;
use crate::state_machine::client_of;

/// Whether the request changes the namespace, and so goes through the log.
pub fn is_change(body: &Body) -> bool {
    !matches!(
        body,
        Body::InfoVolumeRequest(_)
            | Body::ListVolumeRequest(_)
            | Body::InfoBucketRequest(_)
            | Body::ListBucketsRequest(_)
            | Body::LookupKeyRequest(_)
            | Body::ListKeysRequest(_)
            | Body::GetKeyInfoRequest(_)
            | Body::ReadKey(_)
            | Body::ListMultiPartUploadPartsRequest(_)
            | Body::ListMultipartUploadsRequest(_)
            | Body::ListObjects(_)
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
            | Body::CancelSnapshotDiffRequest(_)
    )
}

/// Whether only the OM itself may send the request.
pub fn is_internal(body: &Body) -> bool {
    matches!(
        body,
        Body::DropOrphans(_) | Body::Purge(_) | Body::Fold(_) | Body::ReclaimSnapshot(_)
    ) || matches!(body, Body::CloseSession(close) if close.expired)
}

/// Leader: decides, for a request of `session`, what apply must not (who has a file open, which blocks are free).
/// With what is returned, nobody opens the file that is about to lose its name.
pub async fn prepare<'a>(
    body: &mut Body,
    session: u64,
    leader: &'a Leader,
) -> Result<Option<Removal<'a>>> {
    let (removal, slot) = match body {
        Body::Unlink(r) => {
            let at = leader.child(r.dir, r.name.to_vec()).await?;
            (leader.removal(at, session), &mut r.keep)
        }
        Body::Rename(r) => {
            let at = leader.child(r.to_dir, r.to_name.to_vec()).await?;
            (leader.removal(at, session), &mut r.keep)
        }
        Body::DeleteKeyRequest(r) => {
            let at = leader.key(&r.key_args).await?;
            (leader.removal(at, session), &mut r.keep)
        }
        Body::CommitKeyRequest(r) => {
            let at = leader.key(&r.key_args).await?;
            (leader.removal(at, session), &mut r.key_args.keep)
        }
        Body::CopyKey(r) => {
            let at = leader.key(&r.key_args).await?;
            (leader.removal(at, session), &mut r.key_args.keep)
        }
        Body::CompleteMultiPartUploadRequest(r) => {
            let at = leader.key(&r.key_args).await?;
            (leader.removal(at, session), &mut r.key_args.keep)
        }
        Body::PutKey(r) => {
            let at = leader.key(&r.key_args).await?;
            (leader.removal(at, session), &mut r.key_args.keep)
        }
        other => {
            prepare_in_place(other, leader).await?;
            return Ok(None);
        }
    };
    let (removal, keep) = removal.unzip();
    *slot = keep;
    Ok(removal)
}

async fn prepare_in_place(body: &mut Body, leader: &Leader) -> Result<()> {
    match body {
        Body::AllocateBlocks(r) => allocate_blocks::prepare(r, leader).await?,
        Body::Batch(r) => batch::prepare(r, leader),
        Body::CreateSnapshotRequest(r) => snapshot_create::prepare(r, leader).await?,
        Body::RenameSnapshotRequest(_) => snapshot_rename::prepare(leader)?,
        Body::GetS3SecretRequest(r) => s3_secret::prepare(r, leader),
        Body::InitiateMultiPartUploadRequest(r) => multipart::prepare(r, leader),
        Body::Commit(r) => leader.opens.correct(r.r#ref.as_mut()),
        Body::SetAttr(r) => leader.opens.correct(r.r#ref.as_mut()),
        _ => {}
    }
    Ok(())
}

/// Applies a change; a batch is applied by [`batch::apply`], part by part.
pub fn apply(request: &OmRequest, ctx: &mut Apply<'_>) -> Result<Reply> {
    let Some(body) = &request.body else {
        return Err(refuse::invalid(
            "the request has no body that this version knows",
        ));
    };
    match body {
        Body::CreateVolumeRequest(r) => {
            volume_create::apply(r, ctx).map(Reply::CreateVolumeResponse)
        }
        Body::DeleteVolumeRequest(r) => {
            volume_delete::apply(r, ctx).map(Reply::DeleteVolumeResponse)
        }
        Body::CreateBucketRequest(r) => {
            bucket_create::apply(r, ctx).map(Reply::CreateBucketResponse)
        }
        Body::DeleteBucketRequest(r) => {
            bucket_delete::apply(r, ctx).map(Reply::DeleteBucketResponse)
        }
        Body::CreateKeyRequest(r) => key_create::apply(r, ctx).map(Reply::CreateKeyResponse),
        Body::CommitKeyRequest(r) => key_commit::apply(r, ctx).map(Reply::CommitKeyResponse),
        Body::DeleteKeyRequest(r) => key_delete::apply(r, ctx).map(Reply::DeleteKeyResponse),
        Body::RenameKeyRequest(r) => key_rename::apply(r, ctx).map(Reply::RenameKeyResponse),
        Body::PutKey(r) => key_put::apply(r, ctx).map(Reply::PutKey),
        Body::CopyKey(r) => key_copy::apply(r, ctx).map(Reply::CopyKey),
        Body::PutObjectTaggingRequest(r) => {
            key_tags::apply(&r.key_args, ctx).map(Reply::PutObjectTaggingResponse)
        }
        Body::InitiateMultiPartUploadRequest(r) => {
            multipart::initiate(r, ctx).map(Reply::InitiateMultiPartUploadResponse)
        }
        Body::CommitMultiPartUploadRequest(r) => {
            multipart::commit_part(r, ctx).map(Reply::CommitMultiPartUploadResponse)
        }
        Body::CompleteMultiPartUploadRequest(r) => {
            multipart::complete(r, ctx).map(Reply::CompleteMultiPartUploadResponse)
        }
        Body::AbortMultiPartUploadRequest(r) => {
            multipart::abort(r, ctx).map(Reply::AbortMultiPartUploadResponse)
        }
        Body::GetS3SecretRequest(r) => s3_secret::get(r, ctx).map(Reply::GetS3SecretResponse),
        Body::SetS3SecretRequest(r) => s3_secret::set(r, ctx).map(Reply::SetS3SecretResponse),
        Body::RevokeS3SecretRequest(r) => {
            s3_secret::revoke(r, ctx).map(Reply::RevokeS3SecretResponse)
        }
        Body::Create(r) => create::apply(r, ctx).map(Reply::Create),
        Body::Link(r) => link::apply(r, ctx).map(Reply::Link),
        Body::Unlink(r) => unlink::apply(r, ctx).map(Reply::Unlink),
        Body::Rename(r) => rename::apply(r, ctx).map(Reply::Rename),
        Body::SetAttr(r) => set_attr::apply(r, ctx).map(Reply::SetAttr),
        Body::Commit(r) => commit::apply(r, ctx).map(Reply::Commit),
        Body::AllocateBlocks(r) => allocate_blocks::apply(r, ctx).map(Reply::AllocateBlocks),
        Body::OpenSession(r) => session::open(r, client_of(request), ctx).map(Reply::OpenSession),
        Body::CloseSession(r) => session::close(r, ctx).map(Reply::CloseSession),
        Body::DropOrphans(r) => session::drop_orphans(r, ctx).map(Reply::CloseSession),
        Body::Purge(r) => purge::apply(r, ctx).map(Reply::Purge),
        Body::Fold(r) => fold::apply(r, ctx).map(Reply::Fold),
        Body::ReserveIds(r) => session::reserve_ids(r, ctx).map(Reply::ReserveIds),
        Body::ReleaseBlocks(r) => session::release_blocks(r, ctx).map(Reply::ReleaseBlocks),
        Body::CreateSnapshotRequest(r) => {
            snapshot_create::apply(r, ctx).map(Reply::CreateSnapshotResponse)
        }
        Body::DeleteSnapshotRequest(r) => {
            snapshot_delete::apply(r, ctx).map(Reply::DeleteSnapshotResponse)
        }
        Body::RenameSnapshotRequest(r) => {
            snapshot_rename::apply(r, ctx).map(Reply::RenameSnapshotResponse)
        }
        Body::ReclaimSnapshot(r) => snapshot_reclaim::apply(r, ctx).map(Reply::ReclaimSnapshot),
        _ => Err(refuse::invalid(
            "the request cannot be applied: it changes nothing, or is not served yet",
        )),
    }
}
