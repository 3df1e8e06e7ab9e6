//! DeleteBucket.

use ozone_proto::om::{DeleteBucketRequest, DeleteBucketResponse, Status};

use super::bucket_create::count_bucket;
use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::namespace;
use crate::rows::Rows;
use crate::{snapshots, tables};

/// Applies the request.
pub fn apply(request: &DeleteBucketRequest, apply: &mut Apply<'_>) -> Result<DeleteBucketResponse> {
    delete(apply, &request.volume_name, &request.bucket_name)?;
    Ok(DeleteBucketResponse {})
}

/// Deletes a bucket that holds nothing.
pub fn delete(apply: &mut Apply<'_>, volume_name: &str, name: &str) -> Result<()> {
    let bucket = namespace::bucket(apply, volume_name, name)?;
    if !namespace::is_empty(apply, &namespace::bucket_root(&bucket))? {
        return Err(OmError::refused(
            Status::BucketNotEmpty,
            format!("Bucket {name} is not empty"),
        ));
    }
    if apply.any(
        tables::MULTIPART_INFO,
        &tables::multipart_prefix(volume_name, name),
    )? {
        let message = format!("Bucket {name} has multipart uploads that are not completed");
        return Err(OmError::refused(Status::BucketNotEmpty, message));
    }
    let id = bucket.inode.map_or(0, |i| i.object_id);
    if snapshots::any(apply, id)? {
        return Err(OmError::refused(
            Status::ContainsSnapshot,
            format!("Bucket {name} can't be deleted when it has snapshots: delete them first"),
        ));
    }
    apply.delete(tables::BUCKET, &tables::bucket_key(volume_name, name));
    apply.delete(
        tables::BUCKET_ID,
        &tables::bucket_id_key(bucket.volume_id, id),
    );
    apply.name_changed(&namespace::inside_volume(bucket.volume_id), name.as_bytes());
    apply.inode_changed(id);
    let volume = namespace::volume(apply, volume_name)?;
    count_bucket(apply, volume, -1)
}
