//! The requests that only look. They are answered from the rows, on a thread that may block, behind
//! a linearizable read point of the log.

pub mod inode;
pub mod keys;
pub mod listing;
pub mod objects;
pub mod order;
pub mod snapshots;
pub mod uploads;

use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;

use crate::error::{Result, refuse};
use crate::ops::s3_secret;
use crate::rows::Rows;

/// What a read finds that only the leader can complete: where blocks are, who has what open.
pub enum Answer {
    /// Complete.
    Done(Box<Reply>),
    /// Extents, to be completed with locations and tokens.
    Extents(Box<ozone_proto::namespace::GetExtentsResponse>),
    /// A key, likewise.
    Key(Box<ozone_proto::om::KeyInfo>),
    /// A key with the beginning of its map, likewise.
    KeyMap(Box<ozone_proto::om::ReadKeyResponse>),
}

/// Whether the read looks at few rows, however large what it is about.
pub fn is_short(body: &Body) -> bool {
    matches!(
        body,
        Body::Lookup(_)
            | Body::GetAttr(_)
            | Body::Open(_)
            | Body::ReadKey(_)
            | Body::GetKeyInfoRequest(_)
            | Body::InfoBucketRequest(_)
            | Body::LookupS3Secret(_)
    )
}

/// Whether the request does nothing but look at few rows: nothing is noted of who asks.
pub fn is_look(body: &Body) -> bool {
    is_short(body) && !matches!(body, Body::Open(_))
}

/// Answers a read.
pub fn answer(body: &Body, rows: &impl Rows) -> Result<Answer> {
    let done = |reply: Result<Reply>| reply.map(|r| Answer::Done(Box::new(r)));
    match body {
        Body::Lookup(r) => done(inode::lookup(r, rows).map(Reply::Lookup)),
        Body::GetAttr(r) => done(inode::get_attr(r, rows).map(Reply::GetAttr)),
        Body::Open(r) => done(inode::open(r, rows).map(Reply::Open)),
        Body::GetExtents(r) => inode::get_extents(r, rows).map(|e| Answer::Extents(Box::new(e))),
        Body::ReadDir(r) => done(listing::read_dir(r, rows).map(Reply::ReadDir)),
        Body::InfoVolumeRequest(r) => {
            done(listing::info_volume(r, rows).map(Reply::InfoVolumeResponse))
        }
        Body::ListVolumeRequest(r) => {
            done(listing::list_volumes(r, rows).map(Reply::ListVolumeResponse))
        }
        Body::InfoBucketRequest(r) => {
            done(listing::info_bucket(r, rows).map(Reply::InfoBucketResponse))
        }
        Body::ListBucketsRequest(r) => {
            done(listing::list_buckets(r, rows).map(Reply::ListBucketsResponse))
        }
        Body::ListKeysRequest(r) => done(keys::list(r, rows).map(Reply::ListKeysResponse)),
        Body::GetKeyInfoRequest(r) => {
            keys::info(&r.key_args, rows).map(|k| Answer::Key(Box::new(k)))
        }
        Body::ReadKey(r) => keys::read(r, rows).map(|k| Answer::KeyMap(Box::new(k))),
        Body::ListObjects(r) => done(objects::list(r, rows).map(Reply::ListObjects)),
        Body::ListMultiPartUploadPartsRequest(r) => {
            done(uploads::parts(r, rows).map(Reply::ListMultiPartUploadPartsResponse))
        }
        Body::ListMultipartUploadsRequest(r) => {
            done(uploads::uploads(r, rows).map(Reply::ListMultipartUploadsResponse))
        }
        Body::LookupS3Secret(r) => done(s3_secret::lookup(r, rows).map(Reply::LookupS3Secret)),
        Body::LookupKeyRequest(r) => {
            keys::info(&r.key_args, rows).map(|k| Answer::Key(Box::new(k)))
        }
        Body::ListSnapshotRequest(r) => {
            done(snapshots::list(r, rows).map(Reply::ListSnapshotResponse))
        }
        Body::SnapshotInfoRequest(r) => {
            done(snapshots::info(r, rows).map(Reply::SnapshotInfoResponse))
        }
        _ => Err(refuse::invalid("the request is not served by this version")),
    }
}
