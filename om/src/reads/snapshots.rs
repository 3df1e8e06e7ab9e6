//! Snapshots as such: GetSnapshotInfo, ListSnapshot, and the directory `.snapshot` of a bucket.

use ozone_proto::namespace::{DirRef, Inode, InodeKind, InodeRow, SnapshotRow};
use ozone_proto::om::{
    ListSnapshotRequest, ListSnapshotResponse, SnapshotInfo, SnapshotInfoRequest,
    SnapshotInfoResponse,
};

use crate::block_refs;
use crate::error::{Result, refuse};
use crate::namespace::{self, Level, ROW_VERSION};
use crate::ops::snapshot_reclaim::Span;
use crate::rows::{Rows, decode};
use crate::{snapshots, tables};

/// Snapshots in one answer at most.
const MAX_PAGE: usize = 1000;
/// References counted for the size that only one snapshot takes.
const COUNTED: usize = 100_000;

/// GetSnapshotInfo.
pub fn info(request: &SnapshotInfoRequest, rows: &impl Rows) -> Result<SnapshotInfoResponse> {
    let row = snapshots::find(
        rows,
        request.volume_name(),
        request.bucket_name(),
        request.snapshot_name(),
    )?;
    Ok(SnapshotInfoResponse {
        snapshot_info: Some(with_sizes(&row, rows)?),
    })
}

/// What only this snapshot keeps is counted when it is asked for.
fn with_sizes(row: &SnapshotRow, rows: &impl Rows) -> Result<SnapshotInfo> {
    let mut info = snapshots::info(row);
    let span = Span::around(rows, row.bucket_id, row.index)?;
    let kept = block_refs::seen_by_none_but(rows, &span, COUNTED)?;
    let bytes = kept.iter().map(|(_, reference)| reference.bytes);
    let exclusive = bytes.fold(0, u64::saturating_add);
    info.exclusive_size = Some(exclusive);
    info.exclusive_replicated_size = Some(exclusive);
    Ok(info)
}

/// ListSnapshot: those of a bucket, by name.
pub fn list(request: &ListSnapshotRequest, rows: &impl Rows) -> Result<ListSnapshotResponse> {
    let (volume, bucket) = (request.volume_name(), request.bucket_name());
    let real = namespace::bucket(rows, volume, bucket)?;
    let (volume, bucket) = (real.volume.as_str(), real.name.as_str());
    let limit = match request.max_list_result() as usize {
        0 => MAX_PAGE,
        asked => asked.min(MAX_PAGE),
    };
    let prefix = snapshots::info_key(volume, bucket, request.prefix());
    let after = Some(request.prev_snapshot()).filter(|name| !name.is_empty());
    let after = after.map(|name| snapshots::info_key(volume, bucket, name));
    let mut page = rows.scan(tables::SNAPSHOT_INFO, &prefix, after.as_deref(), limit + 1)?;
    let more = page.len() > limit;
    page.truncate(limit);
    let snapshot_info = page
        .iter()
        .map(|(_, value)| with_sizes(&decode(tables::SNAPSHOT_INFO, value)?, rows))
        .collect::<Result<Vec<_>>>()?;
    let last_snapshot = match more {
        true => snapshot_info.last().and_then(|last| last.name.clone()),
        false => None,
    };
    Ok(ListSnapshotResponse {
        snapshot_info,
        last_snapshot,
    })
}

/// The names of the volume and the bucket in whose directory `.snapshot` something is looked up.
fn names_of(dir: &DirRef, rows: &impl Rows) -> Result<(String, String)> {
    let Level::Bucket { volume, bucket, .. } = namespace::level(dir) else {
        return Err(refuse::invalid("only buckets have snapshots"));
    };
    let row = namespace::bucket_by_id(rows, volume, bucket)?
        .ok_or_else(|| refuse::no_directory(bucket))?;
    Ok((row.volume, row.name))
}

/// What a name in `.snapshot` is.
pub fn child(dir: &DirRef, name: &[u8], rows: &impl Rows) -> Result<Option<Inode>> {
    let (volume, bucket) = names_of(dir, rows)?;
    let Ok(name) = std::str::from_utf8(name) else {
        return Ok(None);
    };
    let key = snapshots::info_key(&volume, &bucket, name);
    let row = rows.get(tables::SNAPSHOT_INFO, &key)?;
    Ok(row.map(|row| root(dir, row)))
}

/// The names in `.snapshot` after one, in order.
pub fn children(dir: &DirRef, after: &[u8], limit: usize, rows: &impl Rows) -> Result<Vec<Inode>> {
    let (volume, bucket) = names_of(dir, rows)?;
    let prefix = snapshots::info_key(&volume, &bucket, "");
    let after = [prefix.as_slice(), after].concat();
    let page = rows.scan(tables::SNAPSHOT_INFO, &prefix, Some(&after), limit)?;
    page.iter()
        .map(|(_, value)| Ok(root(dir, decode(tables::SNAPSHOT_INFO, value)?)))
        .collect()
}

/// The directory `.snapshot` itself: whoever may look into the bucket may look into it.
pub fn directory(dir: &DirRef, rows: &impl Rows) -> Result<InodeRow> {
    let Level::Bucket { volume, bucket, .. } = namespace::level(dir) else {
        return Err(refuse::invalid("only buckets have snapshots"));
    };
    let bucket = namespace::bucket_by_id(rows, volume, bucket)?
        .ok_or_else(|| refuse::no_directory(bucket))?;
    let inode = bucket.inode.unwrap_or_default();
    Ok(InodeRow {
        version: ROW_VERSION,
        kind: InodeKind::Directory.into(),
        mode: inode.mode & 0o555,
        nlink: 2,
        ..inode
    })
}

/// The root of a snapshot: the bucket as it was. Nothing in it can be written.
fn root(dir: &DirRef, snapshot: SnapshotRow) -> Inode {
    let row = snapshot.inode.unwrap_or_default();
    Inode {
        snapshot: snapshot.index,
        ..namespace::inode(dir, snapshot.name.as_bytes(), row)
    }
}
