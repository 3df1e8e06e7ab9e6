//! Sessions: what a mount or another writer holds (opens, blocks) belongs to one, and is given up
//! with it.

use ozone_proto::namespace::{
    BlockSource, CloseSessionRequest, CloseSessionResponse, DropOrphansRequest, OpenSessionRequest,
    OpenSessionResponse, ReleaseBlocksRequest, ReleaseBlocksResponse, ReserveIdsRequest,
    ReserveIdsResponse, SessionRow,
};

use ozone_proto::om::om_request::Body;

use crate::apply::Apply;
use crate::error::{Result, refuse};
use crate::namespace::ROW_VERSION;
use crate::rows::Rows;
use crate::{block_refs, tables, unlink};

/// Silence after which a session is given up, milliseconds.
pub const LEASE_MS: u64 = 10_000;
/// Object ids that a session reserves at a time, at most.
const MAX_IDS: u64 = 1_000_000;
/// Rows that one command gives up at most; the leader asks again.
const PAGE: usize = 1000;

/// Applies OpenSession.
pub fn open(
    request: &OpenSessionRequest,
    client: &[u8],
    apply: &mut Apply<'_>,
) -> Result<OpenSessionResponse> {
    let id = apply.next_id()?;
    let row = SessionRow {
        version: ROW_VERSION,
        id,
        client_id: client.to_vec().into(),
        description: request.description.clone(),
        created_ms: apply.time_ms(),
        ..Default::default()
    };
    apply.put(tables::SESSION, &tables::number_key(&[id]), &row);
    Ok(OpenSessionResponse {
        session: id,
        lease_ms: LEASE_MS,
    })
}

/// Applies ReserveIds: the asking session gets object ids to give to what it makes.
pub fn reserve_ids(
    request: &ReserveIdsRequest,
    apply: &mut Apply<'_>,
) -> Result<ReserveIdsResponse> {
    let count = request.count;
    if !(1..=MAX_IDS).contains(&count) {
        let message = format!("{count} object ids: 1 to {MAX_IDS} can be reserved at a time");
        return Err(refuse::invalid(message));
    }
    let mut row = asking(apply)?;
    let first = apply.next_ids(count)?;
    (row.next_id, row.last_id) = (first, first + count);
    apply.put(tables::SESSION, &tables::number_key(&[row.id]), &row);
    Ok(ReserveIdsResponse { first, count })
}

/// The object id of something new: `wanted`, of those that the asking session has reserved, or the next
/// that is free when that is 0.
pub fn give_id(apply: &mut Apply<'_>, wanted: u64) -> Result<u64> {
    if wanted == 0 {
        return apply.next_id();
    }
    let mut row = asking(apply)?;
    if !(row.next_id..row.last_id).contains(&wanted) {
        return Err(refuse::invalid(format!(
            "object id {wanted} is not session {}'s to give: {} to {} are",
            row.id, row.next_id, row.last_id
        )));
    }
    row.next_id = wanted + 1;
    apply.put(tables::SESSION, &tables::number_key(&[row.id]), &row);
    Ok(wanted)
}

fn asking(apply: &Apply<'_>) -> Result<SessionRow> {
    let session = apply.given.session;
    apply
        .get(tables::SESSION, &tables::number_key(&[session]))?
        .ok_or_else(|| refuse::session(session))
}

/// The session that a request is about, 0 for none.
pub fn named_by(body: &Body) -> u64 {
    match body {
        Body::KeepAlive(r) => r.session,
        Body::RenewLeases(r) => r.session,
        Body::CloseSession(r) => r.session,
        Body::Release(r) => r.session,
        Body::ReleaseBlocks(r) => r.session,
        Body::AllocateBlocks(r) => r.session,
        Body::Open(r) => r.session,
        Body::Create(r) => r.session,
        Body::Commit(r) => r.session,
        Body::DropOrphans(r) => r.session,
        Body::Fold(r) => r.session,
        Body::CommitKeyRequest(r) => r.key_args.session(),
        Body::PutKey(r) => r.key_args.session(),
        Body::CommitMultiPartUploadRequest(r) => r.key_args.session(),
        // Each part names its own.
        Body::Batch(_) => 0,
        Body::CreateVolumeRequest(_)
        | Body::InfoVolumeRequest(_)
        | Body::DeleteVolumeRequest(_)
        | Body::ListVolumeRequest(_)
        | Body::CreateBucketRequest(_)
        | Body::InfoBucketRequest(_)
        | Body::DeleteBucketRequest(_)
        | Body::ListBucketsRequest(_)
        | Body::CreateKeyRequest(_)
        | Body::LookupKeyRequest(_)
        | Body::RenameKeyRequest(_)
        | Body::DeleteKeyRequest(_)
        | Body::ListKeysRequest(_)
        | Body::AllocateBlockRequest(_)
        | Body::GetKeyInfoRequest(_)
        | Body::ReadKey(_)
        | Body::ListObjects(_)
        | Body::CopyKey(_)
        | Body::PutObjectTaggingRequest(_)
        | Body::InitiateMultiPartUploadRequest(_)
        | Body::CompleteMultiPartUploadRequest(_)
        | Body::AbortMultiPartUploadRequest(_)
        | Body::ListMultiPartUploadPartsRequest(_)
        | Body::ListMultipartUploadsRequest(_)
        | Body::GetS3SecretRequest(_)
        | Body::SetS3SecretRequest(_)
        | Body::RevokeS3SecretRequest(_)
        | Body::LookupS3Secret(_)
        | Body::CreateSnapshotRequest(_)
        | Body::ListSnapshotRequest(_)
        | Body::SnapshotInfoRequest(_)
        | Body::DeleteSnapshotRequest(_)
        | Body::RenameSnapshotRequest(_)
        | Body::SnapshotDiffRequest(_)
        | Body::SubmitSnapshotDiffRequest(_)
        | Body::ListSnapshotDiffJobRequest(_)
        | Body::CancelSnapshotDiffRequest(_)
        | Body::Lookup(_)
        | Body::GetAttr(_)
        | Body::ReadDir(_)
        | Body::GetExtents(_)
        | Body::StatFs(_)
        | Body::Link(_)
        | Body::Unlink(_)
        | Body::Rename(_)
        | Body::SetAttr(_)
        | Body::OpenSession(_)
        | Body::ReserveIds(_)
        | Body::Purge(_)
        | Body::ReclaimSnapshot(_)
        | Body::ServiceListRequest(_) => 0,
    }
}

/// Applies CloseSession.
pub fn close(request: &CloseSessionRequest, apply: &mut Apply<'_>) -> Result<CloseSessionResponse> {
    end(apply, request.session)?;
    Ok(CloseSessionResponse {})
}

/// Gives up everything that the session holds.
pub fn end(apply: &mut Apply<'_>, session: u64) -> Result<()> {
    let prefix = tables::number_key(&[session]);
    apply.delete(tables::SESSION, &prefix);
    loop {
        let orphans = apply.scan(tables::SESSION_ORPHAN, &prefix, None, PAGE)?;
        for (key, _) in &orphans {
            if let Some([_, object]) = tables::parse_number_key::<2>(key) {
                unlink::release_orphan(apply, session, object)?;
            }
        }
        if orphans.len() < PAGE {
            break;
        }
    }
    loop {
        let blocks = apply.scan(tables::OPEN_BLOCK, &prefix, None, PAGE)?;
        for (key, _) in &blocks {
            if let Some([_, container, local]) = tables::parse_number_key::<3>(key) {
                block_refs::close_block(apply, session, container, local)?;
            }
        }
        if blocks.len() < PAGE {
            return Ok(());
        }
    }
}

/// Applies DropOrphans: the session has closed these inodes.
pub fn drop_orphans(
    request: &DropOrphansRequest,
    apply: &mut Apply<'_>,
) -> Result<CloseSessionResponse> {
    for object in &request.object_ids {
        unlink::release_orphan(apply, request.session, *object)?;
    }
    Ok(CloseSessionResponse {})
}

/// Applies ReleaseBlocks.
pub fn release_blocks(
    request: &ReleaseBlocksRequest,
    apply: &mut Apply<'_>,
) -> Result<ReleaseBlocksResponse> {
    for BlockSource {
        container, local, ..
    } in &request.blocks
    {
        block_refs::close_block(apply, request.session, *container, *local)?;
    }
    Ok(ReleaseBlocksResponse {})
}
