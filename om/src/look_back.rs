//! Reading what a snapshot holds. A request says so by the `snapshot` of its directory, or by a key that
//! begins with `.snapshot/<name>/`; it is answered from the checkpoint by the code that answers from the
//! live database. Nothing in it changes any more, so no lease is needed to believe the answer.

use ozone_proto::namespace::batch_part::Change as Part;
use ozone_proto::namespace::{BatchPart, DirRef, InodeRef};
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::{
    KeyArgs, KeyInfo, ListKeysRequest, ListKeysResponse, ListObjectsRequest, ListObjectsResponse,
    ReadKeyRequest, Status,
};

use crate::error::{OmError, Result, refuse};
use crate::leader::Leader;
use crate::reads::{self, Answer};
use crate::rows::Rows;
use crate::snapshots;
use crate::store::Store;

/// Where in the past a request looks.
pub(crate) enum Past {
    /// In the directory of a bucket that has its snapshots.
    List,
    /// In the snapshot of that bucket and index.
    Ids(u64, u64),
    /// In a snapshot that the request names, in this volume and bucket.
    Named(String, String, String),
}

/// Where in the past the request looks, if it does not look at what is there now.
pub(crate) fn past_of(body: &Body) -> Option<Past> {
    if let Some(dir) = dir_of(body) {
        return match dir.snapshot {
            0 => None,
            snapshots::LIST => Some(Past::List),
            index => Some(Past::Ids(dir.bucket_id, index)),
        };
    }
    let (volume, bucket, key) = match body {
        Body::GetKeyInfoRequest(r) => place(&r.key_args),
        Body::LookupKeyRequest(r) => place(&r.key_args),
        Body::ReadKey(r) => place(&r.key_args),
        Body::ListKeysRequest(r) => (&*r.volume_name, &*r.bucket_name, r.prefix()),
        Body::ListObjects(r) => (&*r.volume_name, &*r.bucket_name, r.prefix()),
        // Of a request that changes something such a key is refused as a name. Everything else names no key.
        _ => return None,
    };
    let (name, _) = split(key)?;
    Some(Past::Named(volume.into(), bucket.into(), name.into()))
}

fn place(args: &KeyArgs) -> (&str, &str, &str) {
    (&args.volume_name, &args.bucket_name, &args.key_name)
}

/// The snapshot's name and the rest of a key that begins with `.snapshot/<name>`.
fn split(key: &str) -> Option<(&str, &str)> {
    let rest = key
        .trim_start_matches('/')
        .strip_prefix(snapshots::DIRECTORY)?;
    let rest = rest.strip_prefix('/')?.trim_start_matches('/');
    let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
    (!name.is_empty()).then_some((name, key))
}

/// The directory that the request is about; where there are several, one that is in the past if any is.
fn dir_of(body: &Body) -> Option<DirRef> {
    let past_first = |dirs: &mut dyn Iterator<Item = DirRef>| dirs.max_by_key(|dir| dir.snapshot);
    match body {
        Body::Lookup(r) => r.dir,
        Body::ReadDir(r) => r.dir,
        Body::GetAttr(r) => of_inode(&r.r#ref),
        Body::GetExtents(r) => of_inode(&r.r#ref),
        Body::Open(r) => of_inode(&r.r#ref),
        Body::Create(r) => r.dir,
        Body::Unlink(r) => r.dir,
        Body::Rename(r) => past_first(&mut [r.from_dir, r.to_dir].into_iter().flatten()),
        Body::Link(r) => past_first(&mut [of_inode(&r.source), r.dir].into_iter().flatten()),
        Body::Batch(r) => past_first(&mut r.parts.iter().filter_map(dir_of_part)),
        Body::SetAttr(r) => of_inode(&r.r#ref),
        Body::Commit(r) => of_inode(&r.r#ref),
        Body::AllocateBlocks(r) => r.bucket,
        Body::StatFs(_) => None,
        // These name no directory.
        Body::CreateVolumeRequest(_)
        | Body::InfoVolumeRequest(_)
        | Body::DeleteVolumeRequest(_)
        | Body::ListVolumeRequest(_)
        | Body::CreateBucketRequest(_)
        | Body::InfoBucketRequest(_)
        | Body::DeleteBucketRequest(_)
        | Body::ListBucketsRequest(_)
        | Body::CreateKeyRequest(_)
        | Body::LookupKeyRequest(_)
        | Body::RenameKeyRequest(_)
        | Body::DeleteKeyRequest(_)
        | Body::ListKeysRequest(_)
        | Body::CommitKeyRequest(_)
        | Body::AllocateBlockRequest(_)
        | Body::GetKeyInfoRequest(_)
        | Body::PutKey(_)
        | Body::ReadKey(_)
        | Body::ListObjects(_)
        | Body::CopyKey(_)
        | Body::PutObjectTaggingRequest(_)
        | Body::InitiateMultiPartUploadRequest(_)
        | Body::CommitMultiPartUploadRequest(_)
        | Body::CompleteMultiPartUploadRequest(_)
        | Body::AbortMultiPartUploadRequest(_)
        | Body::ListMultiPartUploadPartsRequest(_)
        | Body::ListMultipartUploadsRequest(_)
        | Body::GetS3SecretRequest(_)
        | Body::SetS3SecretRequest(_)
        | Body::RevokeS3SecretRequest(_)
        | Body::LookupS3Secret(_)
        | Body::CreateSnapshotRequest(_)
        | Body::ListSnapshotRequest(_)
        | Body::SnapshotInfoRequest(_)
        | Body::DeleteSnapshotRequest(_)
        | Body::RenameSnapshotRequest(_)
        | Body::SnapshotDiffRequest(_)
        | Body::SubmitSnapshotDiffRequest(_)
        | Body::ListSnapshotDiffJobRequest(_)
        | Body::CancelSnapshotDiffRequest(_)
        | Body::OpenSession(_)
        | Body::CloseSession(_)
        | Body::KeepAlive(_)
        | Body::RenewLeases(_)
        | Body::ReserveIds(_)
        | Body::Release(_)
        | Body::ReleaseBlocks(_)
        | Body::DropOrphans(_)
        | Body::Purge(_)
        | Body::Fold(_)
        | Body::ReclaimSnapshot(_)
        | Body::ServiceListRequest(_) => None,
    }
}

fn of_inode(inode: &Option<InodeRef>) -> Option<DirRef> {
    inode.as_ref()?.dir
}

fn dir_of_part(part: &BatchPart) -> Option<DirRef> {
    match part.change.as_ref()? {
        Part::Create(r) => r.dir,
        Part::SetAttr(r) => of_inode(&r.r#ref),
        Part::Commit(r) => of_inode(&r.r#ref),
    }
}

/// The refusal of a change in the past.
pub(crate) fn read_only() -> OmError {
    OmError::refused(
        Status::ReadOnly,
        "what a snapshot holds cannot be changed: copy it out of .snapshot",
    )
}

/// Answers a request that looks into the past, from the rows.
pub(crate) async fn answer(body: &Body, past: Past, leader: &Leader) -> Result<Answer> {
    let (mut asked, state) = (body.clone(), leader.state.clone());
    leader
        .read(move |store| {
            let row = match past {
                Past::List => return list(&asked, store),
                Past::Ids(bucket, index) => snapshots::at(store, bucket, index)?,
                Past::Named(volume, bucket, name) => {
                    snapshots::find(store, &volume, &bucket, &name)?
                }
            };
            let then = state.checkpoints.open(&row)?;
            let names = (&*row.volume, &*row.bucket);
            look(&mut asked, names, &then)
        })
        .await
}

/// The directory `.snapshot`.
fn list(asked: &Body, store: &Store) -> Result<Answer> {
    let view = store.view();
    let done = |reply: Reply| Ok(Answer::Done(Box::new(reply)));
    match asked {
        Body::Lookup(r) => done(Reply::Lookup(reads::inode::lookup_snapshot(r, &view)?)),
        Body::ReadDir(r) => done(Reply::ReadDir(reads::listing::read_snapshots(r, &view)?)),
        Body::GetAttr(r) => done(Reply::GetAttr(reads::inode::snapshots_attr(r, &view)?)),
        _ => Err(refuse::invalid("that is a directory of snapshots")),
    }
}

/// Answers as of then, from the bucket that the snapshot is of: the links of then may have led elsewhere. Keys are
/// told by the names by which they were asked for.
fn look(asked: &mut Body, bucket: (&str, &str), then: &impl Rows) -> Result<Answer> {
    match asked {
        Body::GetKeyInfoRequest(r) => key(&mut r.key_args, bucket, then),
        Body::LookupKeyRequest(r) => key(&mut r.key_args, bucket, then),
        Body::ListKeysRequest(r) => {
            let asked = into_bucket(&mut r.volume_name, &mut r.bucket_name, bucket);
            let mut found = keys(r, then)?;
            found.key_info.iter_mut().for_each(|info| asked.give(info));
            let reply = Reply::ListKeysResponse(found);
            Ok(Answer::Done(Box::new(reply)))
        }
        Body::ReadKey(r) => read(r, bucket, then),
        Body::ListObjects(r) => {
            into_bucket(&mut r.volume_name, &mut r.bucket_name, bucket);
            let reply = Reply::ListObjects(objects(r, then)?);
            Ok(Answer::Done(Box::new(reply)))
        }
        _ => reads::answer(asked, then),
    }
}

/// By which names of volume and bucket a request asked.
struct Asked(String, String);

impl Asked {
    fn give(&self, info: &mut KeyInfo) {
        info.volume_name.clone_from(&self.0);
        info.bucket_name.clone_from(&self.1);
    }
}

/// Has a request ask by the names of that bucket.
fn into_bucket(volume: &mut String, name: &mut String, bucket: (&str, &str)) -> Asked {
    let asked = Asked(std::mem::take(volume), std::mem::take(name));
    volume.push_str(bucket.0);
    name.push_str(bucket.1);
    asked
}

fn key(args: &mut KeyArgs, bucket: (&str, &str), then: &impl Rows) -> Result<Answer> {
    let asked = into_bucket(&mut args.volume_name, &mut args.bucket_name, bucket);
    let asked_name = args.key_name.clone();
    let (_, rest) = split(&asked_name).unwrap_or_default();
    let mut info = match rest {
        // The root of the snapshot, as the key that it is of its bucket now.
        "" => reads::keys::root(args, then)?,
        rest => {
            args.key_name = rest.to_owned();
            reads::keys::info(args, then)?
        }
    };
    info.key_name = asked_name;
    asked.give(&mut info);
    Ok(Answer::Key(Box::new(info)))
}

fn read(request: &mut ReadKeyRequest, bucket: (&str, &str), then: &impl Rows) -> Result<Answer> {
    let args = &mut request.key_args;
    let asked = into_bucket(&mut args.volume_name, &mut args.bucket_name, bucket);
    let asked_name = request.key_args.key_name.clone();
    let (_, rest) = split(&asked_name).unwrap_or_default();
    request.key_args.key_name = rest.to_owned();
    let mut found = reads::keys::read(request, then)?;
    if let Some(key) = &mut found.key_info {
        key.key_name = asked_name;
        asked.give(key);
    }
    Ok(Answer::KeyMap(Box::new(found)))
}

fn objects(request: &mut ListObjectsRequest, then: &impl Rows) -> Result<ListObjectsResponse> {
    let prefix = request.prefix().to_owned();
    let (name, rest) = split(&prefix).unwrap_or_default();
    let lead = format!("{}/{name}/", snapshots::DIRECTORY);
    let after = request.after().strip_prefix(lead.as_bytes());
    request.after = after.map(|after| after.to_vec().into());
    request.prefix = Some(rest.to_owned());
    let mut found = reads::objects::list(request, then)?;
    let names = found
        .objects
        .iter_mut()
        .filter_map(|object| object.key.as_mut());
    // Inodes are told by their own names, as those of a snapshot's directories are.
    names
        .chain(&mut found.common_prefixes)
        .for_each(|name| name.insert_str(0, &lead));
    found.last = found
        .last
        .map(|last| [lead.as_bytes(), &last].concat().into());
    Ok(found)
}

fn keys(request: &mut ListKeysRequest, then: &impl Rows) -> Result<ListKeysResponse> {
    let prefix = request.prefix().to_owned();
    let (name, rest) = split(&prefix).unwrap_or_default();
    let lead = format!("{}/{name}/", snapshots::DIRECTORY);
    let start = request.start_key().strip_prefix(&lead).unwrap_or_default();
    request.start_key = Some(start.to_owned());
    request.prefix = Some(rest.to_owned());
    let mut found = reads::keys::list(request, then)?;
    for key in &mut found.key_info {
        key.key_name.insert_str(0, &lead);
    }
    Ok(found)
}

/// Whether a change is about what is in the past.
pub(crate) fn is_past(body: &Body) -> bool {
    dir_of(body).is_some_and(|dir| dir.snapshot != 0)
}
