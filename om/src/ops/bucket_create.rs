//! CreateBucket: a bucket, or a link to one.

use ozone_common::names;
use ozone_proto::bucket::OBJECT_STORE;
use ozone_proto::namespace::{BucketRow, InodeKind, InodeRow, Replication, VolumeRow};
use ozone_proto::om::{BucketLayoutProto, CreateBucketRequest, CreateBucketResponse, Status};

use super::volume_create::container_inode;
use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::namespace::{self, ROW_VERSION, Slot};
use crate::rows::Rows;
use crate::{limits, snapshots, tables};

/// What a new bucket is given.
pub struct NewBucket {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// How its keys are laid out.
    pub layout: BucketLayoutProto,
    /// How its data is kept; `None`: as the cluster's default says.
    pub replication: Option<Replication>,
    /// -1: none.
    pub quota_bytes: i64,
    /// -1: none.
    pub quota_namespace: i64,
}

/// Applies the request.
pub fn apply(request: &CreateBucketRequest, apply: &mut Apply<'_>) -> Result<CreateBucketResponse> {
    let info = &request.bucket_info;
    let volume = namespace::volume(apply, &info.volume_name)?;
    let owner = info
        .owner
        .clone()
        .unwrap_or_else(|| apply.given.asker.user.clone());
    if !info.source_bucket().is_empty() || !info.source_volume().is_empty() {
        let source = (info.source_volume(), info.source_bucket());
        link(apply, volume, (&info.bucket_name, owner), source)?;
        return Ok(CreateBucketResponse {});
    }
    let layout = info
        .bucket_layout
        .map_or(BucketLayoutProto::FileSystemOptimized, |_| {
            info.bucket_layout()
        });
    let quota = |q: Option<i64>| q.filter(|q| *q > 0).unwrap_or(-1);
    let new = NewBucket {
        name: info.bucket_name.clone(),
        owner,
        layout,
        replication: info
            .default_replication_config
            .as_ref()
            .map(|r| Replication {
                r#type: r.r#type,
                factor: r.factor.unwrap_or_default(),
            }),
        quota_bytes: quota(info.quota_in_bytes),
        quota_namespace: quota(info.quota_in_namespace),
    };
    create(apply, volume, new)?;
    Ok(CreateBucketResponse {})
}

/// Makes a bucket and returns it as an inode.
pub fn create(apply: &mut Apply<'_>, volume: VolumeRow, new: NewBucket) -> Result<InodeRow> {
    if new.layout == BucketLayoutProto::Legacy {
        return Err(OmError::refused(
            Status::NotSupportedOperation,
            "bucket layout LEGACY is not served: use FILE_SYSTEM_OPTIMIZED or OBJECT_STORE",
        ));
    }
    new.replication
        .as_ref()
        .map_or(Ok(()), limits::check_replication)?;
    check_name(apply, &volume, &new.name)?;
    let mut row = container_inode(apply)?;
    if new.layout == BucketLayoutProto::ObjectStore {
        row.object_id |= OBJECT_STORE;
    }
    let volume_id = volume.inode.as_ref().map_or(0, |i| i.object_id);
    let bucket = BucketRow {
        version: ROW_VERSION,
        inode: Some(row.clone()),
        name: new.name,
        volume: volume.name.clone(),
        volume_id,
        owner: new.owner,
        layout: new.layout as u32,
        quota_bytes: new.quota_bytes,
        quota_namespace: new.quota_namespace,
        used_bytes: 0,
        used_namespace: 0,
        replication: new.replication,
        ..Default::default()
    };
    enter(apply, volume, &bucket)?;
    Ok(row)
}

/// Makes a bucket that stands for another one, which need not be there yet.
fn link(
    apply: &mut Apply<'_>,
    volume: VolumeRow,
    (name, owner): (&str, String),
    (source_volume, source_bucket): (&str, &str),
) -> Result<()> {
    names::validate_volume_name(source_volume, true)
        .map_err(|e| OmError::refused(Status::InvalidVolumeName, e.to_string()))?;
    names::validate_bucket_name(source_bucket, true)
        .map_err(|e| OmError::refused(Status::InvalidBucketName, e.to_string()))?;
    check_name(apply, &volume, name)?;
    let target = format!("../{source_volume}/{source_bucket}");
    // What a mount shows: it walks through the link as it does through any.
    let row = InodeRow {
        kind: InodeKind::Symlink.into(),
        mode: 0o777,
        nlink: 1,
        size: target.len() as u64,
        symlink_target: target.into(),
        ..container_inode(apply)?
    };
    let bucket = BucketRow {
        version: ROW_VERSION,
        inode: Some(row),
        name: name.to_owned(),
        volume: volume.name.clone(),
        volume_id: volume.inode.as_ref().map_or(0, |i| i.object_id),
        owner,
        layout: BucketLayoutProto::FileSystemOptimized as u32,
        quota_bytes: -1,
        quota_namespace: -1,
        source_volume: source_volume.to_owned(),
        source_bucket: source_bucket.to_owned(),
        ..Default::default()
    };
    enter(apply, volume, &bucket)
}

/// Refuses names that no new bucket of the volume can have.
fn check_name(apply: &Apply<'_>, volume: &VolumeRow, name: &str) -> Result<()> {
    names::validate_bucket_name(name, true)
        .map_err(|e| OmError::refused(Status::InvalidBucketName, e.to_string()))?;
    let key = tables::bucket_key(&volume.name, name);
    match apply.get_raw(tables::BUCKET, &key)? {
        None => Ok(()),
        Some(_) => Err(OmError::refused(
            Status::BucketAlreadyExists,
            "Bucket already exist",
        )),
    }
}

/// Puts a bucket, or a link, into its volume.
fn enter(apply: &mut Apply<'_>, volume: VolumeRow, bucket: &BucketRow) -> Result<()> {
    apply.put_bucket(bucket);
    apply.put_raw(
        tables::BUCKET_ID,
        &tables::bucket_id_key(bucket.volume_id, snapshots::bucket_id(bucket)),
        tables::bucket_key(&bucket.volume, &bucket.name),
    );
    let dir = namespace::inside_volume(bucket.volume_id);
    apply.name_changed(&dir, bucket.name.as_bytes());
    count(apply, volume, bucket, 1)
}

/// A bucket more or less in its volume; only directories count among its links.
pub fn count(
    apply: &mut Apply<'_>,
    mut volume: VolumeRow,
    bucket: &BucketRow,
    change: i32,
) -> Result<()> {
    volume.used_namespace = volume.used_namespace.saturating_add_signed(change.into());
    apply.put_volume(&volume);
    let mut inode = volume.inode.unwrap_or_default();
    if !namespace::is_link(bucket) {
        inode.nlink = inode.nlink.saturating_add_signed(change);
    }
    inode.mtime_ns = apply.time_ns;
    inode.ctime_ns = apply.time_ns;
    apply.store(&Slot::Volume(volume.name), &inode)
}
