//! The OM's directories, as in the Ozone Manager disk layout: `om.db` and `om/current/VERSION` under
//! `ozone.om.db.dirs`, keys and certificates under `ozone.metadata.dirs`, Raft logs under
//! `ozone.om.ratis.storage.dir`.

use std::path::PathBuf;

use ozone_common::config::Config;
use ozone_common::disk::Disk;
use ozone_common::version_file::{FILE_NAME, NodeType, VersionFile};
use uuid::Uuid;

use crate::error::{OmError, Result};

/// Layout of the data that this software writes, and the newest that it reads.
pub const LAYOUT_VERSION: u32 = 1;

/// The property of the VERSION file that holds the id of the SCM.
pub const SCM_PROPERTY: &str = "scmUuid";

/// In the directory of a group: what its log begins with.
const LOG_META: &str = "current/raft-meta";

/// Where the OM keeps what.
#[derive(Debug, Clone)]
pub struct Layout {
    /// `ozone.om.db.dirs`.
    pub data: PathBuf,
    /// `ozone.metadata.dirs`.
    pub metadata: PathBuf,
    /// `ozone.om.ratis.storage.dir`.
    pub raft: PathBuf,
}

/// What SCM tells of the cluster.
#[derive(Debug, Clone)]
pub struct ClusterIdentity {
    /// `CID-<uuid>`.
    pub cluster_id: String,
    /// The SCM that answered.
    pub scm_id: String,
}

/// The Raft group of the OMs of a cluster, which names the directory of their log.
pub fn group_id(cluster_id: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("om/{cluster_id}").as_bytes())
}

fn start(error: impl std::fmt::Display) -> OmError {
    OmError::Start(error.to_string())
}

impl Layout {
    /// Reads the configuration.
    pub fn from_config(config: &Config) -> Result<Self> {
        Ok(Self {
            data: config.get_dir("ozone.om.db.dirs").map_err(start)?,
            metadata: config.get_dir("ozone.metadata.dirs").map_err(start)?,
            raft: config
                .get_dir("ozone.om.ratis.storage.dir")
                .map_err(start)?,
        })
    }

    /// The directory of the VERSION file.
    pub fn current(&self) -> PathBuf {
        self.data.join("om").join("current")
    }

    /// The file with which the log of a group begins.
    fn log(&self, group: Uuid) -> PathBuf {
        self.raft.join(group.to_string()).join(LOG_META)
    }

    /// What is wrong when the directory of Raft logs holds the log of another cluster than `cluster_id`, which
    /// the VERSION file tells.
    pub fn log_of_other(&self, disk: &dyn Disk, cluster_id: &str) -> Option<String> {
        let (own, logs) = (group_id(cluster_id), disk.list(&self.raft).ok()?);
        let mut groups = logs.iter().filter_map(|log| log.name.parse().ok());
        let begun = |group| matches!(disk.exists(&self.log(group)), Ok(true));
        let other = groups.find(|group| *group != own && begun(*group))?;
        Some(format!(
            "{}: clusterID is {cluster_id}, whose log is {own}, but {} (ozone.om.ratis.storage.dir) holds \
             {other}, the log of another cluster: put VERSION back as it was, or mount the disk of this \
             cluster's log",
            self.current().join(FILE_NAME).display(),
            self.raft.display()
        ))
    }

    /// Refuses to make an OM anew where the log of one is: what it was for is not on this disk.
    fn check_unused(&self, disk: &dyn Disk, cluster_id: &str) -> Result<()> {
        let log = self.log(group_id(cluster_id));
        let found = disk.exists(&log);
        match found.map_err(|e| OmError::Start(format!("{}: {e}", log.display())))? {
            false => Ok(()),
            true => Err(OmError::Start(format!(
                "{} (ozone.om.db.dirs) has no VERSION file, but {} is of the log of an OM of this cluster: \
                 mount the disk of ozone.om.db.dirs, or set it back to where it was; from a backup, put data \
                 and log back together",
                self.data.display(),
                log.display()
            ))),
        }
    }

    /// The directories of keys and certificates.
    pub fn security(&self) -> PathBuf {
        self.metadata.join("om")
    }

    /// Reads the VERSION file of an OM that was initialised.
    pub fn version(&self, disk: &dyn Disk) -> Result<VersionFile> {
        let dir = self.current();
        let found = VersionFile::read(disk, &dir)
            .map_err(start)?
            .ok_or_else(|| {
                OmError::Start(format!(
                    "{} has no VERSION file: run `ozone om --init` first",
                    dir.display()
                ))
            })?;
        found
            .check(&dir, NodeType::Om, "", LAYOUT_VERSION)
            .map_err(start)?;
        Ok(found)
    }

    /// Initialises the directories for a cluster; run again, it keeps what is there.
    pub fn init(
        &self,
        disk: &dyn Disk,
        cluster: &ClusterIdentity,
        now_ms: u64,
        uuid: Uuid,
    ) -> Result<VersionFile> {
        let dir = self.current();
        let found = VersionFile::read(disk, &dir).map_err(start)?;
        if found.is_none() {
            self.check_unused(disk, &cluster.cluster_id)?;
        }
        for made in [
            &self.data,
            &self.data.join("db.checkpoints"),
            &self.data.join("om.db").join("snapshots"),
            &self.raft,
        ] {
            disk.create_dir_all(made)
                .map_err(|e| OmError::Start(format!("{}: {e}", made.display())))?;
        }
        if let Some(found) = found {
            found
                .check(&dir, NodeType::Om, &cluster.cluster_id, LAYOUT_VERSION)
                .map_err(start)?;
            return Ok(found);
        }
        let version = VersionFile {
            node_type: NodeType::Om,
            cluster_id: cluster.cluster_id.clone(),
            uuid,
            c_time: now_ms,
            layout_version: LAYOUT_VERSION,
            extra: [(SCM_PROPERTY.to_owned(), cluster.scm_id.clone())].into(),
        };
        version.write(disk, &dir).map_err(start)?;
        Ok(version)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::disk::RealDisk;

    use super::*;

    fn layout(dir: &std::path::Path) -> Layout {
        Layout {
            data: dir.join("data"),
            metadata: dir.join("metadata"),
            raft: dir.join("ratis"),
        }
    }

    fn cluster(id: &str) -> ClusterIdentity {
        ClusterIdentity {
            cluster_id: id.to_owned(),
            scm_id: "scm".to_owned(),
        }
    }

    fn begin_log(layout: &Layout, cluster_id: &str) -> PathBuf {
        let log = layout.log(group_id(cluster_id));
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::fs::write(&log, b"").unwrap();
        log
    }

    #[test]
    fn an_om_whose_data_is_gone_is_not_made_anew_beside_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let init = || layout.init(&RealDisk, &cluster("CID-1"), 0, Uuid::from_u128(1));
        let made = init().unwrap();
        let log = begin_log(&layout, "CID-1");
        assert_eq!(init().unwrap(), made);
        std::fs::remove_dir_all(&layout.data).unwrap();
        let text = init().unwrap_err().to_string();
        for dir in [&layout.data, &log] {
            assert!(text.contains(&dir.display().to_string()), "{text}");
        }
        assert!(!layout.data.exists());
    }

    #[test]
    fn the_log_of_another_cluster_is_named_beside_the_own() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        begin_log(&layout, "CID-2");
        assert_eq!(layout.log_of_other(&RealDisk, "CID-2"), None);
        let text = layout.log_of_other(&RealDisk, "CID-1").unwrap();
        for words in [
            "CID-1",
            &group_id("CID-1").to_string(),
            &group_id("CID-2").to_string(),
        ] {
            assert!(text.contains(words), "{text}");
        }
    }
}
