//! Where things lie on a data volume, and the `VERSION` file that says whose they are.
//!
//! ```text
//! <dir>/hdds/VERSION
//! <dir>/hdds/<clusterID>/current/containerDir<N>/<containerID>/{metadata,chunks}
//! <dir>/hdds/<clusterID>/<storageID>/container.db
//! <dir>/hdds/<clusterID>/tmp
//! ```

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use ozone_common::disk::{Disk, create_dir_durably, replace_file};

use crate::error::StartError;

/// Newest layout of a data volume that this software knows.
pub const LAYOUT_VERSION: u32 = 1;
/// Directory of everything below a data directory.
pub const HDDS: &str = "hdds";

/// The paths of one volume of one cluster.
#[derive(Debug, Clone)]
pub struct VolumeLayout {
    cluster: PathBuf,
    storage_id: String,
}

impl VolumeLayout {
    /// The volume at `dir` that is called `storage_id`, in cluster `cluster_id`.
    pub fn new(dir: &Path, cluster_id: &str, storage_id: &str) -> Self {
        let cluster = dir.join(HDDS).join(cluster_id);
        Self {
            cluster,
            storage_id: storage_id.to_owned(),
        }
    }

    /// All containers.
    pub fn current(&self) -> PathBuf {
        self.cluster.join("current")
    }

    /// One container. 512 containers with consecutive ids share a directory, 256 directories at most.
    pub fn container(&self, id: i64) -> PathBuf {
        self.current()
            .join(format!("containerDir{}", (id >> 9) & 0xff))
            .join(id.to_string())
    }

    /// The database of block metadata.
    pub fn db(&self) -> PathBuf {
        self.cluster.join(&self.storage_id).join("container.db")
    }

    /// What is half made or half removed; emptied at every start.
    pub fn tmp(&self) -> PathBuf {
        self.cluster.join("tmp")
    }

    /// Containers on their way in.
    pub fn incoming(&self, id: i64) -> PathBuf {
        self.tmp().join("container-copy").join(id.to_string())
    }

    /// A block on its way to another file.
    pub fn moving(&self, container: i64, local: i64) -> PathBuf {
        self.tmp()
            .join("moved-blocks")
            .join(format!("{container}-{local}"))
    }

    /// Containers on their way out.
    pub fn outgoing(&self, id: i64) -> PathBuf {
        self.tmp().join("deleted-containers").join(id.to_string())
    }
}

/// The descriptor of a container in its directory.
pub fn descriptor_path(container: &Path, id: i64) -> PathBuf {
    container.join("metadata").join(format!("{id}.container"))
}

/// Where a container has the files of its blocks.
pub fn chunks_dir(container: &Path) -> PathBuf {
    container.join("chunks")
}

/// Other users of the machine may not look into this directory. Blocks.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// Content of `<dir>/hdds/VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeVersion {
    /// `DS-<uuid>`.
    pub storage_id: String,
    /// Cluster that the data belongs to.
    pub cluster_id: String,
    /// Datanode that the volume belongs to.
    pub datanode_uuid: String,
    /// When the volume was formatted; milliseconds since 1970.
    pub c_time: u64,
    /// Layout of the data.
    pub layout_version: u32,
}

impl VolumeVersion {
    fn path(dir: &Path) -> PathBuf {
        dir.join(HDDS).join("VERSION")
    }

    /// Reads the file of a data directory; none when the directory is not formatted.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, StartError> {
        let path = Self::path(dir);
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StartError::io("read", &path)(error)),
        };
        let text = String::from_utf8_lossy(&bytes);
        let properties: BTreeMap<&str, &str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let get = |key: &str| {
            let value = properties
                .get(key)
                .copied()
                .filter(|value| !value.is_empty());
            value.ok_or_else(|| bad(&path, format!("property {key} is missing")))
        };
        let number = |key: &str| {
            let value = get(key)?;
            let parsed = value.parse::<u64>();
            parsed.map_err(|_| bad(&path, format!("{key} should be a number, is {value:?}")))
        };
        Ok(Some(Self {
            storage_id: get("storageID")?.to_owned(),
            cluster_id: get("clusterID")?.to_owned(),
            datanode_uuid: get("datanodeUuid")?.to_owned(),
            c_time: number("ctime")?,
            layout_version: u32::try_from(number("layOutVersion")?).unwrap_or(u32::MAX),
        }))
    }

    /// Writes the file, whole and durable.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), StartError> {
        let path = Self::path(dir);
        let text = format!(
            "storageID={}\nclusterID={}\ndatanodeUuid={}\nctime={}\nlayOutVersion={}\n",
            self.storage_id, self.cluster_id, self.datanode_uuid, self.c_time, self.layout_version,
        );
        let home = dir.join(HDDS);
        create_dir_durably(disk, &home)
            .and_then(|()| make_private(&home))
            .and_then(|()| replace_file(disk, &path, text.as_bytes()))
            .map_err(StartError::io("write", &path))
    }

    /// Refuses the data of another cluster or datanode, or of newer software.
    pub fn check(&self, dir: &Path, cluster_id: &str, datanode: &str) -> Result<(), StartError> {
        let foreign = |property, found: &str, expected: &str| {
            let (found, expected) = (found.to_owned(), expected.to_owned());
            Err(StartError::Foreign {
                path: Self::path(dir),
                property,
                found,
                expected,
            })
        };
        if !cluster_id.is_empty() && self.cluster_id != cluster_id {
            return foreign("clusterID", &self.cluster_id, cluster_id);
        }
        if self.datanode_uuid != datanode {
            return foreign("datanodeUuid", &self.datanode_uuid, datanode);
        }
        if self.layout_version > LAYOUT_VERSION {
            let (found, known) = (self.layout_version.to_string(), LAYOUT_VERSION.to_string());
            return foreign("layOutVersion", &found, &known);
        }
        Ok(())
    }
}

fn bad(path: &Path, reason: String) -> StartError {
    StartError::BadFile {
        path: path.to_path_buf(),
        reason,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::disk::RealDisk;

    use super::*;

    fn version() -> VolumeVersion {
        VolumeVersion {
            storage_id: "DS-1".into(),
            cluster_id: "CID-1".into(),
            datanode_uuid: "dn-1".into(),
            c_time: 17,
            layout_version: LAYOUT_VERSION,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            VolumeVersion::read(&RealDisk, dir.path())
                .unwrap()
                .is_none()
        );
        version().write(&RealDisk, dir.path()).unwrap();
        assert_eq!(
            VolumeVersion::read(&RealDisk, dir.path()).unwrap().unwrap(),
            version()
        );
    }

    #[test]
    fn nobody_else_looks_into_a_volume() {
        let dir = tempfile::tempdir().unwrap();
        version().write(&RealDisk, dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(HDDS)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
    }

    #[test]
    fn foreign_and_newer_data_is_refused_with_both_values() {
        let check = |v: VolumeVersion| v.check(Path::new("/d"), "CID-1", "dn-1");
        check(version()).unwrap();
        let other = VolumeVersion {
            cluster_id: "CID-2".into(),
            ..version()
        };
        let text = check(other).unwrap_err().to_string();
        assert!(text.contains("CID-1") && text.contains("CID-2"), "{text}");
        let newer = VolumeVersion {
            layout_version: 99,
            ..version()
        };
        let text = check(newer).unwrap_err().to_string();
        assert!(
            text.contains("99") && text.contains(&LAYOUT_VERSION.to_string()),
            "{text}"
        );
        let moved = VolumeVersion {
            datanode_uuid: "dn-2".into(),
            ..version()
        };
        let text = check(moved).unwrap_err().to_string();
        assert!(
            text.contains("dn-2") && text.contains("datanode.id"),
            "{text}"
        );
    }

    #[test]
    fn containers_are_spread_over_256_directories() {
        let layout = VolumeLayout::new(Path::new("/d"), "CID-1", "DS-1");
        let base = "/d/hdds/CID-1/current";
        assert_eq!(
            layout.container(511),
            Path::new(&format!("{base}/containerDir0/511"))
        );
        assert_eq!(
            layout.container(512),
            Path::new(&format!("{base}/containerDir1/512"))
        );
        assert_eq!(
            layout.container(131_072),
            Path::new(&format!("{base}/containerDir0/131072"))
        );
    }
}
