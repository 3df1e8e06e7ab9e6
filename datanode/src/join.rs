//! Becoming part of a cluster: the volumes are formatted (once) and opened, containers are found
//! again, pipelines go on.
//!
//! A datanode that has been in its cluster before does this by itself at start. A new one learns
//! from SCM which cluster it is in.

use std::path::PathBuf;
use std::sync::Arc;

use ozone_common::disk::Disk;
use ozone_kv::BlockCache;
use parking_lot::Mutex;

use crate::container::load_volume;
use crate::error::{OpError, StartError};
use crate::layout::VolumeVersion;
use crate::node::{Node, off_thread};
use crate::volume::{Owner, Volume, VolumeSet, VolumeSettings, probe};

/// What is done once the volumes are open.
pub(crate) type Joined = Box<dyn Fn(&Arc<Node>) + Send + Sync>;

/// What [`Join`] is told.
pub(crate) struct JoinSettings {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dirs: Vec<PathBuf>,
    pub(crate) min_free: u64,
    pub(crate) tolerated: u64,
    pub(crate) cache: BlockCache,
    /// Called once the volumes are open.
    pub(crate) joined: Joined,
}

/// The way into a cluster.
pub(crate) struct Join {
    settings: JoinSettings,
    cluster: Mutex<Option<Owner>>,
    joining: tokio::sync::Mutex<()>,
}

impl Join {
    pub(crate) fn new(settings: JoinSettings) -> Self {
        Self {
            settings,
            cluster: Mutex::default(),
            joining: tokio::sync::Mutex::default(),
        }
    }

    /// The cluster that this datanode is in, once known.
    pub(crate) fn cluster(&self) -> Option<Owner> {
        self.cluster.lock().clone()
    }

    /// Looks at the data directories: can they be used, and which cluster do they belong to? Blocks.
    pub(crate) fn look(&self, datanode: &str) -> Result<Option<Owner>, StartError> {
        let mut owner = None;
        let mut broken = Vec::new();
        for dir in &self.settings.dirs {
            if let Err(error) = probe(&*self.settings.disk, dir) {
                tracing::error!(%error, "data directory cannot be used");
                broken.push(error.to_string());
                continue;
            }
            let Some(version) = VolumeVersion::read(&*self.settings.disk, dir)? else {
                continue;
            };
            let known: Option<&Owner> = owner.as_ref();
            let cluster_id = known.map_or("", |owner| owner.cluster_id.as_str());
            version.check(dir, cluster_id, datanode)?;
            owner = Some(Owner {
                cluster_id: version.cluster_id,
                datanode: datanode.to_owned(),
                c_time: version.c_time,
            });
        }
        self.check_tolerated(&broken)?;
        Ok(owner)
    }

    fn check_tolerated(&self, broken: &[String]) -> Result<(), StartError> {
        let (failed, all) = (broken.len(), self.settings.dirs.len());
        let Some(first) = broken.first().cloned() else {
            return Ok(());
        };
        if failed as u64 <= self.settings.tolerated && failed < all {
            return Ok(());
        }
        Err(StartError::Volumes {
            failed,
            all,
            tolerated: self.settings.tolerated,
            first,
        })
    }

    /// Joins the cluster; fine when that was done before.
    pub(crate) async fn join(
        &self,
        node: &Arc<Node>,
        cluster_id: &str,
        c_time: u64,
    ) -> Result<(), StartError> {
        let _joining = self.joining.lock().await;
        if let Some(own) = self.cluster() {
            return match own.cluster_id == cluster_id {
                true => Ok(()),
                false => Err(StartError::Foreign {
                    path: self.settings.dirs.first().cloned().unwrap_or_default(),
                    property: "clusterID",
                    found: own.cluster_id,
                    expected: cluster_id.to_owned(),
                }),
            };
        }
        let owner = Owner {
            cluster_id: cluster_id.to_owned(),
            datanode: node.uuid.to_string(),
            c_time,
        };
        let opening: Vec<_> = self
            .settings
            .dirs
            .iter()
            .map(|dir| (dir.clone(), node.rng.uuid()))
            .collect();
        let (disk, settings) = (
            self.settings.disk.clone(),
            (self.settings.min_free, self.settings.cache.clone()),
        );
        let (containers, owned) = (node.containers.clone(), owner.clone());
        let opened =
            off_thread(move || Ok(open_volumes(&disk, opening, &owned, &settings, &containers)));
        let volumes = opened.await.map_err(|error| database(&error))??;
        let broken: Vec<_> = volumes.failures().into_iter().map(|(_, why)| why).collect();
        self.check_tolerated(&broken)?;
        // Joining is done once: nobody else sets it.
        let _ = node.volumes.set(volumes);
        *self.cluster.lock() = Some(owner);
        crate::pipeline::reopen_all(node)
            .await
            .map_err(|error| database(&error))?;
        (self.settings.joined)(node);
        node.note_lacking();
        Ok(())
    }
}

fn database(error: &OpError) -> StartError {
    StartError::Database {
        path: PathBuf::new(),
        reason: error.to_string(),
    }
}

/// Opens volumes and loads their containers. Data of others is an error; a directory that does not
/// work is left out. Blocks.
fn open_volumes(
    disk: &Arc<dyn Disk>,
    dirs: Vec<(PathBuf, uuid::Uuid)>,
    owner: &Owner,
    settings: &(u64, BlockCache),
    containers: &crate::container::ContainerSet,
) -> Result<VolumeSet, StartError> {
    let (mut working, mut broken) = (Vec::new(), Vec::new());
    for (dir, new_storage_id) in dirs {
        let settings = VolumeSettings {
            min_free: settings.0,
            cache: settings.1.clone(),
            new_storage_id,
        };
        match probe(&**disk, &dir).and_then(|()| Volume::open(disk, &dir, owner, &settings)) {
            Ok(volume) => working.push(volume),
            Err(error @ StartError::Foreign { .. }) => return Err(error),
            Err(error) => {
                tracing::error!(%error, "data volume cannot be opened");
                broken.push((dir, error.to_string()));
            }
        }
    }
    let volumes = VolumeSet::new(working, broken);
    for volume in volumes.iter() {
        match load_volume(volume) {
            Ok(loaded) => loaded
                .into_iter()
                .for_each(|container| containers.adopt(container)),
            Err(error) => volume.fail(&error.to_string()),
        }
    }
    Ok(volumes)
}
