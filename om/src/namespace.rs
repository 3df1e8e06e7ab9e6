//! Finding inodes by place and by id.
//!
//! A request names an inode by its place (directory id and name) and by its object id. The place
//! finds the row without an index per file; the id proves that it is still the same inode. Inodes
//! with several names, orphans and directories are found by id alone.

pub mod flat;
pub mod layout;
pub mod tree;

use std::collections::HashSet;

use ozone_common::names;
use ozone_proto::namespace::{
    BucketRow, DirRef, Inode, InodeKind, InodeRef, InodeRow, OrphanRow, PlaceRow, VolumeRow,
};
use ozone_proto::om::Status;

use crate::error::{OmError, Result, refuse};
use crate::rows::Rows;
use crate::tables::{self, Table};

/// Object id of `/`.
pub const ROOT_ID: u64 = 1;
/// Version of the rows that this code writes.
pub const ROW_VERSION: u32 = 1;

/// Where the row of an inode is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// `/`.
    Root,
    /// Inside the volume's row.
    Volume(String),
    /// Inside the bucket's row.
    Bucket { volume: String, bucket: String },
    /// A row of its own, under its name or (several names) under its id.
    Row { table: Table, key: Vec<u8> },
    /// The row of a key of an object-store bucket.
    Key { dir: DirRef, name: Vec<u8> },
    /// Unlinked, kept for the sessions that have it open.
    Orphan(Vec<u8>),
}

/// An inode and where it is.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where the row is kept.
    pub slot: Slot,
    /// The row.
    pub row: InodeRow,
}

/// The level of the tree at which a directory's children live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Children of `/` are volumes.
    Root,
    /// Children of a volume are buckets.
    Volume(u64),
    /// Children inside a bucket are directories and files.
    Bucket {
        volume: u64,
        bucket: u64,
        parent: u64,
    },
}

/// Object id of the directory itself.
pub fn id_of(dir: &DirRef) -> u64 {
    match level(dir) {
        Level::Root => ROOT_ID,
        Level::Volume(id) => id,
        Level::Bucket { parent, .. } => parent,
    }
}

/// What `dir` says.
pub fn level(dir: &DirRef) -> Level {
    match (dir.volume_id, dir.bucket_id) {
        (0, _) => Level::Root,
        (volume, 0) => Level::Volume(volume),
        (volume, bucket) => Level::Bucket {
            volume,
            bucket,
            parent: dir.parent_id,
        },
    }
}

/// The `DirRef` of a request, or a refusal.
pub fn dir_of(dir: Option<&DirRef>) -> Result<&DirRef> {
    dir.ok_or_else(|| refuse::invalid("the request names no directory"))
}

/// The `InodeRef` of a request with its directory, or a refusal.
pub fn ref_of(inode: Option<&InodeRef>) -> Result<(&InodeRef, &DirRef)> {
    let inode = inode.ok_or_else(|| refuse::invalid("the request names no inode"))?;
    Ok((inode, dir_of(inode.dir.as_ref())?))
}

/// The kind of a row; an unknown number is a row of a newer version.
pub fn kind(row: &InodeRow) -> InodeKind {
    InodeKind::try_from(row.kind).unwrap_or(InodeKind::Unknown)
}

/// Whether the row is a directory's.
pub fn is_dir(row: &InodeRow) -> bool {
    kind(row) == InodeKind::Directory
}

/// `/` as it is before anybody changes it.
fn fresh_root() -> InodeRow {
    InodeRow {
        version: ROW_VERSION,
        object_id: ROOT_ID,
        kind: InodeKind::Directory.into(),
        mode: 0o755,
        nlink: 2,
        ..Default::default()
    }
}

/// The row of `/`.
pub fn root(rows: &impl Rows) -> Result<InodeRow> {
    Ok(rows
        .get(tables::META, tables::ROOT_KEY)?
        .unwrap_or_else(fresh_root))
}

/// The row of a volume, by name.
pub fn volume(rows: &impl Rows, name: &str) -> Result<VolumeRow> {
    rows.get(tables::VOLUME, &tables::volume_key(name))?
        .ok_or_else(|| {
            OmError::refused(
                Status::VolumeNotFound,
                format!("Volume {name} is not found"),
            )
        })
}

/// The row of a bucket, by names; under the name of a link, that of the bucket that it leads to.
pub fn bucket(rows: &impl Rows, volume_name: &str, name: &str) -> Result<BucketRow> {
    let mut row = bucket_entry(rows, volume_name, name)?;
    let mut passed = HashSet::new();
    while is_link(&row) {
        if !passed.insert((row.volume.clone(), row.name.clone())) {
            let message = format!(
                "Detected loop in bucket links. Bucket name: {name}, Volume name: {volume_name}"
            );
            return Err(OmError::refused(Status::DetectedLoopInBucketLinks, message));
        }
        row = bucket_entry(rows, &row.source_volume, &row.source_bucket)?;
    }
    Ok(row)
}

/// Whether the row is that of a link, which stands for another bucket.
pub fn is_link(row: &BucketRow) -> bool {
    !row.source_bucket.is_empty()
}

/// The row under a bucket's name, which may be a link.
pub fn bucket_entry(rows: &impl Rows, volume_name: &str, name: &str) -> Result<BucketRow> {
    let found = rows.get(tables::BUCKET, &tables::bucket_key(volume_name, name))?;
    if let Some(row) = found {
        return Ok(row);
    }
    volume(rows, volume_name)?;
    Err(OmError::refused(
        Status::BucketNotFound,
        format!("Bucket not found: {volume_name}/{name}"),
    ))
}

/// The row of a volume, by id.
pub fn volume_by_id(rows: &impl Rows, id: u64) -> Result<Option<VolumeRow>> {
    let Some(name) = rows.get_raw(tables::VOLUME_ID, &tables::volume_id_key(id))? else {
        return Ok(None);
    };
    rows.get(
        tables::VOLUME,
        &tables::volume_key(&String::from_utf8_lossy(&name)),
    )
}

/// The row of a bucket, by ids.
pub fn bucket_by_id(rows: &impl Rows, volume: u64, id: u64) -> Result<Option<BucketRow>> {
    let Some(key) = rows.get_raw(tables::BUCKET_ID, &tables::bucket_id_key(volume, id))? else {
        return Ok(None);
    };
    rows.get(tables::BUCKET, &key)
}

/// A volume as an inode.
pub fn volume_found(row: VolumeRow) -> Found {
    Found {
        slot: Slot::Volume(row.name),
        row: row.inode.unwrap_or_default(),
    }
}

/// A bucket as an inode.
pub fn bucket_found(row: BucketRow) -> Found {
    let slot = Slot::Bucket {
        volume: row.volume,
        bucket: row.name,
    };
    Found {
        slot,
        row: row.inode.unwrap_or_default(),
    }
}

/// The directory that a volume is.
pub fn inside_volume(volume_id: u64) -> DirRef {
    DirRef {
        volume_id,
        bucket_id: 0,
        parent_id: volume_id,
        snapshot: 0,
    }
}

/// The `DirRef` by which a bucket's root is listed.
pub fn bucket_root(row: &BucketRow) -> DirRef {
    let id = row.inode.as_ref().map_or(0, |i| i.object_id);
    DirRef {
        volume_id: row.volume_id,
        bucket_id: id,
        parent_id: id,
        snapshot: 0,
    }
}

/// The directory `dir` itself.
pub fn directory(rows: &impl Rows, dir: &DirRef) -> Result<Found> {
    match level(dir) {
        Level::Root => Ok(Found {
            slot: Slot::Root,
            row: root(rows)?,
        }),
        Level::Volume(id) => volume_by_id(rows, id)?
            .map(volume_found)
            .ok_or_else(|| refuse::no_directory(id)),
        Level::Bucket {
            volume,
            bucket,
            parent,
        } if parent == bucket => bucket_by_id(rows, volume, bucket)?
            .map(bucket_found)
            .ok_or_else(|| refuse::no_directory(parent)),
        Level::Bucket {
            volume,
            bucket,
            parent,
        } => directory_by_id(rows, volume, bucket, parent)?
            .ok_or_else(|| refuse::no_directory(parent)),
    }
}

/// Where a directory inside a bucket is.
pub fn place_of(rows: &impl Rows, volume: u64, bucket: u64, id: u64) -> Result<Option<PlaceRow>> {
    rows.get(tables::DIRECTORY_ID, &tables::id_key(volume, bucket, id))
}

fn directory_by_id(rows: &impl Rows, volume: u64, bucket: u64, id: u64) -> Result<Option<Found>> {
    let Some(place) = place_of(rows, volume, bucket, id)? else {
        return Ok(None);
    };
    let key = tables::child_key(volume, bucket, place.parent_id, &place.name);
    let row = rows.get(tables::DIRECTORY, &key)?;
    Ok(row.map(|row| Found {
        slot: Slot::Row {
            table: tables::DIRECTORY,
            key,
        },
        row,
    }))
}

/// What `name` in `dir` is, with hard links followed to their inode.
pub fn child(rows: &impl Rows, dir: &DirRef, name: &[u8]) -> Result<Option<Found>> {
    let text = || std::str::from_utf8(name).ok();
    match level(dir) {
        Level::Root => {
            let Some(name) = text() else { return Ok(None) };
            Ok(rows
                .get(tables::VOLUME, &tables::volume_key(name))?
                .map(volume_found))
        }
        Level::Volume(id) => {
            let (Some(name), Some(volume)) = (text(), volume_by_id(rows, id)?) else {
                return Ok(None);
            };
            Ok(rows
                .get(tables::BUCKET, &tables::bucket_key(&volume.name, name))?
                .map(bucket_found))
        }
        Level::Bucket { .. } => layout::of(dir).child(rows, dir, name),
    }
}

/// Follows a name row to the inode that it names.
pub fn follow(
    rows: &impl Rows,
    volume: u64,
    bucket: u64,
    table: Table,
    key: Vec<u8>,
    row: InodeRow,
) -> Result<Found> {
    if kind(&row) != InodeKind::HardLink {
        return Ok(Found {
            slot: Slot::Row { table, key },
            row,
        });
    }
    let key = tables::id_key(volume, bucket, row.object_id);
    let inode = rows.get(tables::INODE, &key)?.ok_or_else(|| {
        OmError::Storage(format!(
            "fileTable names inode {} which inodeTable lacks",
            row.object_id
        ))
    })?;
    Ok(Found {
        slot: Slot::Row {
            table: tables::INODE,
            key,
        },
        row: inode,
    })
}

/// The inode that `inode` means, wherever it is by now.
pub fn find(rows: &impl Rows, inode: &InodeRef) -> Result<Found> {
    let dir = dir_of(inode.dir.as_ref())?;
    let id = inode.object_id;
    let found = match level(dir) {
        _ if id == ROOT_ID => Some(Found {
            slot: Slot::Root,
            row: root(rows)?,
        }),
        Level::Root => volume_by_id(rows, id)?.map(volume_found),
        Level::Volume(volume) => bucket_by_id(rows, volume, id)?.map(bucket_found),
        Level::Bucket { volume, bucket, .. } => match child(rows, dir, &inode.name)? {
            Some(found) if found.row.object_id == id => Some(found),
            _ => find_by_id(rows, volume, bucket, id)?,
        },
    };
    found.ok_or_else(|| refuse::stale(id))
}

fn find_by_id(rows: &impl Rows, volume: u64, bucket: u64, id: u64) -> Result<Option<Found>> {
    let key = tables::id_key(volume, bucket, id);
    if let Some(row) = rows.get(tables::INODE, &key)? {
        return Ok(Some(Found {
            slot: Slot::Row {
                table: tables::INODE,
                key,
            },
            row,
        }));
    }
    if let Some(orphan) = rows.get::<OrphanRow>(tables::ORPHAN, &key)? {
        let row = orphan.inode.unwrap_or_default();
        return Ok(Some(Found {
            slot: Slot::Orphan(key),
            row,
        }));
    }
    directory_by_id(rows, volume, bucket, id)
}

/// Whether the directory holds anything.
pub fn is_empty(rows: &impl Rows, dir: &DirRef) -> Result<bool> {
    match level(dir) {
        Level::Root => Ok(!rows.any(tables::VOLUME, b"/")?),
        Level::Volume(id) => Ok(!rows.any(tables::BUCKET_ID, format!("/{id}/").as_bytes())?),
        Level::Bucket { .. } => layout::of(dir).is_empty(rows, dir),
    }
}

/// How an inode is told to a client.
pub fn inode(dir: &DirRef, name: &[u8], row: InodeRow) -> Inode {
    let place = InodeRef {
        dir: Some(*dir),
        name: name.to_vec().into(),
        object_id: row.object_id,
    };
    Inode {
        r#ref: Some(place),
        row: Some(row),
        leased: false,
        snapshot: 0,
    }
}

/// The refusal of the name under which a bucket shows its snapshots.
fn reserved() -> OmError {
    OmError::refused(
        Status::InvalidKeyName,
        "Cannot use the reserved name .snapshot at the root of a bucket",
    )
}

/// Refuses names that a directory entry cannot have.
pub fn check_name(name: &[u8]) -> Result<()> {
    names::validate_key_component(name).map_err(|e| {
        let status = if name.len() > 255 {
            Status::NameTooLong
        } else {
            Status::InvalidKeyName
        };
        OmError::refused(status, e.to_string())
    })
}
