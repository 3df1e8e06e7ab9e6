//! The identity of a datanode: a uuid that outlives restarts and moves of its address.

use std::io;
use std::path::Path;

use ozone_common::disk::{Disk, create_dir_durably, replace_file};
use ozone_common::rng::Rng;
use uuid::Uuid;

use crate::error::StartError;

const FILE_NAME: &str = "datanode.id";

/// The uuid kept in `<dir>/datanode.id`, made on first start. Blocks.
pub(crate) fn load_or_create(
    disk: &dyn Disk,
    dir: &Path,
    rng: &dyn Rng,
) -> Result<Uuid, StartError> {
    let path = dir.join(FILE_NAME);
    let bytes = match disk.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
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
        let first = load_or_create(&RealDisk, &home, &OsRng).unwrap();
        assert_eq!(load_or_create(&RealDisk, &home, &OsRng).unwrap(), first);
        record_serial(&RealDisk, &home, first, "7").unwrap();
        assert_eq!(load_or_create(&RealDisk, &home, &OsRng).unwrap(), first);
        let text = std::fs::read_to_string(home.join(FILE_NAME)).unwrap();
        assert!(text.contains("certSerialId: '7'"), "{text}");
        std::fs::write(home.join(FILE_NAME), "uuid: nonsense\n").unwrap();
        assert!(load_or_create(&RealDisk, &home, &OsRng).is_err());
    }
}
