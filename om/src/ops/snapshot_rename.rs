//! RenameSnapshot: another name for what stays as it is.

use ozone_proto::namespace::SnapshotRow;
use ozone_proto::om::{RenameSnapshotRequest, RenameSnapshotResponse, Status};

use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::leader::Leader;
use crate::snapshots;
use crate::tables;

/// Leader: refuses where renaming is not allowed.
pub fn prepare(leader: &Leader) -> Result<()> {
    if leader.snapshots.rename_allowed {
        return Ok(());
    }
    let message = "snapshots may not be renamed: set ozone.om.snapshot.rename.allowed to true";
    Err(OmError::refused(Status::FeatureNotEnabled, message))
}

/// Applies the request.
pub fn apply(
    request: &RenameSnapshotRequest,
    apply: &mut Apply<'_>,
) -> Result<RenameSnapshotResponse> {
    let (volume, bucket) = (request.volume_name(), request.bucket_name());
    let (old, new) = (request.snapshot_old_name(), request.snapshot_new_name());
    let row = snapshots::find(apply, volume, bucket, old)?;
    snapshots::check_name(new)?;
    let key = snapshots::info_key(&row.volume, &row.bucket, new);
    snapshots::check_free(apply, &key, new)?;
    apply.delete(
        tables::SNAPSHOT_INFO,
        &snapshots::info_key(&row.volume, &row.bucket, old),
    );
    let row = SnapshotRow {
        name: new.to_owned(),
        ..row
    };
    apply.put(tables::SNAPSHOT_INFO, &key, &row);
    let index = snapshots::index_key(row.bucket_id, row.index);
    apply.put_raw(tables::SNAPSHOT, &index, key);
    Ok(RenameSnapshotResponse {
        snapshot_info: Some(snapshots::info(&row)),
    })
}
