//! The OM's directories, as in the Ozone Manager disk layout: `om.db` and `om/current/VERSION` under
//! `ozone.om.db.dirs`, keys and certificates under `ozone.metadata.dirs`, Raft logs under
//! `ozone.om.ratis.storage.dir`.

use std::path::PathBuf;

use ozone_common::config::Config;
use ozone_common::disk::Disk;
use ozone_common::version_file::{NodeType, VersionFile};
use uuid::Uuid;

use crate::error::{OmError, Result};

/// Layout of the data that this software writes, and the newest that it reads.
pub const LAYOUT_VERSION: u32 = 1;

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
        for made in [
            &self.data,
            &self.data.join("db.checkpoints"),
            &self.data.join("om.db").join("snapshots"),
            &self.raft,
        ] {
            disk.create_dir_all(made)
                .map_err(|e| OmError::Start(format!("{}: {e}", made.display())))?;
        }
        if let Some(found) = VersionFile::read(disk, &dir).map_err(start)? {
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
            extra: [("scmUuid".to_owned(), cluster.scm_id.clone())].into(),
        };
        version.write(disk, &dir).map_err(start)?;
        Ok(version)
    }
}
