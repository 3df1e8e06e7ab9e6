//! Which buckets a request touches: what it looks at there or changes is hidden while a session has the
//! bucket to itself.
//!
//! Most requests name their buckets by id, and are not worth a look at the rows. Sessions, blocks and the
//! cluster's space belong to no bucket.

use ozone_proto::namespace::batch_part::Change as Part;
use ozone_proto::namespace::{DirRef, Inode, InodeRef, ReadDirRequest};
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::{KeyArgs, ListBucketsRequest};

use crate::error::{OmError, Result};
use crate::leader::Leader;
use crate::namespace::{self, Level};
use crate::reads::listing;
use crate::rows::Rows;

/// The buckets that the request touches, each once, in order.
pub async fn buckets(body: &Body, leader: &Leader) -> Result<Vec<u64>> {
    let mut found = by_id(body);
    let named = by_name(body);
    if !named.is_empty() {
        found.extend(leader.peek(move |rows| resolve(&named, rows)).await?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Buckets that an answer tells of as what is in a volume: they may have been made since their names
/// were looked up, or by the request.
pub fn told(reply: &Reply) -> Vec<u64> {
    match reply {
        Reply::Lookup(found) => found.inode.iter().filter_map(as_bucket).collect(),
        Reply::Create(made) => made.inode.iter().filter_map(as_bucket).collect(),
        Reply::ReadDir(page) => page.entries.iter().filter_map(as_bucket).collect(),
        Reply::Batch(done) => {
            let inodes = done.outcomes.iter().filter_map(|o| o.inode.as_ref());
            inodes.filter_map(as_bucket).collect()
        }
        _ => Vec::new(),
    }
}

fn as_bucket(inode: &Inode) -> Option<u64> {
    let place = inode.r#ref.as_ref()?;
    let dir = place.dir.as_ref()?;
    matches!(namespace::level(dir), Level::Volume(_)).then_some(place.object_id)
}

/// Without a look at the rows; a bucket may come several times.
fn by_id(body: &Body) -> Vec<u64> {
    let mut found = Vec::new();
    match body {
        Body::Lookup(r) => add_dir(&mut found, r.dir.as_ref()),
        Body::ReadDir(r) => add_dir(&mut found, r.dir.as_ref()),
        Body::Create(r) => add_dir(&mut found, r.dir.as_ref()),
        Body::Unlink(r) => add_dir(&mut found, r.dir.as_ref()),
        Body::Rename(r) => {
            add_dir(&mut found, r.from_dir.as_ref());
            add_dir(&mut found, r.to_dir.as_ref());
        }
        Body::Link(r) => {
            add_inode(&mut found, r.source.as_ref());
            add_dir(&mut found, r.dir.as_ref());
        }
        Body::GetAttr(r) => add_inode(&mut found, r.r#ref.as_ref()),
        Body::GetExtents(r) => add_inode(&mut found, r.r#ref.as_ref()),
        Body::Open(r) => add_inode(&mut found, r.r#ref.as_ref()),
        Body::SetAttr(r) => add_inode(&mut found, r.r#ref.as_ref()),
        Body::Commit(r) => add_inode(&mut found, r.r#ref.as_ref()),
        Body::Batch(r) => {
            for part in r.parts.iter().filter_map(|part| part.change.as_ref()) {
                match part {
                    Part::Create(r) => add_dir(&mut found, r.dir.as_ref()),
                    Part::SetAttr(r) => add_inode(&mut found, r.r#ref.as_ref()),
                    Part::Commit(r) => add_inode(&mut found, r.r#ref.as_ref()),
                }
            }
        }
        _ => {}
    }
    found
}

fn add(found: &mut Vec<u64>, bucket: u64) {
    // The many parts of a batch are mostly in one bucket.
    if found.last() != Some(&bucket) {
        found.push(bucket);
    }
}

fn add_dir(found: &mut Vec<u64>, dir: Option<&DirRef>) {
    if let Some(Level::Bucket { bucket, .. }) = dir.map(namespace::level) {
        add(found, bucket);
    }
}

fn add_inode(found: &mut Vec<u64>, inode: Option<&InodeRef>) {
    let Some(inode) = inode else { return };
    match inode.dir.as_ref().map(namespace::level) {
        Some(Level::Bucket { bucket, .. }) => add(found, bucket),
        Some(Level::Volume(_)) => add(found, inode.object_id),
        _ => {}
    }
}

/// Buckets that must be looked up by their names.
enum Named {
    /// A name in a volume that is known by its id.
    Child(DirRef, Vec<u8>),
    /// Volume and bucket.
    Bucket(String, String),
    /// A page of those of a volume.
    Page(ReadDirRequest),
    /// Likewise, of the object interface.
    List(ListBucketsRequest),
}

fn by_name(body: &Body) -> Vec<Named> {
    let child = |dir: &Option<DirRef>, name: &[u8]| {
        let dir = dir.filter(|dir| matches!(namespace::level(dir), Level::Volume(_)));
        dir.map(|dir| Named::Child(dir, name.to_vec()))
    };
    let named = match body {
        Body::Lookup(r) => child(&r.dir, &r.name),
        Body::Create(r) => child(&r.dir, &r.name),
        Body::Unlink(r) => child(&r.dir, &r.name),
        Body::Batch(r) => {
            let creates = r.parts.iter().filter_map(|part| match &part.change {
                Some(Part::Create(r)) => child(&r.dir, &r.name),
                _ => None,
            });
            return creates.collect();
        }
        Body::ReadDir(r) => {
            let level = r.dir.as_ref().map(namespace::level);
            matches!(level, Some(Level::Volume(_))).then(|| Named::Page(r.clone()))
        }
        Body::CreateKeyRequest(r) => Some(of_key(&r.key_args)),
        Body::CommitKeyRequest(r) => Some(of_key(&r.key_args)),
        Body::PutKey(r) => Some(of_key(&r.key_args)),
        Body::CopyKey(r) => return vec![of_key(&r.source), of_key(&r.key_args)],
        Body::PutObjectTaggingRequest(r) => Some(of_key(&r.key_args)),
        Body::InitiateMultiPartUploadRequest(r) => Some(of_key(&r.key_args)),
        Body::CompleteMultiPartUploadRequest(r) => Some(of_key(&r.key_args)),
        Body::ReadKey(r) => Some(of_key(&r.key_args)),
        Body::ListObjects(r) => Some(bucket(&r.volume_name, &r.bucket_name)),
        Body::LookupKeyRequest(r) => Some(of_key(&r.key_args)),
        Body::GetKeyInfoRequest(r) => Some(of_key(&r.key_args)),
        Body::DeleteKeyRequest(r) => Some(of_key(&r.key_args)),
        Body::RenameKeyRequest(r) => Some(of_key(&r.key_args)),
        Body::ListKeysRequest(r) => Some(bucket(&r.volume_name, &r.bucket_name)),
        Body::InfoBucketRequest(r) => Some(bucket(&r.volume_name, &r.bucket_name)),
        Body::DeleteBucketRequest(r) => Some(bucket(&r.volume_name, &r.bucket_name)),
        Body::CreateSnapshotRequest(r) if !r.no_flush() => {
            Some(bucket(r.volume_name(), r.bucket_name()))
        }
        Body::ListBucketsRequest(r) => Some(Named::List(r.clone())),
        _ => None,
    };
    named.into_iter().collect()
}

fn bucket(volume: &str, bucket: &str) -> Named {
    Named::Bucket(volume.to_owned(), bucket.to_owned())
}

fn of_key(args: &KeyArgs) -> Named {
    bucket(&args.volume_name, &args.bucket_name)
}

fn resolve(named: &[Named], rows: &impl Rows) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for name in named {
        match resolve_one(name, rows) {
            Ok(buckets) => found.extend(buckets),
            Err(fault @ (OmError::Storage(_) | OmError::NotInMemory)) => return Err(fault),
            // What cannot be looked up now is refused when it is asked for in earnest.
            Err(_) => {}
        }
    }
    Ok(found)
}

fn resolve_one(named: &Named, rows: &impl Rows) -> Result<Vec<u64>> {
    Ok(match named {
        Named::Child(dir, name) => {
            let child = namespace::child(rows, dir, name)?;
            child.into_iter().map(|f| f.row.object_id).collect()
        }
        Named::Bucket(volume, bucket) => {
            vec![namespace::bucket_root(&namespace::bucket(rows, volume, bucket)?).bucket_id]
        }
        Named::Page(r) => {
            let page = listing::read_dir(r, rows)?;
            page.entries.iter().filter_map(as_bucket).collect()
        }
        Named::List(r) => {
            let list = listing::list_buckets(r, rows)?;
            list.bucket_info.iter().map(|b| b.object_id()).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use ozone_proto::namespace::*;

    use super::*;

    const VOLUME: DirRef = DirRef {
        volume_id: 2,
        bucket_id: 0,
        parent_id: 2,
        snapshot: 0,
    };

    fn dir(bucket: u64) -> Option<DirRef> {
        Some(DirRef {
            volume_id: 2,
            bucket_id: bucket,
            parent_id: 9,
            snapshot: 0,
        })
    }

    fn inode(dir: Option<DirRef>, object_id: u64) -> Option<InodeRef> {
        Some(InodeRef {
            dir,
            object_id,
            ..Default::default()
        })
    }

    #[test]
    fn a_request_touches_every_bucket_that_it_names_by_id() {
        let rename = Body::Rename(RenameRequest {
            from_dir: dir(5),
            to_dir: dir(3),
            ..Default::default()
        });
        assert_eq!(by_id(&rename), [5, 3]);
        let get = |r#ref| Body::GetAttr(GetAttrRequest { r#ref });
        assert_eq!(by_id(&get(inode(dir(5), 42))), [5]);
        let bucket = get(inode(Some(VOLUME), 7));
        assert_eq!(by_id(&bucket), [7], "the bucket itself");
        assert!(by_id(&get(inode(Some(DirRef::default()), 2))).is_empty());
        assert!(by_id(&Body::StatFs(StatFsRequest { dir: dir(5) })).is_empty());
        let part = |bucket| BatchPart {
            change: Some(Part::Commit(CommitRequest {
                r#ref: inode(dir(bucket), 42),
                ..Default::default()
            })),
            ..Default::default()
        };
        let parts = [5, 5, 6].map(part).to_vec();
        assert_eq!(by_id(&Body::Batch(BatchRequest { parts })), [5, 6]);
    }

    #[test]
    fn only_names_are_looked_up() {
        let lookup = |dir| {
            Body::Lookup(LookupRequest {
                dir,
                ..Default::default()
            })
        };
        assert!(by_name(&lookup(dir(5))).is_empty());
        assert!(by_name(&lookup(Some(DirRef::default()))).is_empty());
        assert_eq!(by_name(&lookup(Some(VOLUME))).len(), 1);
        assert_eq!(
            by_name(&Body::DeleteKeyRequest(Default::default())).len(),
            1
        );
        assert!(by_name(&Body::KeepAlive(Default::default())).is_empty());
    }
}
