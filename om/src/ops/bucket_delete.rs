//! DeleteBucket: of a link, the link alone.

use ozone_proto::namespace::BucketRow;
use ozone_proto::om::{DeleteBucketRequest, DeleteBucketResponse, Status};

use super::bucket_create::count;
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

/// Deletes a bucket that holds nothing, or a link, whatever it leads to.
pub fn delete(apply: &mut Apply<'_>, volume_name: &str, name: &str) -> Result<()> {
    let bucket = namespace::bucket_entry(apply, volume_name, name)?;
    if !namespace::is_link(&bucket) {
        check_empty(apply, &bucket)?;
    }
    let id = snapshots::bucket_id(&bucket);
    apply.delete(tables::BUCKET, &tables::bucket_key(volume_name, name));
    apply.delete(
        tables::BUCKET_ID,
        &tables::bucket_id_key(bucket.volume_id, id),
    );
    apply.name_changed(&namespace::inside_volume(bucket.volume_id), name.as_bytes());
    apply.inode_changed(id);
    let volume = namespace::volume(apply, volume_name)?;
    count(apply, volume, &bucket, -1)
}

/// Refuses to delete what holds anything.
fn check_empty(apply: &Apply<'_>, bucket: &BucketRow) -> Result<()> {
    let (volume_name, name) = (&bucket.volume, &bucket.name);
    if !namespace::is_empty(apply, &namespace::bucket_root(bucket))? {
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
    if snapshots::any(apply, snapshots::bucket_id(bucket))? {
        return Err(OmError::refused(
            Status::ContainsSnapshot,
            format!("Bucket {name} can't be deleted when it has snapshots: delete them first"),
        ));
    }
    Ok(())
}
