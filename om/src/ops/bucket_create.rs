//! CreateBucket.

use ozone_common::names;
use ozone_proto::namespace::{BucketRow, InodeRow, Replication, VolumeRow};
use ozone_proto::om::{BucketLayoutProto, CreateBucketRequest, CreateBucketResponse, Status};

use super::volume_create::container_inode;
use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::namespace::{self, ROW_VERSION, Slot};
use crate::rows::Rows;
use crate::tables;

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
    let layout = info
        .bucket_layout
        .map_or(BucketLayoutProto::FileSystemOptimized, |_| {
            info.bucket_layout()
        });
    let quota = |q: Option<i64>| q.filter(|q| *q > 0).unwrap_or(-1);
    let new = NewBucket {
        name: info.bucket_name.clone(),
        owner: info
            .owner
            .clone()
            .unwrap_or_else(|| apply.given.asker.user.clone()),
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
    names::validate_bucket_name(&new.name, true)
        .map_err(|e| OmError::refused(Status::InvalidBucketName, e.to_string()))?;
    if new.layout != BucketLayoutProto::FileSystemOptimized {
        return Err(OmError::refused(
            Status::NotSupportedOperation,
            format!(
                "bucket layout {} is not served: use FILE_SYSTEM_OPTIMIZED",
                new.layout.as_str_name()
            ),
        ));
    }
    if apply
        .get_raw(tables::BUCKET, &tables::bucket_key(&volume.name, &new.name))?
        .is_some()
    {
        return Err(OmError::refused(
            Status::BucketAlreadyExists,
            "Bucket already exist",
        ));
    }
    let row = container_inode(apply)?;
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
    };
    apply.put_bucket(&bucket);
    let key = tables::bucket_key(&volume.name, &bucket.name);
    apply.put_raw(
        tables::BUCKET_ID,
        &tables::bucket_id_key(volume_id, row.object_id),
        key,
    );
    apply.name_changed(&namespace::inside_volume(volume_id), bucket.name.as_bytes());
    count_bucket(apply, volume, 1)?;
    Ok(row)
}

/// A bucket more or less in its volume.
pub fn count_bucket(apply: &mut Apply<'_>, mut volume: VolumeRow, change: i32) -> Result<()> {
    volume.used_namespace = volume.used_namespace.saturating_add_signed(change.into());
    apply.put_volume(&volume);
    let mut inode = volume.inode.unwrap_or_default();
    inode.nlink = inode.nlink.saturating_add_signed(change);
    inode.mtime_ns = apply.time_ns;
    inode.ctime_ns = apply.time_ns;
    apply.store(&Slot::Volume(volume.name), &inode)
}
