//! CopyKey: another key with the same bytes. Both refer to the same blocks; only bytes that the OM itself keeps are
//! copied. A key copied onto itself keeps its content and gets other metadata.

use ozone_proto::namespace::{Extent, InodeKind, InodeRow, extent::Source};
use ozone_proto::om::{CopyKeyRequest, CopyKeyResponse, KeyArgs, Status};

use super::commit::keep_all;
use super::key_commit::{filled, put};
use super::key_create::{check_place, new_inode};
use super::multipart;
use crate::apply::Apply;
use crate::error::{OmError, Result, refuse};
use crate::namespace::{self, Found};
use crate::rows::Rows;
use crate::{etag, extents, file_map, key_path};

/// Extents of one key that are copied by one command.
const MAX_EXTENTS: usize = 200_000;

/// Applies the request.
pub fn apply(request: &CopyKeyRequest, apply: &mut Apply<'_>) -> Result<CopyKeyResponse> {
    let (from, to) = (&request.source, &request.key_args);
    let source = source(from, apply)?;
    let modification_time = u64::try_from(apply.time_ms()).ok();
    if to.multipart_upload_id.is_some() {
        let range = (request.offset(), request.length);
        multipart::put_copy(to, &source.row, range, apply)?;
        return Ok(CopyKeyResponse {
            modification_time,
            etag: None,
        });
    }
    let etag = match is_same(from, to, apply)? {
        true => describe(request, source, apply)?,
        false => copy(request, &source.row, apply)?,
    };
    Ok(CopyKeyResponse {
        modification_time,
        etag: Some(etag),
    })
}

fn is_same(a: &KeyArgs, b: &KeyArgs, rows: &impl Rows) -> Result<bool> {
    let bucket = |args: &KeyArgs| -> Result<_> {
        let bucket = namespace::bucket(rows, &args.volume_name, &args.bucket_name)?;
        Ok(namespace::bucket_root(&bucket))
    };
    Ok(a.key_name == b.key_name && bucket(a)? == bucket(b)?)
}

/// The file that is copied, if it is still the one that was looked at.
fn source(args: &KeyArgs, rows: &Apply<'_>) -> Result<Found> {
    let bucket = namespace::bucket(rows, &args.volume_name, &args.bucket_name)?;
    let root = namespace::bucket_root(&bucket);
    let found = key_path::resolve(rows, &root, &args.key_name)?;
    let (_, _, found) = found.ok_or_else(|| key_path::not_found(&args.key_name))?;
    if namespace::kind(&found.row) != InodeKind::File {
        let message = "only a file can be copied";
        return Err(OmError::refused(Status::NotAFile, message));
    }
    etag::check_conditions(args, Some(&found.row))?;
    Ok(found)
}

/// What the new key is told of itself: the source's, or the request's.
fn attributes(request: &CopyKeyRequest, source: &InodeRow, row: &mut InodeRow) {
    let digest = etag::metadata(source);
    let digest = digest.into_iter().filter(|pair| pair.key == etag::KEY);
    if request.replace_metadata() {
        row.metadata = request.key_args.metadata.clone();
        row.metadata.extend(digest);
    } else {
        row.metadata = etag::metadata(source);
    }
    row.tags = match request.replace_tags() {
        true => request.key_args.tags.clone(),
        false => source.tags.clone(),
    };
}

/// Gives a key other metadata.
fn describe(request: &CopyKeyRequest, found: Found, apply: &mut Apply<'_>) -> Result<String> {
    etag::check_conditions(&request.key_args, Some(&found.row))?;
    let mut row = found.row;
    let source = row.clone();
    attributes(request, &source, &mut row);
    etag::bind(&mut row);
    row.mtime_ns = apply.time_ns;
    row.ctime_ns = apply.time_ns;
    apply.store(&found.slot, &row)?;
    Ok(etag::of(&row))
}

fn copy(request: &CopyKeyRequest, source: &InodeRow, apply: &mut Apply<'_>) -> Result<String> {
    let args = &request.key_args;
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let root = namespace::bucket_root(&bucket);
    let path = key_path::split(&root, &args.key_name)?;
    check_place(apply, &root, &path)?;
    let mut new = new_inode(args, &bucket, apply)?;
    // The bytes are where they are.
    new.replication = source.replication;
    attributes(request, source, &mut new);
    let extents = shared(apply, source, (0, source.size), (new.object_id, 0))?;
    let row = filled(args, new, (source.size, extents), root.bucket_id, apply)?;
    let etag = etag::of(&row);
    put(args, &root, &path, row, apply)?;
    Ok(etag)
}

/// The extents of `[from, to)` of a file, as those of another from `at` on; inline bytes are filed for that one.
pub fn shared(
    apply: &mut Apply<'_>,
    source: &InodeRow,
    (from, to): (u64, u64),
    (object, at): (u64, u64),
) -> Result<Vec<Extent>> {
    let (found, more) = file_map::read(apply, source, from, to, MAX_EXTENTS)?;
    if more {
        let message = format!("a key in more than {MAX_EXTENTS} pieces cannot be copied");
        return Err(refuse::invalid(message));
    }
    let mut copied = Vec::with_capacity(found.len());
    for extent in &found {
        let Some(mut extent) = extents::clip(extent, from, to) else {
            continue;
        };
        let length = usize::try_from(extent.length).unwrap_or(usize::MAX);
        if let Some(Source::Inline(inline)) = &mut extent.source {
            inline.data = file_map::inline_bytes(&*apply, source.object_id, inline, length)?;
            inline.offset = 0;
        }
        extent.file_offset = (extent.file_offset - from).saturating_add(at);
        copied.push(extent);
    }
    keep_all(apply, object, &copied)
}
