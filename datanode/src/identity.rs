//! The identity of a datanode: a uuid that outlives restarts and moves of its address.

use std::io;
use std::path::{Path, PathBuf};

use ozone_common::disk::{Disk, create_dir_durably, replace_file};
use ozone_common::rng::Rng;
use uuid::Uuid;

use crate::error::StartError;
use crate::layout::VolumeVersion;

const FILE_NAME: &str = "datanode.id";

/// The uuid kept in `<dir>/datanode.id`, made on first start: while the data directories belong to nobody. Blocks.
pub(crate) fn load_or_create(
    disk: &dyn Disk,
    dir: &Path,
    data_dirs: &[PathBuf],
    rng: &dyn Rng,
) -> Result<Uuid, StartError> {
    let path = dir.join(FILE_NAME);
    let bytes = match disk.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check_unowned(disk, &path, data_dirs)?;
            let uuid = rng.uuid();
            write(disk, dir, uuid, None)?;
            return Ok(uuid);
        }
        Err(error) => return Err(StartError::io("read", &path)(error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let value = text.lines().find_map(|line| line.strip_prefix("uuid:"));
    let bad = || {
        StartError::BadFile {
        path: path.clone(),
        reason: "no line 'uuid: <UUID>': restore the file, or remove it together with all data of this datanode".to_owned(),
    }
    };
    value
        .and_then(|v| Uuid::parse_str(v.trim().trim_matches('\'')).ok())
        .ok_or_else(bad)
}

/// Without its file a datanode would be another one, which its own data does not belong to.
fn check_unowned(disk: &dyn Disk, id_file: &Path, data_dirs: &[PathBuf]) -> Result<(), StartError> {
    // A directory that cannot be read is for those to judge who use it.
    let owned = data_dirs
        .iter()
        .find_map(|dir| Some((dir, VolumeVersion::read(disk, dir).ok()??)));
    let Some((dir, version)) = owned else {
        return Ok(());
    };
    let uuid = version.datanode_uuid;
    Err(StartError::BadFile {
        path: id_file.to_path_buf(),
        reason: format!(
            "the file is missing, and the data in {} belongs to datanode {uuid}: restore the file, \
             or make it with the line 'uuid: {uuid}'",
            dir.display()
        ),
    })
}

/// Writes the number of the datanode's certificate beside its uuid. Blocks.
pub(crate) fn record_serial(
    disk: &dyn Disk,
    dir: &Path,
    uuid: Uuid,
    serial: &str,
) -> Result<(), StartError> {
    write(disk, dir, uuid, Some(serial))
}

fn write(disk: &dyn Disk, dir: &Path, uuid: Uuid, serial: Option<&str>) -> Result<(), StartError> {
    let path = dir.join(FILE_NAME);
    let serial = serial.map_or_else(String::new, |serial| format!("certSerialId: '{serial}'\n"));
    let text = format!("uuid: {uuid}\n{serial}");
    create_dir_durably(disk, dir)
        .and_then(|()| replace_file(disk, &path, text.as_bytes()))
        .map_err(StartError::io("write", &path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::disk::RealDisk;
    use ozone_common::rng::OsRng;

    use super::*;

    #[test]
    fn identity_outlives_restarts_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("id");
        let first = load_or_create(&RealDisk, &home, &[], &OsRng).unwrap();
        assert_eq!(
            load_or_create(&RealDisk, &home, &[], &OsRng).unwrap(),
            first
        );
        record_serial(&RealDisk, &home, first, "7").unwrap();
        assert_eq!(
            load_or_create(&RealDisk, &home, &[], &OsRng).unwrap(),
            first
        );
        let text = std::fs::read_to_string(home.join(FILE_NAME)).unwrap();
        assert!(text.contains("certSerialId: '7'"), "{text}");
        std::fs::write(home.join(FILE_NAME), "uuid: nonsense\n").unwrap();
        assert!(load_or_create(&RealDisk, &home, &[], &OsRng).is_err());
    }

    #[test]
    fn a_missing_identity_is_named_with_the_uuid_that_the_data_has() {
        let dir = tempfile::tempdir().unwrap();
        let (home, data) = (dir.path().join("id"), dir.path().join("data"));
        let version = VolumeVersion {
            storage_id: "DS-1".into(),
            cluster_id: "CID-1".into(),
            datanode_uuid: Uuid::from_u128(7).to_string(),
            c_time: 1,
            layout_version: 1,
        };
        version.write(&RealDisk, &data).unwrap();
        let dirs = [dir.path().join("new"), data];
        let text = load_or_create(&RealDisk, &home, &dirs, &OsRng)
            .unwrap_err()
            .to_string();
        let line = format!("'uuid: {}'", Uuid::from_u128(7));
        assert!(
            text.contains("datanode.id") && text.contains(&line),
            "{text}"
        );
        assert!(!home.join(FILE_NAME).exists(), "no other identity is made");
        assert!(load_or_create(&RealDisk, &home, &dirs[..1], &OsRng).is_ok());
    }
}
