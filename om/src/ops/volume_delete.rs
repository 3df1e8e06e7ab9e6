//! DeleteVolume.

use ozone_proto::namespace::DirRef;
use ozone_proto::om::{DeleteVolumeRequest, DeleteVolumeResponse, Status};

use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::namespace::{self, Slot};
use crate::tables;

/// Applies the request.
pub fn apply(request: &DeleteVolumeRequest, apply: &mut Apply<'_>) -> Result<DeleteVolumeResponse> {
    delete(apply, &request.volume_name)?;
    Ok(DeleteVolumeResponse {})
}

/// Deletes a volume that holds no bucket.
pub fn delete(apply: &mut Apply<'_>, name: &str) -> Result<()> {
    let volume = namespace::volume(apply, name)?;
    if volume.used_namespace > 0 {
        let message = format!(
            "Volume {name} is not empty: delete its {} buckets first",
            volume.used_namespace
        );
        return Err(OmError::refused(Status::VolumeNotEmpty, message));
    }
    let id = volume.inode.map_or(0, |i| i.object_id);
    apply.delete(tables::VOLUME, &tables::volume_key(name));
    apply.delete(tables::VOLUME_ID, &tables::volume_id_key(id));
    apply.name_changed(&DirRef::default(), name.as_bytes());
    apply.inode_changed(id);
    let mut top = namespace::root(apply)?;
    top.nlink = top.nlink.saturating_sub(1);
    top.mtime_ns = apply.time_ns;
    top.ctime_ns = apply.time_ns;
    apply.store(&Slot::Root, &top)
}
