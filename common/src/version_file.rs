//! The `VERSION` file: which server of which cluster a directory belongs to.
//!
//! A Java properties file, written once when a server is formatted and checked at every start, so
//! that a server never works on another cluster's data or on data of a newer layout.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use uuid::Uuid;

use crate::disk::{Disk, replace_file};
use crate::properties::{parse, print};

/// Name of the file.
pub const FILE_NAME: &str = "VERSION";

/// What kind of server a directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeType {
    /// An Ozone Manager.
    Om,
    /// A Storage Container Manager.
    Scm,
    /// A datanode.
    Datanode,
}

impl NodeType {
    /// The property that holds the server's uuid.
    pub fn uuid_key(self) -> &'static str {
        match self {
            Self::Om => "omUuid",
            Self::Scm => "scmUuid",
            Self::Datanode => "datanodeUuid",
        }
    }
}

impl fmt::Display for NodeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Om => "OM",
            Self::Scm => "SCM",
            Self::Datanode => "DATANODE",
        })
    }
}

impl FromStr for NodeType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "OM" => Ok(Self::Om),
            "SCM" => Ok(Self::Scm),
            "DATANODE" => Ok(Self::Datanode),
            _ => Err(()),
        }
    }
}

/// The content of a `VERSION` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFile {
    /// Kind of server.
    pub node_type: NodeType,
    /// `CID-<uuid>`, the same on all servers of a cluster.
    pub cluster_id: String,
    /// This server.
    pub uuid: Uuid,
    /// When it was formatted; milliseconds since 1970.
    pub c_time: u64,
    /// Layout of the data beside the file; grows with each incompatible change.
    pub layout_version: u32,
    /// All other properties, kept as they are.
    pub extra: BTreeMap<String, String>,
}

/// What is wrong with a `VERSION` file.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A property is missing, or is not what it should be.
    #[error(
        "{}: {property} should be {expected}, {}", path.display(),
        found.as_ref().map_or("is missing".to_owned(), |found| format!("is {found:?}"))
    )]
    Property {
        /// The file.
        path: PathBuf,
        /// The property.
        property: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What is there; none if nothing is.
        found: Option<String>,
    },
    /// It is not of the kind of server that it says.
    #[error(
        "{}: nodeType is {node_type}, but there is no {}: with {} it should be {likely}", path.display(),
        node_type.uuid_key(), likely.uuid_key()
    )]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// In the file.
        node_type: NodeType,
        /// What the file is of, as it seems.
        likely: NodeType,
    },
    /// The directory belongs to another kind of server, cluster or server.
    #[error("{}: {property} is {found}, but this server has {expected}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The property that differs.
        property: &'static str,
        /// In the file.
        found: String,
        /// In this server.
        expected: String,
    },
    /// The data is of a layout that this software does not know.
    #[error(
        "{}: data has layout version {found}, this software supports up to {supported}: \
         start a newer version", path.display()
    )]
    NewerLayout {
        /// The file.
        path: PathBuf,
        /// In the file.
        found: u32,
        /// Newest that this software knows.
        supported: u32,
    },
}

impl VersionFile {
    /// Reads `<dir>/VERSION`; none if there is no such file. Blocks.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, VersionError> {
        let path = dir.join(FILE_NAME);
        match disk.read(&path) {
            Ok(bytes) => {
                let properties = parse(&String::from_utf8_lossy(&bytes));
                Self::from_properties(&path, properties).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(VersionError::Io { path, source }),
        }
    }

    /// Writes `<dir>/VERSION`, durable and never half there; makes `dir` if needed. Blocks.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), VersionError> {
        let path = dir.join(FILE_NAME);
        let text = print(self.c_time, &self.properties());
        create_dirs(disk, dir)
            .and_then(|()| replace_file(disk, &path, text.as_bytes()))
            .map_err(|source| VersionError::Io { path, source })
    }

    /// Sets one of the other properties of `<dir>/VERSION`, if it is not so already. Blocks.
    pub fn set_extra(
        disk: &dyn Disk,
        dir: &Path,
        property: &str,
        value: &str,
    ) -> Result<(), VersionError> {
        let path = dir.join(FILE_NAME);
        let mut file = Self::read(disk, dir)?.ok_or_else(|| VersionError::Io {
            path,
            source: io::ErrorKind::NotFound.into(),
        })?;
        let old = file.extra.insert(property.to_owned(), value.to_owned());
        match old.as_deref() == Some(value) {
            true => Ok(()),
            false => file.write(disk, dir),
        }
    }

    /// Checks that data in `dir` is of this kind of server, of this cluster, and not newer than
    /// `layout`. An empty `cluster_id` stands for a server that has not joined one yet.
    pub fn check(
        &self,
        dir: &Path,
        node_type: NodeType,
        cluster_id: &str,
        layout: u32,
    ) -> Result<(), VersionError> {
        let path = dir.join(FILE_NAME);
        let foreign = |property, found: &dyn fmt::Display, expected: &dyn fmt::Display| {
            Err(VersionError::Foreign {
                path: path.clone(),
                property,
                found: found.to_string(),
                expected: expected.to_string(),
            })
        };
        if self.node_type != node_type {
            return foreign("nodeType", &self.node_type, &node_type);
        }
        if !cluster_id.is_empty() && self.cluster_id != cluster_id {
            return foreign("clusterID", &self.cluster_id, &cluster_id);
        }
        if self.layout_version > layout {
            return Err(VersionError::NewerLayout {
                path,
                found: self.layout_version,
                supported: layout,
            });
        }
        Ok(())
    }

    fn properties(&self) -> BTreeMap<String, String> {
        let mut all = self.extra.clone();
        let own = [
            ("nodeType", self.node_type.to_string()),
            ("clusterID", self.cluster_id.clone()),
            (self.node_type.uuid_key(), self.uuid.to_string()),
            ("cTime", self.c_time.to_string()),
            ("layoutVersion", self.layout_version.to_string()),
        ];
        all.extend(own.map(|(key, value)| (key.to_owned(), value)));
        all
    }

    fn from_properties(
        path: &Path,
        mut all: BTreeMap<String, String>,
    ) -> Result<Self, VersionError> {
        let node_type = take(path, &mut all, "nodeType", "OM, SCM or DATANODE", |v| {
            v.parse().ok()
        })?;
        if let Some(likely) = likely_type(node_type, &all) {
            return Err(VersionError::OtherKind {
                path: path.to_owned(),
                node_type,
                likely,
            });
        }
        let text = |v: &str| Some(v.to_owned()).filter(|v| !v.is_empty());
        Ok(Self {
            node_type,
            cluster_id: take(path, &mut all, "clusterID", "CID-<uuid>", text)?,
            uuid: take(path, &mut all, node_type.uuid_key(), "a UUID", |v| {
                v.parse().ok()
            })?,
            c_time: take(path, &mut all, "cTime", "milliseconds since 1970", |v| {
                v.parse().ok()
            })?,
            layout_version: take(path, &mut all, "layoutVersion", "a whole number", |v| {
                v.parse().ok()
            })?,
            extra: all,
        })
    }
}

/// The kind of server whose id the file holds, where it lacks that of the kind that it says to be of. Those of
/// other servers hold the id of an SCM as well.
fn likely_type(said: NodeType, all: &BTreeMap<String, String>) -> Option<NodeType> {
    if all.contains_key(said.uuid_key()) {
        return None;
    }
    let kinds = [NodeType::Datanode, NodeType::Om, NodeType::Scm];
    kinds
        .into_iter()
        .find(|kind| all.contains_key(kind.uuid_key()))
}

/// Creates `dir` and those above it, and makes the new names durable.
fn create_dirs(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut changed = Vec::new();
    for pair in dir.ancestors().zip(dir.ancestors().skip(1)) {
        if disk.exists(pair.0)? {
            break;
        }
        changed.push(pair.1);
    }
    disk.create_dir_all(dir)?;
    changed
        .into_iter()
        .try_for_each(|parent| disk.sync_dir(parent))
}

fn take<T>(
    path: &Path,
    all: &mut BTreeMap<String, String>,
    property: &'static str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, VersionError> {
    let found = all.remove(property);
    let parsed = found.as_deref().and_then(parse);
    parsed.ok_or_else(|| VersionError::Property {
        path: path.to_owned(),
        property,
        expected,
        found,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn sample() -> VersionFile {
        VersionFile {
            node_type: NodeType::Scm,
            cluster_id: "CID-2a3f36e8-506f-40eb-986e-bb79d188fd55".to_owned(),
            uuid: "fa1376f0-23ad-4cda-93d6-0c9fd79c7ae3".parse().unwrap(),
            c_time: 1_771_013_425_196,
            layout_version: 0,
            extra: BTreeMap::from([("primaryScmNodeId".to_owned(), "scm 1=ä:\\".to_owned())]),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("scm/current");
        assert!(VersionFile::read(&RealDisk, &home).unwrap().is_none());
        sample().write(&RealDisk, &home).unwrap();
        assert_eq!(
            VersionFile::read(&RealDisk, &home).unwrap().unwrap(),
            sample()
        );
        let text = std::fs::read_to_string(home.join(FILE_NAME)).unwrap();
        assert!(
            text.starts_with("#Fri Feb 13 20:10:25 UTC 2026\n"),
            "{text}"
        );
        assert!(text.contains("\nscmUuid=fa1376f0-"), "{text}");
        assert!(text.contains("scm 1\\=\\u00E4\\:\\\\\n"), "{text}");
    }

    #[test]
    fn files_written_by_java_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let text = "#Fri Feb 13 10:58:02 PDT 2020\nnodeType=SCM\n\
            scmUuid=fa1376f0-23ad-4cda-93d6-0c9fd79c7ae3\n\
            clusterID : CID-2a3f36e8-506f-40eb-\\\n   986e-bb79d188fd55\n\
            cTime=1771013425196\nlayoutVersion=0\n";
        std::fs::write(dir.path().join(FILE_NAME), text).unwrap();
        let read = VersionFile::read(&RealDisk, dir.path()).unwrap().unwrap();
        assert_eq!(read.cluster_id, sample().cluster_id);
        assert_eq!(read.uuid, sample().uuid);
    }

    #[test]
    fn foreign_and_newer_data_is_refused_with_both_values() {
        let (dir, file) = (Path::new("/d"), sample());
        let id = file.cluster_id.clone();
        file.check(dir, NodeType::Scm, &id, 0).unwrap();
        file.check(dir, NodeType::Scm, "", 3).unwrap();
        let text = file.check(dir, NodeType::Scm, "CID-x", 0).unwrap_err();
        let text = text.to_string();
        assert!(text.contains(&id) && text.contains("CID-x"), "{text}");
        assert!(file.check(dir, NodeType::Om, &id, 0).is_err());
        let newer = VersionFile {
            layout_version: 9,
            ..file
        };
        let text = newer.check(dir, NodeType::Scm, &id, 4).unwrap_err();
        let text = text.to_string();
        assert!(text.contains('9') && text.contains('4'), "{text}");
    }

    #[test]
    fn other_properties_can_be_set_later_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let set = |value| VersionFile::set_extra(&RealDisk, dir.path(), "omCertSerialId", value);
        assert!(set("3").is_err());
        sample().write(&RealDisk, dir.path()).unwrap();
        set("3").unwrap();
        set("4").unwrap();
        let mut expected = sample();
        expected
            .extra
            .insert("omCertSerialId".to_owned(), "4".to_owned());
        let read = VersionFile::read(&RealDisk, dir.path()).unwrap();
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn a_node_type_that_the_rest_of_the_file_belies_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            std::fs::write(dir.path().join(FILE_NAME), text).unwrap();
            let refused = VersionFile::read(&RealDisk, dir.path());
            refused.unwrap_err().to_string()
        };
        let text = refused("nodeType=OM\nscmUuid=1\n");
        assert!(text.contains("nodeType is OM"), "{text}");
        assert!(text.contains("scmUuid it should be SCM"), "{text}");
        let text = refused("nodeType=DATANODE\nomUuid=1\nscmUuid=1\n");
        assert!(text.contains("it should be OM"), "{text}");
        let text = refused("nodeType=OM\nclusterID=CID-1\n");
        assert!(text.contains("omUuid should be a UUID"), "{text}");
    }

    #[test]
    fn a_missing_property_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "nodeType=OM\n").unwrap();
        let text = VersionFile::read(&RealDisk, dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("clusterID should be CID-<uuid>, is missing"),
            "{text}"
        );
        std::fs::write(dir.path().join(FILE_NAME), "nodeType=OZ\n").unwrap();
        let text = VersionFile::read(&RealDisk, dir.path()).unwrap_err();
        assert!(text.to_string().contains("is \"OZ\""), "{text}");
    }
}
