//! Snapshots of buckets. Making one is one command, whose apply makes a hard-linked checkpoint of the
//! whole database; what it holds is read through the same code as what is there now.
//!
//! A snapshot is named by the index of its command: it shows what commands before it did. Beside the
//! checkpoints, the live database keeps what a snapshot costs: which blocks only snapshots still
//! refer to ([`crate::block_refs`]), and what has changed since ([`change_log`]).

pub mod change_log;
pub mod checkpoints;
pub mod diff;
pub mod difference;
pub mod jobs;
pub mod reports;

use std::collections::HashSet;

use ozone_common::names;
use ozone_proto::namespace::{BucketRow, SnapshotRow};
use ozone_proto::om::{SnapshotInfo, SnapshotStatusProto, Status};
use uuid::Uuid;

use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::rows::{Rows, decode};
use crate::{namespace, tables};

/// What the configuration says about snapshots.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether they may be made.
    pub enabled: bool,
    /// Most in the cluster.
    pub limit: u64,
    /// Whether they may get another name.
    pub rename_allowed: bool,
    /// Most entries of a difference in one answer.
    pub diff_page: usize,
}

/// Name of the directory in a bucket's root that shows its snapshots.
pub const DIRECTORY: &str = ".snapshot";
/// `DirRef.snapshot` of that directory.
pub const LIST: u64 = u64::MAX;

/// Key in [`tables::SNAPSHOT_INFO`].
pub fn info_key(volume: &str, bucket: &str, name: &str) -> Vec<u8> {
    format!("/{volume}/{bucket}/{name}").into_bytes()
}

/// Key in [`tables::SNAPSHOT`].
pub fn index_key(bucket: u64, index: u64) -> Vec<u8> {
    tables::number_key(&[bucket, u64::MAX - index])
}

/// The id of the bucket in whose root snapshots are found.
pub fn bucket_id(bucket: &BucketRow) -> u64 {
    bucket.inode.as_ref().map_or(0, |inode| inode.object_id)
}

/// A snapshot, by names: of its bucket, or of a link to that.
pub fn find(rows: &impl Rows, volume: &str, bucket: &str, name: &str) -> Result<SnapshotRow> {
    let found = rows.get(tables::SNAPSHOT_INFO, &info_key(volume, bucket, name))?;
    if let Some(row) = found {
        return Ok(row);
    }
    let real = namespace::bucket(rows, volume, bucket)?;
    if (real.volume.as_str(), real.name.as_str()) != (volume, bucket) {
        return find(rows, &real.volume, &real.name, name);
    }
    Err(no_such(&format!("{volume}/{bucket}/{DIRECTORY}/{name}")))
}

fn no_such(path: &str) -> OmError {
    let message = format!("Snapshot '{path}' is not found.");
    OmError::refused(Status::FileNotFound, message)
}

/// A snapshot, by its bucket and index.
pub fn at(rows: &impl Rows, bucket: u64, index: u64) -> Result<SnapshotRow> {
    let key = rows.get_raw(tables::SNAPSHOT, &index_key(bucket, index))?;
    let row = match key {
        Some(key) => rows.get(tables::SNAPSHOT_INFO, &key)?,
        None => None,
    };
    row.ok_or_else(|| no_such(&index.to_string()))
}

/// The index of the newest snapshot of the bucket that was made before the command `index`.
pub fn newest_before(rows: &impl Rows, bucket: u64, index: u64) -> Result<Option<u64>> {
    let prefix = tables::number_key(&[bucket]);
    let after = index_key(bucket, index);
    let found = rows.scan(tables::SNAPSHOT, &prefix, Some(&after), 1)?;
    Ok(found.first().and_then(|(key, _)| index_of(key)))
}

/// The index of the oldest snapshot of the bucket that was made after the command `index`. Looks at all
/// that are newer, which only the background does.
pub fn oldest_after(rows: &impl Rows, bucket: u64, index: u64) -> Result<Option<u64>> {
    let prefix = tables::number_key(&[bucket]);
    let found = rows.scan(tables::SNAPSHOT, &prefix, None, usize::MAX)?;
    let newer = found.iter().filter_map(|(key, _)| index_of(key));
    Ok(newer.take_while(|newer| *newer > index).last())
}

fn index_of(key: &[u8]) -> Option<u64> {
    tables::parse_number_key::<2>(key).map(|[_, newest_first]| u64::MAX - newest_first)
}

/// The ids of all snapshots whose checkpoints are needed.
pub fn kept(rows: &impl Rows) -> Result<HashSet<Uuid>> {
    let mut kept = HashSet::new();
    for table in [tables::SNAPSHOT_INFO, tables::SNAPSHOT_DELETED] {
        for (_, value) in rows.scan(table, &[], None, usize::MAX)? {
            kept.insert(id(&decode(table, &value)?));
        }
    }
    Ok(kept)
}

/// How many there are, in all buckets. In a state that is older than the number, they are counted.
pub fn count(rows: &impl Rows) -> Result<u64> {
    match rows.get_raw(tables::META, tables::SNAPSHOTS_KEY)? {
        Some(number) => number
            .try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| OmError::Storage("metaTable: bad number of snapshots".into())),
        None => Ok(rows.scan(tables::SNAPSHOT, &[], None, usize::MAX)?.len() as u64),
    }
}

/// Notes how many there are from now on.
pub fn set_count(apply: &mut Apply<'_>, count: u64) {
    let number = count.to_be_bytes().to_vec();
    apply.put_raw(tables::META, tables::SNAPSHOTS_KEY, number);
}

/// Whether the bucket has any snapshot.
pub fn any(rows: &impl Rows, bucket: u64) -> Result<bool> {
    rows.any(tables::SNAPSHOT, &tables::number_key(&[bucket]))
}

/// Refuses names that a snapshot cannot have.
pub fn check_name(name: &str) -> Result<()> {
    names::validate_snapshot_name(name).map_err(|error| {
        let message = format!("Invalid snapshot name: {name}: {error}");
        OmError::refused(Status::InvalidSnapshotError, message)
    })
}

/// Refuses a name that another snapshot of the bucket has.
pub fn check_free(rows: &impl Rows, key: &[u8], name: &str) -> Result<()> {
    if rows.get_raw(tables::SNAPSHOT_INFO, key)?.is_none() {
        return Ok(());
    }
    let message =
        format!("Snapshot {name} already exists: choose another name, or delete it first");
    Err(OmError::refused(Status::FileAlreadyExists, message))
}

/// The id under which the snapshot's checkpoint is filed.
pub fn id(row: &SnapshotRow) -> Uuid {
    Uuid::from_slice(&row.id).unwrap_or_default()
}

/// A snapshot as clients are told.
pub fn info(row: &SnapshotRow) -> SnapshotInfo {
    let id = id(row);
    let (high, low) = id.as_u64_pair();
    let time = |ms: i64| u64::try_from(ms).unwrap_or(0);
    let status = match row.deleted_ms {
        0 => SnapshotStatusProto::SnapshotActive,
        _ => SnapshotStatusProto::SnapshotDeleted,
    };
    SnapshotInfo {
        snapshot_id: Some(ozone_proto::hdds::Uuid {
            most_sig_bits: high.cast_signed(),
            least_sig_bits: low.cast_signed(),
        }),
        name: Some(row.name.clone()),
        volume_name: Some(row.volume.clone()),
        bucket_name: Some(row.bucket.clone()),
        snapshot_status: Some(status.into()),
        creation_time: Some(time(row.created_ms)),
        deletion_time: Some(time(row.deleted_ms)).filter(|at| *at != 0),
        snapshot_path: Some(format!("{}/{}", row.volume, row.bucket)),
        checkpoint_dir: Some(format!("-{id}")),
        referenced_size: Some(row.referenced_bytes),
        referenced_replicated_size: Some(row.referenced_bytes),
        exclusive_size: Some(0),
        exclusive_replicated_size: Some(0),
    }
}
