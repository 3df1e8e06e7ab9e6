//! CreateSnapshot: a row, and (by the state machine, right after this command) a checkpoint.

use ozone_proto::namespace::SnapshotRow;
use ozone_proto::om::{CreateSnapshotRequest, CreateSnapshotResponse, Status};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use crate::apply::Apply;
use crate::error::{OmError, Result, refuse};
use crate::leader::Leader;
use crate::namespace::{self, ROW_VERSION};
use crate::snapshots;
use crate::tables;

/// Leader: gives the snapshot its id and, where the request has none, its name; where much is not flushed
/// it is flushed here, so that the checkpoint has little left to flush.
pub async fn prepare(request: &mut CreateSnapshotRequest, leader: &Leader) -> Result<()> {
    let settings = &leader.snapshots;
    if !settings.enabled {
        let message = "snapshots are switched off: set ozone.filesystem.snapshot.enabled to true";
        return Err(OmError::refused(Status::FeatureNotEnabled, message));
    }
    let (high, low) = leader.rng.uuid().as_u64_pair();
    request.snapshot_id = Some(ozone_proto::hdds::Uuid {
        most_sig_bits: high.cast_signed(),
        least_sig_bits: low.cast_signed(),
    });
    request.limit = Some(settings.limit);
    if request.snapshot_name().is_empty() {
        request.snapshot_name = Some(automatic_name(leader.clock.wall_ns())?);
    }
    let (volume, bucket, name) = names(request);
    leader
        .read(move |store| {
            let bucket = namespace::bucket(store, &volume, &bucket)?;
            snapshots::check_name(&name)?;
            let key = snapshots::info_key(&bucket.volume, &bucket.name, &name);
            snapshots::check_free(store, &key, &name)?;
            store.flush_much()
        })
        .await
}

fn names(request: &CreateSnapshotRequest) -> (String, String, String) {
    (
        request.volume_name().to_owned(),
        request.bucket_name().to_owned(),
        request.snapshot_name().to_owned(),
    )
}

/// `sYYYYMMDD-HHMMSS.mmm`, as Ozone names snapshots.
fn automatic_name(now_ns: u64) -> Result<String> {
    let format =
        format_description!("s[year][month][day]-[hour][minute][second].[subsecond digits:3]");
    OffsetDateTime::from_unix_timestamp_nanos(now_ns.into())
        .map_err(|error| refuse::invalid(format!("the OM's clock is wrong: {error}")))?
        .format(format)
        .map_err(|error| refuse::invalid(error.to_string()))
}

/// Applies the request.
pub fn apply(
    request: &CreateSnapshotRequest,
    apply: &mut Apply<'_>,
) -> Result<CreateSnapshotResponse> {
    let (volume, bucket_name, name) = names(request);
    let bucket = namespace::bucket(apply, &volume, &bucket_name)?;
    snapshots::check_name(&name)?;
    let key = snapshots::info_key(&bucket.volume, &bucket.name, &name);
    snapshots::check_free(apply, &key, &name)?;
    let there = snapshots::count(apply)?;
    check_limit(request, there)?;
    let id = request.snapshot_id.unwrap_or_default();
    let id = Uuid::from_u64_pair(
        id.most_sig_bits.cast_unsigned(),
        id.least_sig_bits.cast_unsigned(),
    );
    let row = SnapshotRow {
        version: ROW_VERSION,
        id: id.as_bytes().to_vec().into(),
        name,
        volume: bucket.volume.clone(),
        bucket: bucket.name.clone(),
        volume_id: bucket.volume_id,
        bucket_id: snapshots::bucket_id(&bucket),
        index: apply.index,
        created_ms: apply.time_ms(),
        deleted_ms: 0,
        referenced_bytes: bucket.used_bytes,
        inode: bucket.inode,
    };
    apply.put(tables::SNAPSHOT_INFO, &key, &row);
    let index = snapshots::index_key(row.bucket_id, row.index);
    apply.put_raw(tables::SNAPSHOT, &index, key);
    apply.put(tables::META, tables::LAST_SNAPSHOT_KEY, &row);
    snapshots::set_count(apply, there + 1);
    Ok(CreateSnapshotResponse {
        snapshot_info: Some(snapshots::info(&row)),
    })
}

fn check_limit(request: &CreateSnapshotRequest, there: u64) -> Result<()> {
    if there < request.limit.unwrap_or(u64::MAX) {
        return Ok(());
    }
    let message = format!(
        "there are {there} snapshots, and ozone.om.fs.snapshot.max.limit allows no more: delete some, \
         or raise it"
    );
    Err(OmError::refused(Status::InvalidSnapshotError, message))
}
