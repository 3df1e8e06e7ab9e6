//! DeleteSnapshot: nobody finds it any more; what only it sees is given up in the background
//! ([`super::snapshot_reclaim`]).

use ozone_proto::namespace::SnapshotRow;
use ozone_proto::om::{DeleteSnapshotRequest, DeleteSnapshotResponse};

use crate::apply::Apply;
use crate::error::Result;
use crate::snapshots;
use crate::tables;

/// Applies the request.
pub fn apply(
    request: &DeleteSnapshotRequest,
    apply: &mut Apply<'_>,
) -> Result<DeleteSnapshotResponse> {
    let (volume, bucket, name) = (
        request.volume_name(),
        request.bucket_name(),
        request.snapshot_name(),
    );
    let row = snapshots::find(apply, volume, bucket, name)?;
    let there = snapshots::count(apply)?;
    snapshots::set_count(apply, there.saturating_sub(1));
    apply.delete(
        tables::SNAPSHOT_INFO,
        &snapshots::info_key(&row.volume, &row.bucket, name),
    );
    apply.delete(
        tables::SNAPSHOT,
        &snapshots::index_key(row.bucket_id, row.index),
    );
    let deleted = SnapshotRow {
        deleted_ms: apply.time_ms(),
        ..row
    };
    let key = tables::number_key(&[deleted.bucket_id, deleted.index]);
    apply.put(tables::SNAPSHOT_DELETED, &key, &deleted);
    Ok(DeleteSnapshotResponse {})
}
