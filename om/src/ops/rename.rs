//! Rename: moves a name within a bucket, over another one where POSIX allows it. A directory of any
//! size moves as one row: its children are filed under its id.

use ozone_proto::namespace::{
    DirRef, InodeKind, InodeRow, Keep, PlaceRow, RenameRequest, RenameResponse,
};
use ozone_proto::om::Status;

use crate::apply::{Apply, placeless};
use crate::error::{OmError, Result, refuse};
use crate::namespace::{self, Found, ROW_VERSION, layout};
use crate::rows::Rows;
use crate::tables::{self, Table};
use crate::{fold_queue, links, unlink};

/// Deeper than any path the kernel passes on (4096 bytes of names of one byte).
const MAX_DEPTH: usize = 4096;

/// Applies the request.
pub fn apply(request: &RenameRequest, apply: &mut Apply<'_>) -> Result<RenameResponse> {
    let from = *namespace::dir_of(request.from_dir.as_ref())?;
    let to = *namespace::dir_of(request.to_dir.as_ref())?;
    layout::of(&to).check_new_name(&to, &request.to_name)?;
    if (from.volume_id, from.bucket_id) != (to.volume_id, to.bucket_id) {
        return Err(OmError::refused(
            Status::CrossDevice,
            "a rename stays within its bucket",
        ));
    }
    if from.bucket_id == 0 {
        return Err(OmError::refused(
            Status::NotSupportedOperation,
            "volumes and buckets keep their names",
        ));
    }
    namespace::directory(apply, &from)?;
    namespace::directory(apply, &to)?;
    let source = namespace::child(apply, &from, &request.from_name)?
        .ok_or_else(|| refuse::not_found(&request.from_name))?;
    let target = namespace::child(apply, &to, &request.to_name)?;
    let moves = Move {
        from,
        from_name: &request.from_name,
        to,
        to_name: &request.to_name,
    };
    if request.exchange {
        return exchange(apply, &moves, source, target);
    }
    check_loop(apply, &moves.to, &source)?;
    let replaced_id = match target {
        None => 0,
        Some(_) if request.no_replace => return Err(refuse::exists(&request.to_name)),
        Some(target) if target.row.object_id == source.row.object_id => {
            // Two names of one inode: POSIX says that nothing happens.
            return Ok(RenameResponse {
                object_id: source.row.object_id,
                ..Default::default()
            });
        }
        Some(target) => replace(apply, &moves, &source, target, request.keep.as_ref())?,
    };
    let id = source.row.object_id;
    let directory = namespace::is_dir(&source.row);
    let row = take(apply, &moves.from, moves.from_name, &source)?;
    give(apply, &moves.to, moves.to_name, id, row)?;
    let across = directory && from.parent_id != to.parent_id;
    let from_parent = apply.touch_directory(&from, -i32::from(across))?;
    let to_parent = apply.touch_directory(&to, i32::from(across))?;
    changed(apply, &moves.to, moves.to_name)?;
    Ok(RenameResponse {
        object_id: id,
        replaced_id,
        from_parent: placeless(from_parent),
        to_parent: placeless(to_parent),
    })
}

struct Move<'a> {
    from: DirRef,
    from_name: &'a [u8],
    to: DirRef,
    to_name: &'a [u8],
}

/// Refuses to move a directory into itself or below.
fn check_loop(apply: &Apply<'_>, to: &DirRef, source: &Found) -> Result<()> {
    if !namespace::is_dir(&source.row) {
        return Ok(());
    }
    let mut id = to.parent_id;
    for _ in 0..MAX_DEPTH {
        if id == source.row.object_id {
            return Err(OmError::refused(
                Status::InvalidLoop,
                "a directory cannot move into itself",
            ));
        }
        if id == to.bucket_id {
            return Ok(());
        }
        match namespace::place_of(apply, to.volume_id, to.bucket_id, id)? {
            Some(place) => id = place.parent_id,
            None => return Err(refuse::no_directory(id)),
        }
    }
    Err(OmError::refused(
        Status::InvalidLoop,
        "directories are nested too deeply",
    ))
}

/// Removes what is under the target name.
fn replace(
    apply: &mut Apply<'_>,
    moves: &Move<'_>,
    source: &Found,
    target: Found,
    keep: Option<&Keep>,
) -> Result<u64> {
    let id = target.row.object_id;
    match (
        namespace::is_dir(&source.row),
        namespace::is_dir(&target.row),
    ) {
        (true, false) => {
            return Err(OmError::refused(
                Status::NotADirectory,
                "a directory replaces only a directory",
            ));
        }
        (false, true) => {
            return Err(OmError::refused(
                Status::IsADirectory,
                "a file does not replace a directory",
            ));
        }
        (true, true) => {
            let inside = DirRef {
                parent_id: id,
                ..moves.to
            };
            if !namespace::is_empty(apply, &inside)? {
                let message = format!("{} is not empty", String::from_utf8_lossy(moves.to_name));
                return Err(OmError::refused(Status::DirectoryNotEmpty, message));
            }
            super::unlink::take_directory(
                apply,
                &moves.to,
                moves.to_name,
                moves.to.volume_id,
                moves.to.bucket_id,
                id,
            )?;
        }
        (false, false) => {
            unlink::drop_name(apply, &moves.to, moves.to_name, target, keep)?;
        }
    }
    Ok(id)
}

fn is_link(row: &InodeRow) -> bool {
    namespace::kind(row) == InodeKind::HardLink
}

/// Where the row under a name is.
fn row_key(
    apply: &Apply<'_>,
    dir: &DirRef,
    name: &[u8],
    directory: bool,
) -> Result<(Table, Vec<u8>)> {
    if directory {
        let key = tables::child_key(dir.volume_id, dir.bucket_id, dir.parent_id, name);
        return Ok((tables::DIRECTORY, key));
    }
    layout::of(dir).row_key(apply, dir, name)
}

/// Takes the row under a name: the inode, or the hard link to it.
fn take(apply: &mut Apply<'_>, dir: &DirRef, name: &[u8], found: &Found) -> Result<InodeRow> {
    let (table, key) = row_key(apply, dir, name, namespace::is_dir(&found.row))?;
    let row = apply
        .get(table, &key)?
        .ok_or_else(|| refuse::not_found(name))?;
    apply.delete(table, &key);
    if is_link(&row) {
        links::remove(apply, row.object_id, dir.parent_id, name);
    }
    apply.name_changed(dir, name);
    Ok(row)
}

/// Puts a taken row under another name.
fn give(apply: &mut Apply<'_>, dir: &DirRef, name: &[u8], id: u64, row: InodeRow) -> Result<()> {
    apply.name_changed(dir, name);
    let directory = namespace::is_dir(&row);
    let (table, key) = row_key(apply, dir, name, directory)?;
    apply.put(table, &key, &row);
    if directory {
        let place = PlaceRow {
            version: ROW_VERSION,
            parent_id: dir.parent_id,
            name: name.to_vec().into(),
        };
        apply.put(
            tables::DIRECTORY_ID,
            &tables::id_key(dir.volume_id, dir.bucket_id, id),
            &place,
        );
    } else {
        if is_link(&row) {
            links::add(apply, row.object_id, dir.parent_id, name);
        }
        fold_queue::moved(apply, dir, name, &row)?;
    }
    Ok(())
}

/// The inode under the new name has changed, as its ctime says.
fn changed(apply: &mut Apply<'_>, dir: &DirRef, name: &[u8]) -> Result<()> {
    if let Some(Found { slot, mut row }) = namespace::child(apply, dir, name)? {
        row.ctime_ns = apply.time_ns;
        apply.store(&slot, &row)?;
    }
    Ok(())
}

fn exchange(
    apply: &mut Apply<'_>,
    moves: &Move<'_>,
    source: Found,
    target: Option<Found>,
) -> Result<RenameResponse> {
    let target = target.ok_or_else(|| refuse::not_found(moves.to_name))?;
    check_loop(apply, &moves.to, &source)?;
    check_loop(apply, &moves.from, &target)?;
    let (a, b) = (source.row.object_id, target.row.object_id);
    let shift =
        i32::from(namespace::is_dir(&source.row)) - i32::from(namespace::is_dir(&target.row));
    let row_a = take(apply, &moves.from, moves.from_name, &source)?;
    let row_b = take(apply, &moves.to, moves.to_name, &target)?;
    give(apply, &moves.to, moves.to_name, a, row_a)?;
    give(apply, &moves.from, moves.from_name, b, row_b)?;
    let shift = if moves.from.parent_id == moves.to.parent_id {
        0
    } else {
        shift
    };
    let from_parent = apply.touch_directory(&moves.from, -shift)?;
    let to_parent = apply.touch_directory(&moves.to, shift)?;
    changed(apply, &moves.to, moves.to_name)?;
    changed(apply, &moves.from, moves.from_name)?;
    Ok(RenameResponse {
        object_id: a,
        replaced_id: b,
        from_parent: placeless(from_parent),
        to_parent: placeless(to_parent),
    })
}
