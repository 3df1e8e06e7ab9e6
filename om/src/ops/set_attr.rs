//! SetAttr: mode, owner, times, size, extended attributes; all of the request or nothing.

use ozone_proto::namespace::{InodeKind, InodeRow, SetAttrRequest, SetAttrResponse, XAttr};
use ozone_proto::om::Status;

use crate::apply::Apply;
use crate::error::{OmError, Result, refuse};
use crate::file_map::{self, Change};
use crate::limits;
use crate::namespace::{self, Slot, layout};
use crate::unlink::{self, replicated};

/// Bytes of names and values that an inode may have, as on ext4 with 4 KiB blocks, times 16.
const MAX_XATTR_BYTES: usize = 64 << 10;

/// Applies the request.
pub fn apply(request: &SetAttrRequest, apply: &mut Apply<'_>) -> Result<SetAttrResponse> {
    let (place, dir) = namespace::ref_of(request.r#ref.as_ref())?;
    let found = namespace::find(apply, place)?;
    let mut row = found.row;
    if let Some(mode) = request.mode {
        row.mode = mode & 0o7777;
    }
    if let Some(uid) = request.uid {
        row.uid = uid;
        let owner = match request.owner_name.as_str() {
            "" => uid.to_string(),
            name => name.to_owned(),
        };
        name_owner(apply, &found.slot, &mut row, owner)?;
    }
    row.gid = request.gid.unwrap_or(row.gid);
    set_xattrs(request, &mut row)?;
    if let Some(size) = request.size {
        resize(apply, dir, &found.slot, &mut row, size)?;
    }
    let now = apply.time_ns;
    row.atime_ns = if request.atime_now {
        now
    } else {
        request.atime_ns.unwrap_or(row.atime_ns)
    };
    row.mtime_ns = if request.mtime_now {
        now
    } else {
        request.mtime_ns.unwrap_or(row.mtime_ns)
    };
    row.ctime_ns = now;
    row.update_id = apply.index;
    apply.store(&found.slot, &row)?;
    Ok(SetAttrResponse {
        inode: Some(namespace::inode(dir, &place.name, row)),
    })
}

/// The object interface knows owners by name; those of volumes and buckets are not in their inodes.
fn name_owner(apply: &mut Apply<'_>, slot: &Slot, row: &mut InodeRow, owner: String) -> Result<()> {
    match slot {
        Slot::Volume(name) => {
            let mut volume = namespace::volume(apply, name)?;
            volume.owner = owner;
            apply.put_volume(&volume);
        }
        Slot::Bucket { volume, bucket } => {
            let mut bucket = namespace::bucket_entry(apply, volume, bucket)?;
            bucket.owner = owner;
            apply.put_bucket(&bucket);
        }
        _ => row.owner = owner,
    }
    Ok(())
}

/// Cuts the file, or makes it longer with zeros.
fn resize(
    apply: &mut Apply<'_>,
    dir: &ozone_proto::namespace::DirRef,
    slot: &Slot,
    row: &mut InodeRow,
    size: u64,
) -> Result<()> {
    layout::of(dir).check_filesystem()?;
    match namespace::kind(row) {
        InodeKind::File => {}
        InodeKind::Directory => {
            return Err(OmError::refused(
                Status::IsADirectory,
                "a directory has no size to set",
            ));
        }
        _ => return Err(refuse::invalid("only a file's size can be set")),
    }
    limits::file_size(size)?;
    if size < row.size {
        let change = Change {
            holes: vec![(size, u64::MAX)],
            extents: Vec::new(),
        };
        let holder = unlink::holder(apply, dir, slot)?;
        let grown = file_map::change(apply, holder, row, change)?;
        if !matches!(slot, Slot::Orphan(_)) {
            apply.account(dir, 0, replicated(row, grown))?;
        }
    }
    if size != row.size {
        row.data_version = apply.index;
    }
    row.size = size;
    row.mtime_ns = apply.time_ns;
    Ok(())
}

fn set_xattrs(request: &SetAttrRequest, row: &mut InodeRow) -> Result<()> {
    for name in &request.remove_xattrs {
        let before = row.xattrs.len();
        row.xattrs.retain(|x| x.name != *name);
        if row.xattrs.len() == before {
            let message = format!("there is no attribute {}", String::from_utf8_lossy(name));
            return Err(OmError::refused(Status::NoData, message));
        }
    }
    for new in &request.set_xattrs {
        row.xattrs.retain(|x| x.name != new.name);
        row.xattrs.push(XAttr {
            name: new.name.clone(),
            value: new.value.clone(),
        });
    }
    let bytes: usize = row
        .xattrs
        .iter()
        .map(|x| x.name.len() + x.value.len())
        .sum();
    if bytes > MAX_XATTR_BYTES {
        let message =
            format!("extended attributes of {bytes} bytes: at most {MAX_XATTR_BYTES} are kept");
        return Err(OmError::refused(Status::NoSpace, message));
    }
    Ok(())
}
