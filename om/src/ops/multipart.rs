//! Multipart uploads: a key that comes in parts, in any order, each with blocks of its own. Completing it makes the
//! key refer to the parts' blocks, one part behind the other; no byte is moved.
//!
//! A part is an inode without a name: its references hold its blocks until the upload is completed or aborted, and
//! then it is reclaimed as a deleted file is.

use ozone_proto::namespace::{BucketRow, DirRef, InodeKind, InodeRow, MultipartRow, PartRow};
use ozone_proto::om::{
    KeyArgs, MultipartCommitUploadPartRequest, MultipartCommitUploadPartResponse,
    MultipartInfoInitiateRequest, MultipartInfoInitiateResponse, MultipartUploadAbortRequest,
    MultipartUploadAbortResponse, MultipartUploadCompleteRequest, MultipartUploadCompleteResponse,
    Part, Status,
};

use super::commit::{check_session, keep_inline};
use super::key_commit::{filled, put};
use super::key_copy::shared;
use super::key_create::{check_place, new_inode};
use crate::apply::Apply;
use crate::error::{OmError, Result, refuse};
use crate::leader::Leader;
use crate::namespace::{self, ROW_VERSION};
use crate::rows::{Rows, decode};
use crate::unlink::{self, replicated};
use crate::{etag, key_path, limits, tables};

/// Highest number of a part.
pub const MAX_PARTS: u32 = 10_000;
/// Bytes of the smallest part that is not the last.
pub const MIN_PART: u64 = 5 << 20;

/// An upload, and where it is kept.
struct Upload {
    key: Vec<u8>,
    row: MultipartRow,
    root: DirRef,
}

/// Leader: makes an id up, whatever the request says.
pub fn prepare(request: &mut MultipartInfoInitiateRequest, leader: &Leader) {
    request.key_args.multipart_upload_id = Some(leader.rng.uuid().to_string());
}

/// Begins an upload.
pub fn initiate(
    request: &MultipartInfoInitiateRequest,
    apply: &mut Apply<'_>,
) -> Result<MultipartInfoInitiateResponse> {
    let args = &request.key_args;
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let root = namespace::bucket_root(&bucket);
    check_place(apply, &root, &key_path::split(&root, &args.key_name)?)?;
    let inode = new_inode(args, &bucket, apply)?;
    let id = format!("{}-{}", args.multipart_upload_id(), inode.object_id);
    let row = MultipartRow {
        version: ROW_VERSION,
        upload_id: id.clone(),
        key_name: args.key_name.clone(),
        created_ms: apply.time_ms(),
        inode: Some(inode),
        volume: bucket.volume.clone(),
        bucket: bucket.name.clone(),
    };
    let key = tables::multipart_key(&bucket.volume, &bucket.name, &args.key_name, &id);
    apply.put(tables::MULTIPART_INFO, &key, &row);
    Ok(MultipartInfoInitiateResponse {
        volume_name: args.volume_name.clone(),
        bucket_name: args.bucket_name.clone(),
        key_name: args.key_name.clone(),
        multipart_upload_id: id,
    })
}

/// Finds the upload to `bucket` that a request names.
pub fn find(args: &KeyArgs, bucket: &BucketRow, rows: &impl Rows) -> Result<MultipartRow> {
    let id = args.multipart_upload_id();
    let key = tables::multipart_key(&bucket.volume, &bucket.name, &args.key_name, id);
    let row = rows.get(tables::MULTIPART_INFO, &key)?;
    row.filter(|_| !id.is_empty() && !id.contains('/'))
        .ok_or_else(|| {
            let message = format!("No such multipart upload: {id} of {}", args.key_name);
            OmError::refused(Status::NoSuchMultipartUploadError, message)
        })
}

fn upload(args: &KeyArgs, apply: &Apply<'_>) -> Result<Upload> {
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let row = find(args, &bucket, apply)?;
    let (volume, name) = (&bucket.volume, &bucket.name);
    Ok(Upload {
        key: tables::multipart_key(volume, name, &args.key_name, &row.upload_id),
        row,
        root: namespace::bucket_root(&bucket),
    })
}

/// Stores a part, in place of the one that had its number.
pub fn commit_part(
    request: &MultipartCommitUploadPartRequest,
    apply: &mut Apply<'_>,
) -> Result<MultipartCommitUploadPartResponse> {
    let args = &request.key_args;
    check_session(apply, args.session.unwrap_or(0))?;
    let upload = upload(args, apply)?;
    let inode = part_inode(&upload, apply)?;
    let extents = keep_inline(apply, inode.object_id, &args.extents)?;
    put_part(&upload, args, (inode, args.data_size(), extents), apply)?;
    Ok(MultipartCommitUploadPartResponse {
        e_tag: Some(digest(args)),
        ..Default::default()
    })
}

/// Stores a range of a file as a part; no length: up to the end.
pub fn put_copy(
    args: &KeyArgs,
    source: &InodeRow,
    (from, length): (u64, Option<u64>),
    apply: &mut Apply<'_>,
) -> Result<()> {
    let upload = upload(args, apply)?;
    let to = length.map_or(source.size, |length| from.saturating_add(length));
    if from > to || to > source.size {
        return Err(refuse::invalid("the range is not within the source"));
    }
    let mut inode = part_inode(&upload, apply)?;
    inode.replication = source.replication;
    let extents = shared(apply, source, (from, to), (inode.object_id, 0))?;
    put_part(&upload, args, (inode, to - from, extents), apply)
}

fn part_inode(upload: &Upload, apply: &mut Apply<'_>) -> Result<InodeRow> {
    let of_upload = upload.row.inode.clone().unwrap_or_default();
    Ok(InodeRow {
        object_id: apply.next_id()?,
        kind: InodeKind::File.into(),
        nlink: 0,
        metadata: Vec::new(),
        tags: Vec::new(),
        ..of_upload
    })
}

/// The digest that a request stores.
fn digest(args: &KeyArgs) -> String {
    let pair = args.metadata.iter().find(|pair| pair.key == etag::KEY);
    pair.and_then(|pair| pair.value.clone()).unwrap_or_default()
}

fn put_part(
    upload: &Upload,
    args: &KeyArgs,
    (inode, size, extents): (InodeRow, u64, Vec<ozone_proto::namespace::Extent>),
    apply: &mut Apply<'_>,
) -> Result<()> {
    let number = args.multipart_number();
    if !(1..=MAX_PARTS).contains(&number) {
        let message = format!("Part number must be between 1 and {MAX_PARTS}, not {number}");
        return Err(refuse::invalid(message));
    }
    let inode = filled(args, inode, (size, extents), upload.root.bucket_id, apply)?;
    let inode = InodeRow { nlink: 0, ..inode };
    apply.account(&upload.root, 0, replicated(&inode, inode.allocated as i64))?;
    let key = tables::part_key(&upload.row.upload_id, number);
    if let Some(old) = apply.get::<PartRow>(tables::MULTIPART_PARTS, &key)? {
        give_up(upload, old, apply)?;
    }
    let row = PartRow {
        version: ROW_VERSION,
        number,
        etag: digest(args),
        modified_ms: apply.time_ms(),
        inode: Some(inode),
    };
    apply.put(tables::MULTIPART_PARTS, &key, &row);
    Ok(())
}

/// A part is no part of anything any more.
fn give_up(upload: &Upload, part: PartRow, apply: &mut Apply<'_>) -> Result<()> {
    let inode = part.inode.unwrap_or_default();
    let bytes = replicated(&inode, inode.allocated as i64);
    apply.account(&upload.root, 0, -bytes)?;
    let (volume, bucket) = (upload.root.volume_id, upload.root.bucket_id);
    unlink::reclaim(apply, volume, bucket, inode, unlink::NEVER_SEEN);
    Ok(())
}

/// Makes the key of the parts that the request lists.
pub fn complete(
    request: &MultipartUploadCompleteRequest,
    apply: &mut Apply<'_>,
) -> Result<MultipartUploadCompleteResponse> {
    let args = &request.key_args;
    let upload = upload(args, apply)?;
    let path = key_path::split(&upload.root, &args.key_name)?;
    check_place(apply, &upload.root, &path)?;
    let parts = listed(&upload, &request.parts_list, apply)?;
    let mut new = InodeRow {
        object_id: apply.next_id()?,
        btime_ns: apply.time_ns,
        ..upload.row.inode.clone().unwrap_or_default()
    };
    new.metadata.extend(args.metadata.iter().cloned());
    let (mut size, mut extents) = (0u64, Vec::new());
    for part in &parts {
        let inode = part.inode.clone().unwrap_or_default();
        // Parts that were copied are where their sources are.
        new.replication = inode.replication;
        extents.extend(shared(
            apply,
            &inode,
            (0, inode.size),
            (new.object_id, size),
        )?);
        size = limits::file_size(size.saturating_add(inode.size))?;
    }
    let row = filled(args, new, (size, extents), upload.root.bucket_id, apply)?;
    let hash = etag::of(&row);
    put(args, &upload.root, &path, row, apply)?;
    end(&upload, apply)?;
    Ok(MultipartUploadCompleteResponse {
        volume: Some(args.volume_name.clone()),
        bucket: Some(args.bucket_name.clone()),
        key: Some(args.key_name.clone()),
        hash: Some(hash),
    })
}

/// The parts that are to become the key, if they may.
fn listed(upload: &Upload, list: &[Part], apply: &Apply<'_>) -> Result<Vec<PartRow>> {
    let mut found: Vec<PartRow> = Vec::with_capacity(list.len());
    for wanted in list {
        let number = wanted.part_number;
        if found.last().is_some_and(|last| last.number >= number) {
            let message = "The list of parts was not in ascending order";
            return Err(OmError::refused(Status::InvalidPartOrder, message));
        }
        let key = tables::part_key(&upload.row.upload_id, number);
        let part: Option<PartRow> = apply.get(tables::MULTIPART_PARTS, &key)?;
        let part = part.filter(|part| part.etag == wanted.e_tag());
        found.push(part.ok_or_else(|| {
            let message = format!("Part {number} was not uploaded, or has another ETag");
            OmError::refused(Status::InvalidPart, message)
        })?);
    }
    let size = |part: &PartRow| part.inode.as_ref().map_or(0, |inode| inode.size);
    let small = found
        .iter()
        .rev()
        .skip(1)
        .find(|part| size(part) < MIN_PART);
    if let Some(part) = small {
        let message = format!(
            "Part {} has {} bytes: every part but the last has at least {MIN_PART}",
            part.number,
            size(part)
        );
        return Err(OmError::refused(Status::EntityTooSmall, message));
    }
    match found.is_empty() {
        true => Err(refuse::invalid("the list of parts is empty")),
        false => Ok(found),
    }
}

/// Gives an upload up.
pub fn abort(
    request: &MultipartUploadAbortRequest,
    apply: &mut Apply<'_>,
) -> Result<MultipartUploadAbortResponse> {
    let upload = upload(&request.key_args, apply)?;
    end(&upload, apply)?;
    Ok(MultipartUploadAbortResponse {})
}

/// Gives up an upload that was begun long ago.
pub fn expire(key: &[u8], apply: &mut Apply<'_>) -> Result<()> {
    let Some(row) = apply.get::<MultipartRow>(tables::MULTIPART_INFO, key)? else {
        return Ok(());
    };
    let bucket = namespace::bucket(apply, &row.volume, &row.bucket)?;
    let upload = Upload {
        key: key.to_vec(),
        row,
        root: namespace::bucket_root(&bucket),
    };
    end(&upload, apply)
}

/// Removes what is kept of an upload.
fn end(upload: &Upload, apply: &mut Apply<'_>) -> Result<()> {
    let prefix = tables::parts_prefix(&upload.row.upload_id);
    for (key, value) in apply.scan(tables::MULTIPART_PARTS, &prefix, None, usize::MAX)? {
        let part: PartRow = decode(tables::MULTIPART_PARTS, &value)?;
        apply.delete(tables::MULTIPART_PARTS, &key);
        give_up(upload, part, apply)?;
    }
    apply.delete(tables::MULTIPART_INFO, &upload.key);
    Ok(())
}
