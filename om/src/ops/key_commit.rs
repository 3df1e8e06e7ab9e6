//! CommitKey: the key that CreateKey opened becomes visible, all of it at once, in place of what had
//! its name. Missing directories of its path are made.

use ozone_proto::namespace::{
    BlockSource, DirRef, Extent, InodeKind, InodeRow, OpenKeyRow, extent::Source,
};
use ozone_proto::om::{CommitKeyRequest, CommitKeyResponse, KeyArgs, KeyLocation, Status};

use super::create::{Attributes, enter, fresh};
use super::key_create::check_place;
use crate::apply::Apply;
use crate::block_refs::Holder;
use crate::error::{OmError, Result, refuse};
use crate::file_map::{self, Change};
use crate::key_path;
use crate::namespace;
use crate::rows::Rows;
use crate::unlink::replicated;
use crate::{etag, fold_queue, limits, tables, unlink};

/// Applies the request.
pub fn apply(request: &CommitKeyRequest, apply: &mut Apply<'_>) -> Result<CommitKeyResponse> {
    let args = &request.key_args;
    super::commit::check_session(apply, args.session.unwrap_or(0))?;
    let bucket = namespace::bucket(apply, &args.volume_name, &args.bucket_name)?;
    let open = tables::open_key(
        &bucket.volume,
        &bucket.name,
        &args.key_name,
        request.client_id,
    );
    let opened: OpenKeyRow = apply.get(tables::OPEN_KEY, &open)?.ok_or_else(|| {
        OmError::refused(
            Status::KeyNotFound,
            format!("Failed to commit key, as {} was not opened", args.key_name),
        )
    })?;
    let root = namespace::bucket_root(&bucket);
    place(args, &root, opened.inode.unwrap_or_default(), apply)?;
    apply.delete(tables::OPEN_KEY, &open);
    Ok(CommitKeyResponse {})
}

/// Puts a key with the content of the request in place of what has its name in the bucket of `root`.
pub fn place(args: &KeyArgs, root: &DirRef, new: InodeRow, apply: &mut Apply<'_>) -> Result<()> {
    let path = key_path::split(root, &args.key_name)?;
    check_place(apply, root, &path)?;
    let row = content(args, new, root.bucket_id, apply)?;
    put(args, root, &path, row, apply)
}

/// Puts a file under the name `path`, whose place was checked, in place of what has it.
pub fn put(
    args: &KeyArgs,
    root: &DirRef,
    path: &[&[u8]],
    mut row: InodeRow,
    apply: &mut Apply<'_>,
) -> Result<()> {
    let dir = make_parents(apply, root, path, args)?;
    let name = path[path.len() - 1];
    let old = namespace::child(apply, &dir, name)?;
    etag::check_conditions(args, old.as_ref().map(|old| &old.row))?;
    if let Some(old) = old {
        let (mode, uid, gid) = (old.row.mode, old.row.uid, old.row.gid);
        (row.mode, row.uid, row.gid) = (mode, uid, gid);
        unlink::drop_name(apply, &dir, name, old, args.keep.as_ref())?;
    }
    enter(apply, &dir, name, &row)?;
    fold_queue::add(apply, &dir, name, row.object_id, &row.extents)?;
    apply.account(&dir, 0, replicated(&row, row.allocated as i64))
}

/// The inode of the committed key.
fn content(
    args: &KeyArgs,
    opened: InodeRow,
    bucket: u64,
    apply: &mut Apply<'_>,
) -> Result<InodeRow> {
    let given = if args.extents.is_empty() {
        from_locations(&args.key_locations)
    } else {
        args.extents.clone()
    };
    let extents = super::commit::keep_inline(apply, opened.object_id, &given)?;
    let reach = extents.iter().map(crate::extents::end).max().unwrap_or(0);
    let size = args.data_size.unwrap_or(reach);
    filled(args, opened, (size, extents), bucket, apply)
}

/// The inode of a new file of the bucket with these extents, whose inline bytes are filed.
pub fn filled(
    args: &KeyArgs,
    new: InodeRow,
    (size, extents): (u64, Vec<Extent>),
    bucket: u64,
    apply: &mut Apply<'_>,
) -> Result<InodeRow> {
    let mut row = InodeRow {
        version: namespace::ROW_VERSION,
        update_id: apply.index,
        kind: InodeKind::File.into(),
        mode: args.mode.unwrap_or(0o644),
        uid: args.uid.unwrap_or(apply.given.asker.uid),
        gid: args.gid.unwrap_or(apply.given.asker.gid),
        nlink: 1,
        atime_ns: apply.time_ns,
        mtime_ns: apply.time_ns,
        ctime_ns: apply.time_ns,
        size: limits::file_size(size)?,
        ..new
    };
    let reach = extents.iter().map(crate::extents::end).max().unwrap_or(0);
    if reach > row.size {
        return Err(refuse::invalid(format!(
            "a key of {} bytes with content up to {reach}",
            row.size
        )));
    }
    let holes = Vec::new();
    let holder = Holder {
        bucket,
        until: apply.index,
    };
    file_map::change(apply, holder, &mut row, Change { holes, extents })?;
    etag::bind(&mut row);
    Ok(row)
}

/// The content of a key that is given as Ozone gives it: whole blocks, one after the other. What is past the end of
/// what a file can hold stays there, and is refused with all the other extents.
fn from_locations(locations: &[KeyLocation]) -> Vec<Extent> {
    let mut at: u64 = 0;
    locations
        .iter()
        .filter(|l| l.length > 0)
        .map(|location| {
            let id = &location.block_id;
            let source = Source::Block(BlockSource {
                container: id.container_block_id.container_id as u64,
                local: id.container_block_id.local_id as u64,
                offset: location.offset,
                bcsid: id.block_commit_sequence_id(),
            });
            let extent = Extent {
                file_offset: at,
                length: location.length,
                source: Some(source),
            };
            at = at.saturating_add(location.length);
            extent
        })
        .collect()
}

/// The directory of the last name of `path`; those that are missing are made.
pub fn make_parents(
    apply: &mut Apply<'_>,
    root: &DirRef,
    path: &[&[u8]],
    args: &KeyArgs,
) -> Result<DirRef> {
    let mut dir = *root;
    for name in &path[..path.len() - 1] {
        dir.parent_id = match namespace::child(apply, &dir, name)? {
            Some(found) => found.row.object_id,
            None => make_directory(apply, &dir, name, args)?,
        };
    }
    Ok(dir)
}

fn make_directory(apply: &mut Apply<'_>, dir: &DirRef, name: &[u8], args: &KeyArgs) -> Result<u64> {
    let parent = namespace::directory(apply, dir)?.row;
    let bucket = namespace::bucket_by_id(apply, dir.volume_id, dir.bucket_id)?
        .ok_or_else(|| refuse::no_directory(dir.bucket_id))?;
    let attributes = Attributes {
        object_id: apply.next_id()?,
        kind: InodeKind::Directory,
        mode: 0o755,
        uid: args.uid.unwrap_or(apply.given.asker.uid),
        gid: args.gid.unwrap_or(apply.given.asker.gid),
        replication: bucket.replication.or(apply.given.default_replication),
        owner: apply.given.asker.user.clone(),
    };
    let row = InodeRow {
        implied: true,
        ..fresh(apply, attributes, &parent)?
    };
    enter(apply, dir, name, &row)?;
    Ok(row.object_id)
}
