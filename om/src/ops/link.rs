//! Link: one more name for a file. At its second name an inode moves from its name's row to
//! `inodeTable`, and never moves back.

use ozone_proto::namespace::{InodeKind, InodeRow, LinkRequest, LinkResponse};
use ozone_proto::om::Status;

use crate::apply::{Apply, placeless};
use crate::error::{OmError, Result, refuse};
use crate::namespace::{self, ROW_VERSION, Slot, layout};
use crate::{links, tables};

/// As on ext4.
const MAX_LINKS: u32 = 65_000;

/// Applies the request.
pub fn apply(request: &LinkRequest, apply: &mut Apply<'_>) -> Result<LinkResponse> {
    let (source, from) = namespace::ref_of(request.source.as_ref())?;
    let dir = *namespace::dir_of(request.dir.as_ref())?;
    layout::of(&dir).check_new_name(&dir, &request.name)?;
    if (from.volume_id, from.bucket_id) != (dir.volume_id, dir.bucket_id) || dir.bucket_id == 0 {
        return Err(OmError::refused(
            Status::CrossDevice,
            "a hard link stays within its bucket",
        ));
    }
    layout::of(&dir).check_filesystem()?;
    namespace::directory(apply, &dir)?;
    let found = namespace::find(apply, source)?;
    if namespace::is_dir(&found.row) {
        return Err(OmError::refused(
            Status::PermissionDenied,
            "a directory has one name",
        ));
    }
    if found.row.nlink >= MAX_LINKS {
        return Err(OmError::refused(
            Status::TooManyLinks,
            format!("an inode has at most {MAX_LINKS} names"),
        ));
    }
    if namespace::child(apply, &dir, &request.name)?.is_some() {
        return Err(refuse::exists(&request.name));
    }
    let mut row = found.row;
    let name_row = InodeRow {
        version: ROW_VERSION,
        object_id: row.object_id,
        kind: InodeKind::HardLink.into(),
        ..Default::default()
    };
    row.nlink += 1;
    row.ctime_ns = apply.time_ns;
    row.update_id = apply.index;
    let shared = tables::id_key(dir.volume_id, dir.bucket_id, row.object_id);
    match &found.slot {
        Slot::Row {
            table: tables::FILE,
            key,
        } => {
            apply.put(tables::FILE, key, &name_row);
            if let Some(first) = tables::parse_child_key(key) {
                links::add(apply, row.object_id, first.parent, first.name);
                // From now on it is one name among several, which may go without a word.
                apply.place_changed(first.bucket, first.parent, first.name);
            }
        }
        Slot::Row {
            table: tables::INODE,
            ..
        } => {}
        // An unlinked inode has no name to link from, as with linkat(2) on ext4.
        _ => return Err(refuse::not_found(&source.name)),
    }
    apply.store(
        &Slot::Row {
            table: tables::INODE,
            key: shared,
        },
        &row,
    )?;
    let key = tables::child_key(dir.volume_id, dir.bucket_id, dir.parent_id, &request.name);
    apply.put(tables::FILE, &key, &name_row);
    links::add(apply, row.object_id, dir.parent_id, &request.name);
    apply.name_changed(&dir, &request.name);
    apply.account(&dir, 1, 0)?;
    let parent = apply.touch_directory(&dir, 0)?;
    Ok(LinkResponse {
        inode: Some(namespace::inode(&dir, &request.name, row)),
        parent: placeless(parent),
    })
}
