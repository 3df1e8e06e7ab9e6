//! PutObjectTagging and DeleteObjectTagging: a key's tags. Its content, and the time of its last change, stay.

use ozone_proto::om::{KeyArgs, PutObjectTaggingResponse};

use crate::apply::Apply;
use crate::error::Result;
use crate::key_path;
use crate::namespace::{self, layout};

/// Sets the key's tags to those of the request.
pub fn apply(args: &KeyArgs, apply: &mut Apply<'_>) -> Result<PutObjectTaggingResponse> {
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let root = namespace::bucket_root(&bucket);
    let found = key_path::resolve(apply, &root, &args.key_name)?;
    let found = found.map(|(_, _, found)| found);
    // S3 means a directory by a trailing slash, and only by that.
    let directory = layout::of(&root).is_directory_name(&args.key_name);
    let mut found = found
        .filter(|found| namespace::is_dir(&found.row) == directory)
        .ok_or_else(|| key_path::not_found(&args.key_name))?;
    found.row.tags = args.tags.clone();
    found.row.ctime_ns = apply.time_ns;
    apply.store(&found.slot, &found.row)?;
    Ok(PutObjectTaggingResponse {})
}
