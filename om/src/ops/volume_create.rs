//! CreateVolume.

use ozone_common::names;
use ozone_proto::namespace::{DirRef, InodeKind, InodeRow, VolumeRow};
use ozone_proto::om::{CreateVolumeRequest, CreateVolumeResponse, Status};

use super::create::{Attributes, fresh};
use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::namespace::{ROW_VERSION, root};
use crate::rows::Rows;
use crate::{namespace, tables};

/// Applies the request.
pub fn apply(request: &CreateVolumeRequest, apply: &mut Apply<'_>) -> Result<CreateVolumeResponse> {
    let info = &request.volume_info;
    let row = create(apply, &info.volume, &info.owner_name, &info.admin_name)?;
    let mut volume = namespace::volume(apply, &info.volume)?;
    volume.quota_bytes = info
        .quota_in_bytes
        .and_then(|q| i64::try_from(q).ok())
        .filter(|q| *q > 0)
        .unwrap_or(-1);
    volume.quota_namespace = info.quota_in_namespace.filter(|q| *q > 0).unwrap_or(-1);
    volume.inode = Some(InodeRow {
        uid: apply.given.asker.uid,
        gid: apply.given.asker.gid,
        ..row
    });
    apply.put_volume(&volume);
    Ok(CreateVolumeResponse {})
}

/// Makes a volume and returns it as an inode.
pub fn create(apply: &mut Apply<'_>, name: &str, owner: &str, admin: &str) -> Result<InodeRow> {
    names::validate_volume_name(name, true)
        .map_err(|e| OmError::refused(Status::InvalidVolumeName, e.to_string()))?;
    if apply
        .get_raw(tables::VOLUME, &tables::volume_key(name))?
        .is_some()
    {
        return Err(OmError::refused(
            Status::VolumeAlreadyExists,
            "Volume already exists",
        ));
    }
    let row = container_inode(apply)?;
    let volume = VolumeRow {
        version: ROW_VERSION,
        inode: Some(row.clone()),
        name: name.to_owned(),
        admin: admin.to_owned(),
        owner: owner.to_owned(),
        quota_bytes: -1,
        quota_namespace: -1,
        used_namespace: 0,
    };
    apply.put_volume(&volume);
    apply.put_raw(
        tables::VOLUME_ID,
        &tables::volume_id_key(row.object_id),
        name.as_bytes().to_vec(),
    );
    apply.name_changed(&DirRef::default(), name.as_bytes());
    let mut top = root(apply)?;
    top.nlink = top.nlink.saturating_add(1);
    top.mtime_ns = apply.time_ns;
    top.ctime_ns = apply.time_ns;
    apply.store(&namespace::Slot::Root, &top)?;
    Ok(row)
}

/// The directory that a new volume or bucket is.
pub fn container_inode(apply: &mut Apply<'_>) -> Result<InodeRow> {
    let attributes = Attributes {
        object_id: apply.next_id()?,
        kind: InodeKind::Directory,
        mode: 0o755,
        uid: apply.given.asker.uid,
        gid: apply.given.asker.gid,
        replication: None,
        owner: String::new(),
    };
    fresh(apply, attributes, &InodeRow::default())
}
