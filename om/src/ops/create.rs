//! Create: a file, directory, symbolic link, device or pipe under a name of a directory. Among the
//! children of `/` a directory is a volume, among those of a volume a bucket.

use ozone_proto::namespace::{
    CreateRequest, CreateResponse, DirRef, InodeKind, InodeRow, PlaceRow, Replication,
};
use ozone_proto::om::{BucketLayoutProto, Status};

use super::{bucket_create, session, volume_create};
use crate::apply::{Apply, placeless};
use crate::error::{OmError, Result, refuse};
use crate::namespace::{self, Level, ROW_VERSION, layout};
use crate::tables;

const SETGID: u32 = 0o2000;

/// Applies the request.
pub fn apply(request: &CreateRequest, apply: &mut Apply<'_>) -> Result<CreateResponse> {
    let dir = *namespace::dir_of(request.dir.as_ref())?;
    layout::of(&dir).check_new_name(&dir, &request.name)?;
    let parent = namespace::directory(apply, &dir)?.row;
    if let Some(found) = namespace::child(apply, &dir, &request.name)? {
        return existing(request, &dir, found.row, parent);
    }
    let (row, parent) = match namespace::level(&dir) {
        Level::Root => {
            let row = create_volume(request, apply)?;
            (row, namespace::directory(apply, &dir)?.row)
        }
        Level::Volume(_) => {
            let row = create_bucket(request, apply, &dir)?;
            (row, namespace::directory(apply, &dir)?.row)
        }
        Level::Bucket { .. } => create_in_bucket(request, apply, &dir, &parent)?,
    };
    Ok(CreateResponse {
        inode: Some(namespace::inode(&dir, &request.name, row)),
        existed: false,
        parent: placeless(parent),
    })
}

/// The answer when the name is taken. By the inode with the very id that the asker gave it, it is what
/// this request has made, sent once more.
fn existing(
    request: &CreateRequest,
    dir: &DirRef,
    found: InodeRow,
    parent: InodeRow,
) -> Result<CreateResponse> {
    let again = request.object_id != 0 && request.object_id == found.object_id;
    let welcome = request.object_id == 0 && !request.exclusive && request.kind == found.kind;
    if !again && !welcome {
        return Err(refuse::exists(&request.name));
    }
    Ok(CreateResponse {
        inode: Some(namespace::inode(dir, &request.name, found)),
        existed: !again,
        parent: placeless(parent).filter(|_| again),
    })
}

fn directory_only(request: &CreateRequest, what: &str) -> Result<String> {
    if request.object_id != 0 {
        let message = format!("a {what} gets its object id from the OM");
        return Err(refuse::invalid(message));
    }
    if request.kind() != InodeKind::Directory {
        let message = format!("only directories can be made here: each is a {what}");
        return Err(OmError::refused(Status::PermissionDenied, message));
    }
    Ok(String::from_utf8_lossy(&request.name).into_owned())
}

fn create_volume(request: &CreateRequest, apply: &mut Apply<'_>) -> Result<InodeRow> {
    let name = directory_only(request, "volume")?;
    let owner = apply.given.asker.user.clone();
    let row = volume_create::create(apply, &name, &owner, &owner)?;
    let row = owned_by(request, row);
    apply.store(&namespace::Slot::Volume(name), &row)?;
    Ok(row)
}

fn create_bucket(request: &CreateRequest, apply: &mut Apply<'_>, dir: &DirRef) -> Result<InodeRow> {
    let name = directory_only(request, "bucket")?;
    let volume = namespace::volume_by_id(apply, dir.volume_id)?
        .ok_or_else(|| refuse::no_directory(dir.volume_id))?;
    let new = bucket_create::NewBucket {
        name: name.clone(),
        owner: apply.given.asker.user.clone(),
        layout: BucketLayoutProto::FileSystemOptimized,
        replication: None,
        quota_bytes: -1,
        quota_namespace: -1,
    };
    let row = bucket_create::create(apply, volume.clone(), new)?;
    let row = owned_by(request, row);
    apply.store(
        &namespace::Slot::Bucket {
            volume: volume.name,
            bucket: name,
        },
        &row,
    )?;
    Ok(row)
}

fn owned_by(request: &CreateRequest, row: InodeRow) -> InodeRow {
    InodeRow {
        mode: request.mode & 0o7777,
        uid: request.uid,
        gid: request.gid,
        ..row
    }
}

/// The new inode's row, and that of its directory as it is now.
fn create_in_bucket(
    request: &CreateRequest,
    apply: &mut Apply<'_>,
    dir: &DirRef,
    parent: &InodeRow,
) -> Result<(InodeRow, InodeRow)> {
    layout::of(dir).check_filesystem()?;
    let bucket = namespace::bucket_by_id(apply, dir.volume_id, dir.bucket_id)?
        .ok_or_else(|| refuse::no_directory(dir.bucket_id))?;
    let attributes = Attributes {
        object_id: session::give_id(apply, request.object_id)?,
        kind: request.kind(),
        mode: request.mode,
        uid: request.uid,
        gid: request.gid,
        replication: bucket.replication.or(apply.given.default_replication),
        owner: apply.given.asker.user.clone(),
    };
    let mut row = fresh(apply, attributes, parent)?;
    row.rdev = request.rdev;
    row.symlink_target = request.symlink_target.clone();
    if row.kind == i32::from(InodeKind::Symlink) {
        row.size = row.symlink_target.len() as u64;
    }
    let parent = enter(apply, dir, &request.name, &row)?;
    Ok((row, parent))
}

/// What a new inode is given.
pub struct Attributes {
    /// Its id.
    pub object_id: u64,
    /// Its kind.
    pub kind: InodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group, unless the directory hands its own down.
    pub gid: u32,
    /// How its data is kept; `None`: as the cluster's default says.
    pub replication: Option<Replication>,
    /// User name, as the object interface shows it.
    pub owner: String,
}

/// A new inode in a directory whose row is `parent`.
pub fn fresh(apply: &Apply<'_>, new: Attributes, parent: &InodeRow) -> Result<InodeRow> {
    let directory = new.kind == InodeKind::Directory;
    if !matches!(
        new.kind,
        InodeKind::Directory
            | InodeKind::File
            | InodeKind::Symlink
            | InodeKind::Fifo
            | InodeKind::CharDevice
            | InodeKind::BlockDevice
            | InodeKind::Socket
    ) {
        return Err(refuse::invalid("an inode of that kind cannot be made"));
    }
    let inherits = parent.mode & SETGID != 0;
    let mut mode = new.mode & 0o7777;
    if inherits && directory {
        mode |= SETGID;
    }
    Ok(InodeRow {
        version: ROW_VERSION,
        object_id: new.object_id,
        update_id: apply.index,
        data_version: apply.index,
        kind: new.kind.into(),
        mode,
        uid: new.uid,
        gid: if inherits { parent.gid } else { new.gid },
        nlink: if directory { 2 } else { 1 },
        atime_ns: apply.time_ns,
        mtime_ns: apply.time_ns,
        ctime_ns: apply.time_ns,
        btime_ns: apply.time_ns,
        replication: new.replication,
        owner: new.owner,
        ..Default::default()
    })
}

/// Puts an inode under a free name of a directory inside a bucket; the directory's row as it is now.
pub fn enter(apply: &mut Apply<'_>, dir: &DirRef, name: &[u8], row: &InodeRow) -> Result<InodeRow> {
    let directory = namespace::is_dir(row);
    if directory {
        let key = tables::child_key(dir.volume_id, dir.bucket_id, dir.parent_id, name);
        apply.put(tables::DIRECTORY, &key, row);
        let place = PlaceRow {
            version: ROW_VERSION,
            parent_id: dir.parent_id,
            name: name.to_vec().into(),
        };
        apply.put(
            tables::DIRECTORY_ID,
            &tables::id_key(dir.volume_id, dir.bucket_id, row.object_id),
            &place,
        );
    } else {
        let (table, key) = layout::of(dir).row_key(apply, dir, name)?;
        apply.put(table, &key, row);
    }
    apply.name_changed(dir, name);
    apply.account(dir, 1, 0)?;
    apply.touch_directory(dir, i32::from(directory))
}
