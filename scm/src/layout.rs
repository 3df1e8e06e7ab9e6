//! Where SCM keeps what on disk, and how it is formatted.
//!
//! ```text
//! <ozone.scm.db.dirs>/scm.db                        the replicated state
//! <ozone.scm.db.dirs>/scm/current/VERSION           who this SCM is, and of which cluster
//! <ozone.scm.db.dirs>/db.checkpoints, snapshot      copies of the state for others
//! <ozone.scm.ratis.storage.dir>/<group>/current     the log; the group is the UUID of the cluster
//! <hdds.scm.ca.location>/scm/{ca,sub-ca}            keys and certificates
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use ozone_common::clock::Clock;
use ozone_common::config::Config;
use ozone_common::disk::Disk;
use ozone_common::rng::Rng;
use ozone_common::version_file::{NodeType, VersionFile};
use uuid::Uuid;

use crate::error::StartError;
use crate::members::Members;

/// Newest layout of data that this software knows.
pub const LAYOUT_VERSION: u32 = 1;

/// Who an SCM is, and of which cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `CID-<uuid>`, the same on all servers of the cluster.
    pub cluster_id: String,
    /// This SCM; also its id in the Raft group.
    pub scm_id: Uuid,
    /// The Raft group of the SCMs: the UUID of the cluster id.
    pub group: Uuid,
    /// When the cluster was formatted; ms since 1970.
    pub c_time: u64,
    /// Layout of the data.
    pub layout_version: u32,
}

impl Identity {
    fn from_file(file: &VersionFile) -> Result<Self, StartError> {
        Ok(Self {
            cluster_id: file.cluster_id.clone(),
            scm_id: file.uuid,
            group: group_of(&file.cluster_id)?,
            c_time: file.c_time,
            layout_version: file.layout_version,
        })
    }

    /// When the cluster was formatted, as messages carry it.
    pub(crate) fn c_time_wire(&self) -> i64 {
        i64::try_from(self.c_time).unwrap_or(i64::MAX)
    }
}

/// The UUID in a cluster id.
fn group_of(cluster_id: &str) -> Result<Uuid, StartError> {
    let uuid = cluster_id
        .strip_prefix("CID-")
        .and_then(|text| text.parse().ok());
    uuid.ok_or_else(|| StartError::ClusterId {
        found: cluster_id.to_owned(),
    })
}

/// Keys of the directories of an SCM.
const DIRS: [&str; 3] = [
    "ozone.scm.db.dirs",
    "ozone.scm.ratis.storage.dir",
    "hdds.scm.ca.location",
];

/// The directories of one SCM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The replicated state.
    pub db: PathBuf,
    /// Holds `VERSION`.
    pub version: PathBuf,
    /// Copies of the state for external tools.
    pub checkpoints: PathBuf,
    /// Copies of the state in the making.
    pub snapshots: PathBuf,
    /// Holds the directory of the Raft group.
    pub ratis: PathBuf,
    /// Holds `scm/ca` and `scm/sub-ca`.
    pub authority: PathBuf,
}

impl Layout {
    pub(crate) fn new(config: &Config, members: &Members) -> Result<Self, StartError> {
        let dir = |key: &str| config.get_dir(&members.key(config, key));
        let data = dir("ozone.scm.db.dirs")?;
        Ok(Self {
            db: data.join("scm.db"),
            version: data.join("scm").join("current"),
            checkpoints: data.join("db.checkpoints"),
            snapshots: data.join("snapshot"),
            ratis: dir("ozone.scm.ratis.storage.dir")?,
            authority: dir("hdds.scm.ca.location")?,
        })
    }

    /// Reads who this SCM is. Blocks.
    pub(crate) fn identity(&self, disk: &dyn Disk) -> Result<Identity, StartError> {
        let Some(file) = VersionFile::read(disk, &self.version)? else {
            return Err(StartError::NotFormatted {
                dir: self.version.clone(),
            });
        };
        file.check(&self.version, NodeType::Scm, "", LAYOUT_VERSION)?;
        Identity::from_file(&file)
    }

    /// Makes the directories that are not made by what lives in them. Blocks.
    pub(crate) fn make_dirs(&self, disk: &dyn Disk) -> Result<(), StartError> {
        for dir in [&self.checkpoints, &self.snapshots, &self.ratis] {
            let made = disk.create_dir_all(dir);
            made.map_err(|source| StartError::Io {
                path: dir.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

/// What formatting takes from the machine.
pub(crate) struct Machine<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) rng: &'a dyn Rng,
}

/// The cluster that an SCM is formatted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `CID-<uuid>`.
    pub cluster_id: String,
    /// When it was formatted; ms since 1970. None: now.
    pub c_time: Option<u64>,
}

/// Writes the `VERSION` file, unless there is one already: then it has to be of the same cluster.
pub(crate) fn format(
    config: &Config,
    cluster: Option<&Cluster>,
    machine: &Machine<'_>,
) -> Result<(Layout, Identity), StartError> {
    let members = Members::find(config)?;
    let layout = Layout::new(config, &members)?;
    let dirs = DIRS.map(|key| members.key(config, key));
    config.make_dirs(&dirs)?;
    let wanted = cluster.map(|cluster| cluster.cluster_id.as_str());
    if let Some(file) = VersionFile::read(machine.disk, &layout.version)? {
        let wanted = wanted.unwrap_or("");
        file.check(&layout.version, NodeType::Scm, wanted, LAYOUT_VERSION)?;
        layout.make_dirs(machine.disk)?;
        let identity = Identity::from_file(&file)?;
        return Ok((layout, identity));
    }
    let cluster_id = match wanted {
        Some(id) => id.to_owned(),
        None => format!("CID-{}", machine.rng.uuid()),
    };
    let own = members.own_id(group_of(&cluster_id)?);
    let file = VersionFile {
        node_type: NodeType::Scm,
        cluster_id,
        uuid: own.unwrap_or_else(|| machine.rng.uuid()),
        c_time: cluster
            .and_then(|c| c.c_time)
            .unwrap_or_else(|| machine.clock.wall_ms()),
        layout_version: LAYOUT_VERSION,
        extra: BTreeMap::new(),
    };
    let identity = Identity::from_file(&file)?;
    layout.make_dirs(machine.disk)?;
    file.write(machine.disk, &layout.version)?;
    Ok((layout, identity))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::clock::ManualClock;
    use ozone_common::disk::RealDisk;
    use ozone_common::rng::SeededRng;

    use super::*;

    fn config(dir: &std::path::Path) -> Config {
        let base = dir.to_str().unwrap();
        Config::from_pairs([
            ("ozone.metadata.dirs", base.to_owned()),
            ("ozone.scm.db.dirs", format!("{base}/data")),
        ])
        .unwrap()
    }

    fn run(
        dir: &std::path::Path,
        cluster: Option<&str>,
        seed: u64,
    ) -> Result<(Layout, Identity), StartError> {
        let machine = Machine {
            disk: &RealDisk,
            clock: &ManualClock::new(1_000 + seed),
            rng: &SeededRng::new(seed),
        };
        let cluster = cluster.map(|id| Cluster {
            cluster_id: id.to_owned(),
            c_time: None,
        });
        format(&config(dir), cluster.as_ref(), &machine)
    }

    #[test]
    fn directories_are_those_of_the_documents() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, _) = run(dir.path(), None, 1).unwrap();
        let base = dir.path();
        assert_eq!(layout.db, base.join("data/scm.db"));
        assert!(base.join("data/scm/current/VERSION").is_file());
        assert!(base.join("data/db.checkpoints").is_dir());
        assert!(base.join("data/snapshot").is_dir());
        assert_eq!(layout.ratis, base.join("scm-ha"));
        assert_eq!(layout.authority, base);
    }

    #[test]
    fn formatting_again_keeps_every_id() {
        let dir = tempfile::tempdir().unwrap();
        let (_, first) = run(dir.path(), None, 1).unwrap();
        let (layout, again) = run(dir.path(), None, 2).unwrap();
        assert_eq!(first, again);
        assert_eq!(layout.identity(&RealDisk).unwrap(), first);
        assert_eq!(first.c_time, 1_001);
        assert_eq!(first.cluster_id, format!("CID-{}", first.group));
    }

    #[test]
    fn another_cluster_and_no_format_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let members = Members::find(&config(dir.path())).unwrap();
        let layout = Layout::new(&config(dir.path()), &members).unwrap();
        let text = layout.identity(&RealDisk).unwrap_err().to_string();
        assert!(text.contains("scm --init"), "{text}");
        let ours = format!("CID-{}", Uuid::from_u128(1));
        let theirs = format!("CID-{}", Uuid::from_u128(2));
        assert_eq!(run(dir.path(), Some(&ours), 1).unwrap().1.cluster_id, ours);
        let text = run(dir.path(), Some(&theirs), 1).unwrap_err().to_string();
        assert!(text.contains(&ours) && text.contains(&theirs), "{text}");
        let other = tempfile::tempdir().unwrap();
        assert!(matches!(
            run(other.path(), Some("nonsense"), 1),
            Err(StartError::ClusterId { .. })
        ));
        assert!(!other.path().join("data/scm/current/VERSION").exists());
    }
}
