//! Listings: directories, volumes, buckets. Always a page from a name on, never a list in memory.

use ozone_proto::namespace::{
    BucketRow, DirRef, Inode, ReadDirRequest, ReadDirResponse, VolumeRow,
};
use ozone_proto::om::{
    InfoBucketRequest, InfoBucketResponse, InfoVolumeRequest, InfoVolumeResponse,
    ListBucketsRequest, ListBucketsResponse, ListVolumeRequest, ListVolumeResponse,
    list_volume_request::Scope,
};

use super::inode::without_map;
use super::snapshots;
use crate::error::{OmError, Result};
use crate::key_info;
use crate::namespace::{self, Found, Level, layout};
use crate::rows::{Rows, decode};
use crate::tables;

/// Entries in one answer at most.
const MAX_PAGE: usize = 1000;

fn page_size(asked: usize) -> usize {
    if asked == 0 {
        MAX_PAGE
    } else {
        asked.min(MAX_PAGE)
    }
}

/// ReadDir: entries after a name, in the order of their bytes.
pub fn read_dir(request: &ReadDirRequest, rows: &impl Rows) -> Result<ReadDirResponse> {
    let dir = namespace::dir_of(request.dir.as_ref())?;
    namespace::directory(rows, dir)?;
    let limit = page_size(request.limit as usize);
    let mut entries = match namespace::level(dir) {
        Level::Root => volumes(rows, dir, &request.after, limit + 1)?,
        Level::Volume(id) => buckets(rows, dir, id, &request.after, limit + 1)?,
        Level::Bucket { .. } => children(rows, dir, &request.after, limit + 1)?,
    };
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(ReadDirResponse { entries, more })
}

/// ReadDir of the directory of snapshots.
pub fn read_snapshots(request: &ReadDirRequest, rows: &impl Rows) -> Result<ReadDirResponse> {
    let dir = namespace::dir_of(request.dir.as_ref())?;
    let limit = page_size(request.limit as usize);
    let mut entries = snapshots::children(dir, &request.after, limit + 1, rows)?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(ReadDirResponse { entries, more })
}

fn volumes(rows: &impl Rows, dir: &DirRef, after: &[u8], limit: usize) -> Result<Vec<Inode>> {
    let after = [b"/", after].concat();
    rows.scan(tables::VOLUME, b"/", Some(&after), limit)?
        .into_iter()
        .map(|(key, value)| {
            let row: VolumeRow = decode(tables::VOLUME, &value)?;
            Ok(namespace::inode(
                dir,
                &key[1..],
                row.inode.unwrap_or_default(),
            ))
        })
        .collect()
}

fn buckets(
    rows: &impl Rows,
    dir: &DirRef,
    volume: u64,
    after: &[u8],
    limit: usize,
) -> Result<Vec<Inode>> {
    let volume = namespace::volume_by_id(rows, volume)?
        .ok_or_else(|| crate::error::refuse::no_directory(volume))?;
    let prefix = tables::bucket_key(&volume.name, "");
    let after = [prefix.as_slice(), after].concat();
    rows.scan(tables::BUCKET, &prefix, Some(&after), limit)?
        .into_iter()
        .map(|(key, value)| {
            let row: BucketRow = decode(tables::BUCKET, &value)?;
            Ok(namespace::inode(
                dir,
                &key[prefix.len()..],
                row.inode.unwrap_or_default(),
            ))
        })
        .collect()
}

/// What is in a directory inside a bucket.
pub fn children(rows: &impl Rows, dir: &DirRef, after: &[u8], limit: usize) -> Result<Vec<Inode>> {
    let found = layout::of(dir).children(rows, dir, after, limit)?;
    let inode =
        |(name, found): (Vec<u8>, Found)| namespace::inode(dir, &name, without_map(found.row));
    Ok(found.into_iter().map(inode).collect())
}

/// InfoVolume.
pub fn info_volume(request: &InfoVolumeRequest, rows: &impl Rows) -> Result<InfoVolumeResponse> {
    let row = namespace::volume(rows, &request.volume_name)?;
    Ok(InfoVolumeResponse {
        volume_info: Some(key_info::volume(row)),
    })
}

/// ListVolume.
pub fn list_volumes(request: &ListVolumeRequest, rows: &impl Rows) -> Result<ListVolumeResponse> {
    let prefix = tables::volume_key(request.prefix());
    let mut after = request
        .prev_key
        .as_deref()
        .filter(|k| !k.is_empty())
        .map(tables::volume_key);
    let owner = match request.scope() {
        Scope::VolumesByCluster => None,
        _ => request.user_name.clone().filter(|u| !u.is_empty()),
    };
    let limit = page_size(request.max_keys() as usize);
    let mut volume_info = Vec::new();
    loop {
        let page = rows.scan(tables::VOLUME, &prefix, after.as_deref(), MAX_PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(ListVolumeResponse { volume_info });
        };
        after = Some(last.clone());
        for (_, value) in &page {
            let row: VolumeRow = decode(tables::VOLUME, value)?;
            if owner.as_ref().is_some_and(|o| *o != row.owner) {
                continue;
            }
            volume_info.push(key_info::volume(row));
            if volume_info.len() == limit {
                return Ok(ListVolumeResponse { volume_info });
            }
        }
    }
}

/// InfoBucket. A link is told as such, with what is known of the bucket that it leads to, if there is one.
pub fn info_bucket(request: &InfoBucketRequest, rows: &impl Rows) -> Result<InfoBucketResponse> {
    let (volume, name) = (&request.volume_name, &request.bucket_name);
    let mut row = namespace::bucket_entry(rows, volume, name)?;
    let mut root = Some(namespace::bucket_root(&row));
    if namespace::is_link(&row) {
        match namespace::bucket(rows, volume, name) {
            Ok(source) => {
                root = Some(namespace::bucket_root(&source));
                row.layout = source.layout;
                row.replication = source.replication;
                row.quota_bytes = source.quota_bytes;
                row.quota_namespace = source.quota_namespace;
                row.used_bytes = source.used_bytes;
                row.used_namespace = source.used_namespace;
            }
            // It dangles.
            Err(refusal) if refusal.is_refusal() => root = None,
            Err(fault) => return Err(fault),
        }
    }
    Ok(InfoBucketResponse {
        bucket_info: Some(key_info::bucket(row)),
        root,
    })
}

/// ListBuckets.
pub fn list_buckets(request: &ListBucketsRequest, rows: &impl Rows) -> Result<ListBucketsResponse> {
    let volume = namespace::volume(rows, &request.volume_name)?;
    let prefix = tables::bucket_key(&volume.name, request.prefix());
    let after = request
        .start_key
        .as_deref()
        .filter(|k| !k.is_empty())
        .map(|k| tables::bucket_key(&volume.name, k));
    let limit = usize::try_from(request.count()).map_err(|_| {
        OmError::refused(
            ozone_proto::om::Status::InvalidRequest,
            "the number of buckets to list is negative",
        )
    })?;
    let bucket_info = rows
        .scan(tables::BUCKET, &prefix, after.as_deref(), page_size(limit))?
        .into_iter()
        .map(|(_, value)| Ok(key_info::bucket(decode(tables::BUCKET, &value)?)))
        .collect::<Result<_>>()?;
    Ok(ListBucketsResponse { bucket_info })
}
