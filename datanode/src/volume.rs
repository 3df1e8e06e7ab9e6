//! The data disks of a datanode: which are well, how much room they have, and which one takes the
//! next container.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ozone_common::disk::{Disk, OpenMode, create_dir_durably};
use ozone_kv::BlockCache;
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::StorageReport;
use parking_lot::Mutex;

use crate::error::{OpError, OpResult, StartError};
use crate::io::IoLanes;
use crate::layout::{LAYOUT_VERSION, VolumeLayout, VolumeVersion};
use crate::rows::BlockDb;

/// Who the volumes belong to.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The cluster.
    pub cluster_id: String,
    /// The datanode.
    pub datanode: String,
    /// When the cluster was made; milliseconds since 1970.
    pub c_time: u64,
}

/// One data directory, formatted and open.
pub struct Volume {
    dir: PathBuf,
    storage_id: String,
    layout: VolumeLayout,
    disk: Arc<dyn Disk>,
    db: BlockDb,
    io: IoLanes,
    min_free: u64,
    /// Which filesystem it is on, among those of all machines.
    filesystem: String,
    failure: Mutex<Option<String>>,
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Volume({})", self.dir.display())
    }
}

/// Proves that a data directory can be written to, before anything else is asked of it. Blocks.
pub(crate) fn probe(disk: &dyn Disk, dir: &Path) -> Result<(), StartError> {
    create_dir_durably(disk, dir).map_err(StartError::io("create data directory", dir))?;
    let path = dir.join(".probe");
    let written = disk
        .open(&path, OpenMode::Truncate)
        .and_then(|file| file.write_at(b"probe", 0))
        .and_then(|()| disk.remove_file(&path));
    written.map_err(StartError::io(
        "the data directory cannot be written to",
        dir,
    ))
}

/// What tells the filesystem of `dir` from all others; empty where that cannot be told. Blocks.
fn filesystem_of(disk: &dyn Disk, dir: &Path) -> String {
    // The same for all containers of a machine, and for no two machines.
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    match (machine, disk.metadata(dir)) {
        (Ok(machine), Ok(info)) => format!("{}/{:x}", machine.trim(), info.device),
        _ => String::new(),
    }
}

impl Volume {
    /// Opens a data directory, formatting it when it is new. Blocks.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        owner: &Owner,
        settings: &VolumeSettings,
    ) -> Result<Self, StartError> {
        let version = match VolumeVersion::read(&**disk, dir)? {
            Some(version) => version,
            None => {
                let version = VolumeVersion {
                    storage_id: format!("DS-{}", settings.new_storage_id),
                    cluster_id: owner.cluster_id.clone(),
                    datanode_uuid: owner.datanode.clone(),
                    c_time: owner.c_time,
                    layout_version: LAYOUT_VERSION,
                };
                version.write(&**disk, dir)?;
                version
            }
        };
        version.check(dir, &owner.cluster_id, &owner.datanode)?;
        let layout = VolumeLayout::new(dir, &version.cluster_id, &version.storage_id);
        let tmp = layout.tmp();
        disk.remove_dir_all(&tmp)
            .map_err(StartError::io("empty", &tmp))?;
        for dir in [tmp, layout.current(), layout.db()] {
            create_dir_durably(&**disk, &dir).map_err(StartError::io("create", &dir))?;
        }
        let db =
            BlockDb::open(&layout.db(), &settings.cache).map_err(|error| StartError::Database {
                path: layout.db(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            dir: dir.to_path_buf(),
            storage_id: version.storage_id,
            layout,
            disk: disk.clone(),
            db,
            io: IoLanes::default(),
            min_free: settings.min_free,
            filesystem: filesystem_of(&**disk, dir),
            failure: Mutex::new(None),
        })
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `DS-<uuid>`.
    pub fn storage_id(&self) -> &str {
        &self.storage_id
    }

    /// Where things lie.
    pub fn layout(&self) -> &VolumeLayout {
        &self.layout
    }

    /// The disk below.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Block metadata.
    pub fn db(&self) -> &BlockDb {
        &self.db
    }

    /// Threads for work on this volume.
    pub fn io(&self) -> &IoLanes {
        &self.io
    }

    /// Takes the volume out of service until the datanode is started again: after a failed fsync
    /// nobody knows what is on the disk.
    pub fn fail(&self, reason: &str) {
        let mut failure = self.failure.lock();
        if failure.is_none() {
            tracing::error!(volume = %self.dir.display(), reason, "data volume failed");
            metrics::counter!("datanode_volume_failures_total").increment(1);
            *failure = Some(reason.to_owned());
        }
    }

    /// Why the volume failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Refuses work on a volume that failed.
    pub fn check_alive(&self) -> OpResult<()> {
        match &*self.failure.lock() {
            None => Ok(()),
            Some(reason) => {
                let text = format!("volume {} failed: {reason}", self.dir.display());
                Err(OpError::new(Code::IoException, text))
            }
        }
    }

    /// Bytes that may still be written here.
    pub fn room(&self) -> u64 {
        let space = self.disk.space(&self.dir);
        space.map_or(0, |space| space.available.saturating_sub(self.min_free))
    }

    /// Refuses a write that would take the space that is to stay free.
    pub fn check_room(&self, bytes: u64) -> OpResult<()> {
        let room = self.room();
        if bytes <= room {
            return Ok(());
        }
        let text = format!(
            "volume {} has room for {room} bytes beyond the {} that stay free \
             (hdds.datanode.volume.min.free.space), {bytes} are asked for",
            self.dir.display(),
            self.min_free
        );
        Err(OpError::new(Code::DiskOutOfSpace, text))
    }

    /// What SCM is told; `used` are the bytes of containers here.
    pub fn report(&self, used: u64) -> StorageReport {
        let failed = self.failure.lock().is_some();
        let total = self.disk.space(&self.dir).map_or(0, |space| space.total);
        StorageReport {
            storage_uuid: self.storage_id.clone(),
            location: self.dir.display().to_string(),
            capacity: total,
            used,
            remaining: if failed { 0 } else { self.room() },
            failed,
            filesystem: self.filesystem.clone(),
        }
    }
}

/// How volumes are opened.
#[derive(Debug, Clone)]
pub struct VolumeSettings {
    /// Bytes that stay free on each.
    pub min_free: u64,
    /// Shared by all databases.
    pub cache: BlockCache,
    /// Given to the volume when it is new.
    pub new_storage_id: uuid::Uuid,
}

/// All volumes that could be opened.
#[derive(Debug, Default)]
pub struct VolumeSet {
    volumes: Vec<Arc<Volume>>,
    broken: Vec<(PathBuf, String)>,
}

impl VolumeSet {
    /// `broken`: directories that could not be opened, and why.
    pub fn new(volumes: Vec<Volume>, broken: Vec<(PathBuf, String)>) -> Self {
        Self {
            volumes: volumes.into_iter().map(Arc::new).collect(),
            broken,
        }
    }

    /// Volumes that were opened, those that failed since among them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.volumes.iter()
    }

    /// The volume for a new container of about `bytes`: the healthy one with the most room.
    pub fn choose(&self, bytes: u64) -> OpResult<Arc<Volume>> {
        let healthy = self.volumes.iter().filter(|v| v.failure().is_none());
        let best = healthy.max_by_key(|v| v.room());
        let best = best.ok_or_else(|| {
            OpError::new(
                Code::IoException,
                "every data volume of this datanode failed",
            )
        })?;
        best.check_room(bytes)?;
        Ok(best.clone())
    }

    /// Directories that do not work, and why.
    pub fn failures(&self) -> Vec<(PathBuf, String)> {
        let failed = self
            .volumes
            .iter()
            .filter_map(|v| Some((v.dir.clone(), v.failure()?)));
        self.broken.iter().cloned().chain(failed).collect()
    }

    /// What SCM is told of the directories that could not be opened.
    pub fn broken_reports(&self) -> Vec<StorageReport> {
        let report = |(dir, _): &(PathBuf, String)| StorageReport {
            location: dir.display().to_string(),
            failed: true,
            ..StorageReport::default()
        };
        self.broken.iter().map(report).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod tests {
    use ozone_common::disk::{FaultyDisk, RealDisk};

    use super::*;

    pub(crate) fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Volume, StartError> {
        let owner = Owner {
            cluster_id: "CID-1".into(),
            datanode: "dn-1".into(),
            c_time: 1,
        };
        let settings = VolumeSettings {
            min_free: 100,
            cache: BlockCache::new(1 << 20),
            new_storage_id: uuid::Uuid::from_u128(7),
        };
        Volume::open(&disk, dir, &owner, &settings)
    }

    #[test]
    fn room_ends_before_the_space_that_stays_free() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(Arc::new(RealDisk));
        let volume = open_on(disk.clone(), dir.path()).unwrap();
        disk.limit_room(Some(600));
        volume.check_room(500).unwrap();
        let error = volume.check_room(501).unwrap_err();
        assert_eq!(error.code, Code::DiskOutOfSpace);
        assert!(error.message.contains("min.free.space"), "{error}");
    }

    #[test]
    fn a_failed_volume_takes_no_containers_and_says_so() {
        let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let disk = Arc::new(RealDisk);
        let volumes = [&a, &b].map(|dir| open_on(disk.clone(), dir.path()).unwrap());
        let set = VolumeSet::new(volumes.into(), vec![]);
        let first = set.choose(1).unwrap();
        first.fail("fsync: EIO");
        assert_ne!(set.choose(1).unwrap().dir(), first.dir());
        assert!(first.report(0).failed);
        assert!(first.check_alive().unwrap_err().message.contains("EIO"));
        set.choose(1).unwrap().fail("gone");
        assert!(set.choose(1).is_err());
        assert_eq!(set.failures().len(), 2);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = probe(&RealDisk, file.path()).unwrap_err().to_string();
        assert!(text.contains(&file.path().display().to_string()), "{text}");
    }
}
