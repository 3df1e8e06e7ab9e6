//! CreateKey: opens a key for writing. It is not visible until it is committed.

use ozone_proto::namespace::{BucketRow, DirRef, InodeRow, OpenKeyRow, Replication};
use ozone_proto::om::{CreateKeyRequest, CreateKeyResponse, KeyArgs, Status};

use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::key_path;
use crate::namespace::{self, ROW_VERSION};
use crate::rows::Rows;
use crate::{key_info, limits, tables};

/// Applies the request.
pub fn apply(request: &CreateKeyRequest, apply: &mut Apply<'_>) -> Result<CreateKeyResponse> {
    let args = &request.key_args;
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let root = namespace::bucket_root(&bucket);
    let path = key_path::split(&root, &args.key_name)?;
    check_place(apply, &root, &path)?;
    let client = apply.next_id()?;
    let inode = new_inode(args, &bucket, apply)?;
    let row = OpenKeyRow {
        version: ROW_VERSION,
        dir: Some(root),
        name: path.last().map(|n| n.to_vec()).unwrap_or_default().into(),
        inode: Some(inode.clone()),
        client_id: client,
        opened_ms: apply.time_ms(),
        key_name: args.key_name.clone(),
    };
    apply.put(
        tables::OPEN_KEY,
        &tables::open_key(&bucket.volume, &bucket.name, &args.key_name, client),
        &row,
    );
    let names = key_info::Names {
        volume: &args.volume_name,
        bucket: &args.bucket_name,
        key: &args.key_name,
    };
    let info = key_info::of(names, inode, None);
    Ok(CreateKeyResponse {
        key_info: Some(info),
        id: Some(client),
        open_version: Some(0),
    })
}

/// What a new key of the bucket is before it has content.
pub fn new_inode(args: &KeyArgs, bucket: &BucketRow, apply: &mut Apply<'_>) -> Result<InodeRow> {
    let asked = Replication {
        r#type: args.r#type.unwrap_or_default(),
        factor: args.factor.unwrap_or_default(),
    };
    limits::check_replication(&asked)?;
    let replication = if asked.factor > 0 {
        Some(asked)
    } else {
        bucket.replication.or(apply.given.default_replication)
    };
    Ok(InodeRow {
        object_id: apply.next_id()?,
        replication,
        btime_ns: apply.time_ns,
        mtime_ns: apply.time_ns,
        owner: args
            .owner_name
            .clone()
            .unwrap_or_else(|| apply.given.asker.user.clone()),
        metadata: args.metadata.clone(),
        tags: args.tags.clone(),
        ..Default::default()
    })
}

/// Refuses a key whose path leads through a file, or ends at a directory.
pub fn check_place(rows: &impl Rows, root: &DirRef, path: &[&[u8]]) -> Result<()> {
    let mut dir = *root;
    for (depth, name) in path.iter().enumerate() {
        let Some(found) = namespace::child(rows, &dir, name)? else {
            return Ok(());
        };
        let last = depth + 1 == path.len();
        match (namespace::is_dir(&found.row), last) {
            (true, true) => {
                return Err(OmError::refused(
                    Status::NotAFile,
                    "Can not create file: the name is a directory's",
                ));
            }
            (false, false) => {
                return Err(OmError::refused(
                    Status::FileAlreadyExists,
                    "Cannot create file: there is a file in the given path",
                ));
            }
            _ => dir.parent_id = found.row.object_id,
        }
    }
    Ok(())
}
