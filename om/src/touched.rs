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

use crate::error::Result;
use crate::leader::Leader;
use crate::namespace::{self, Level};
use crate::reads::listing;
use crate::rows::Rows;

/// The buckets that the request touches, each once, in order.
pub async fn buckets(body: &Body, leader: &Leader) -> Result<Vec<u64>> {
    let Touched {
        ids: mut found,
        named,
    } = named_by(body);
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

/// The buckets that a request names.
#[derive(Default)]
struct Touched {
    /// Without a look at the rows; a bucket may come several times.
    ids: Vec<u64>,
    named: Vec<Named>,
}

impl Touched {
    fn id(&mut self, bucket: u64) {
        // The many parts of a batch are mostly in one bucket.
        if self.ids.last() != Some(&bucket) {
            self.ids.push(bucket);
        }
    }

    fn dir(&mut self, dir: Option<&DirRef>) {
        if let Some(Level::Bucket { bucket, .. }) = dir.map(namespace::level) {
            self.id(bucket);
        }
    }

    fn inode(&mut self, inode: Option<&InodeRef>) {
        let Some(inode) = inode else { return };
        match inode.dir.as_ref().map(namespace::level) {
            Some(Level::Bucket { bucket, .. }) => self.id(bucket),
            Some(Level::Volume(_)) => self.id(inode.object_id),
            Some(Level::Root) | None => {}
        }
    }

    /// A name in a directory: in that of a volume it is a bucket's.
    fn child(&mut self, dir: Option<&DirRef>, name: &[u8]) {
        self.dir(dir);
        self.in_volume(dir, |dir| Named::Child(*dir, name.to_vec()));
    }

    fn in_volume(&mut self, dir: Option<&DirRef>, name: impl FnOnce(&DirRef) -> Named) {
        let dir = dir.filter(|dir| matches!(namespace::level(dir), Level::Volume(_)));
        self.named.extend(dir.map(name));
    }

    fn bucket(&mut self, volume: &str, bucket: &str) {
        let (volume, bucket) = (volume.to_owned(), bucket.to_owned());
        self.named.push(Named::Bucket(volume, bucket));
    }

    fn key(&mut self, args: &KeyArgs) {
        self.bucket(&args.volume_name, &args.bucket_name);
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Create(r) => self.child(r.dir.as_ref(), &r.name),
            Part::SetAttr(r) => self.inode(r.r#ref.as_ref()),
            Part::Commit(r) => self.inode(r.r#ref.as_ref()),
        }
    }
}

fn named_by(body: &Body) -> Touched {
    let mut found = Touched::default();
    match body {
        Body::Lookup(r) => found.child(r.dir.as_ref(), &r.name),
        Body::Create(r) => found.child(r.dir.as_ref(), &r.name),
        Body::Unlink(r) => found.child(r.dir.as_ref(), &r.name),
        Body::ReadDir(r) => {
            found.dir(r.dir.as_ref());
            found.in_volume(r.dir.as_ref(), |_| Named::Page(r.clone()));
        }
        Body::Rename(r) => {
            found.dir(r.from_dir.as_ref());
            found.dir(r.to_dir.as_ref());
        }
        Body::Link(r) => {
            found.inode(r.source.as_ref());
            found.dir(r.dir.as_ref());
        }
        Body::GetAttr(r) => found.inode(r.r#ref.as_ref()),
        Body::GetExtents(r) => found.inode(r.r#ref.as_ref()),
        Body::Open(r) => found.inode(r.r#ref.as_ref()),
        Body::SetAttr(r) => found.inode(r.r#ref.as_ref()),
        Body::Commit(r) => found.inode(r.r#ref.as_ref()),
        Body::Batch(r) => {
            let parts = r.parts.iter().filter_map(|part| part.change.as_ref());
            parts.for_each(|part| found.part(part));
        }
        Body::CreateKeyRequest(r) => found.key(&r.key_args),
        Body::CommitKeyRequest(r) => found.key(&r.key_args),
        Body::PutKey(r) => found.key(&r.key_args),
        Body::CopyKey(r) => {
            found.key(&r.source);
            found.key(&r.key_args);
        }
        Body::PutObjectTaggingRequest(r) => found.key(&r.key_args),
        Body::InitiateMultiPartUploadRequest(r) => found.key(&r.key_args),
        Body::CompleteMultiPartUploadRequest(r) => found.key(&r.key_args),
        Body::ReadKey(r) => found.key(&r.key_args),
        Body::LookupKeyRequest(r) => found.key(&r.key_args),
        Body::GetKeyInfoRequest(r) => found.key(&r.key_args),
        Body::DeleteKeyRequest(r) => found.key(&r.key_args),
        Body::RenameKeyRequest(r) => found.key(&r.key_args),
        Body::ListObjects(r) => found.bucket(&r.volume_name, &r.bucket_name),
        Body::ListKeysRequest(r) => found.bucket(&r.volume_name, &r.bucket_name),
        Body::InfoBucketRequest(r) => found.bucket(&r.volume_name, &r.bucket_name),
        Body::DeleteBucketRequest(r) => found.bucket(&r.volume_name, &r.bucket_name),
        Body::CreateSnapshotRequest(r) if r.no_flush() => {}
        Body::CreateSnapshotRequest(r) => found.bucket(r.volume_name(), r.bucket_name()),
        Body::ListBucketsRequest(r) => found.named.push(Named::List(r.clone())),
        // Volumes, secrets and servers.
        Body::CreateVolumeRequest(_)
        | Body::InfoVolumeRequest(_)
        | Body::DeleteVolumeRequest(_)
        | Body::ListVolumeRequest(_)
        | Body::GetS3SecretRequest(_)
        | Body::SetS3SecretRequest(_)
        | Body::RevokeS3SecretRequest(_)
        | Body::LookupS3Secret(_)
        | Body::ServiceListRequest(_)
        | Body::StatFs(_) => {}
        // A bucket that nobody has yet.
        Body::CreateBucketRequest(_) => {}
        // Parts and blocks of what is no key yet, which no session can hold back.
        Body::AllocateBlockRequest(_)
        | Body::CommitMultiPartUploadRequest(_)
        | Body::AbortMultiPartUploadRequest(_)
        | Body::ListMultiPartUploadPartsRequest(_)
        | Body::ListMultipartUploadsRequest(_)
        | Body::AllocateBlocks(_)
        | Body::ReleaseBlocks(_) => {}
        // Snapshots that are there, in which nothing changes.
        Body::ListSnapshotRequest(_)
        | Body::SnapshotInfoRequest(_)
        | Body::DeleteSnapshotRequest(_)
        | Body::RenameSnapshotRequest(_)
        | Body::SnapshotDiffRequest(_)
        | Body::SubmitSnapshotDiffRequest(_)
        | Body::ListSnapshotDiffJobRequest(_)
        | Body::CancelSnapshotDiffRequest(_) => {}
        // Sessions.
        Body::OpenSession(_)
        | Body::CloseSession(_)
        | Body::KeepAlive(_)
        | Body::RenewLeases(_)
        | Body::ReserveIds(_)
        | Body::Release(_) => {}
        // The OM's own, of what nobody sees.
        Body::DropOrphans(_) | Body::Purge(_) | Body::Fold(_) | Body::ReclaimSnapshot(_) => {}
    }
    found
}

fn resolve(named: &[Named], rows: &impl Rows) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for name in named {
        match resolve_one(name, rows) {
            Ok(buckets) => found.extend(buckets),
            // What cannot be looked up now is refused when it is asked for in earnest.
            Err(refusal) if refusal.is_refusal() => {}
            Err(fault) => return Err(fault),
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

    fn ids(body: &Body) -> Vec<u64> {
        named_by(body).ids
    }

    fn named(body: &Body) -> usize {
        named_by(body).named.len()
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
        assert_eq!(ids(&rename), [5, 3]);
        let get = |r#ref| Body::GetAttr(GetAttrRequest { r#ref });
        assert_eq!(ids(&get(inode(dir(5), 42))), [5]);
        let bucket = get(inode(Some(VOLUME), 7));
        assert_eq!(ids(&bucket), [7], "the bucket itself");
        assert!(ids(&get(inode(Some(DirRef::default()), 2))).is_empty());
        assert!(ids(&Body::StatFs(StatFsRequest { dir: dir(5) })).is_empty());
        let part = |bucket| BatchPart {
            change: Some(Part::Commit(CommitRequest {
                r#ref: inode(dir(bucket), 42),
                ..Default::default()
            })),
            ..Default::default()
        };
        let parts = [5, 5, 6].map(part).to_vec();
        assert_eq!(ids(&Body::Batch(BatchRequest { parts })), [5, 6]);
    }

    #[test]
    fn only_names_are_looked_up() {
        let lookup = |dir| {
            Body::Lookup(LookupRequest {
                dir,
                ..Default::default()
            })
        };
        assert_eq!(named(&lookup(dir(5))), 0);
        assert_eq!(named(&lookup(Some(DirRef::default()))), 0);
        assert_eq!(named(&lookup(Some(VOLUME))), 1);
        assert_eq!(named(&Body::DeleteKeyRequest(Default::default())), 1);
        assert_eq!(named(&Body::CopyKey(Default::default())), 2);
        assert_eq!(named(&Body::KeepAlive(Default::default())), 0);
    }
}
