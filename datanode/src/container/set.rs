//! All containers of a datanode.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::ContainerReplica;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Container, NewContainer, State};
use crate::error::{OpError, OpResult};
use crate::volume::{Volume, VolumeSet};

/// All containers, by id.
#[derive(Debug, Default)]
pub struct ContainerSet {
    all: DashMap<i64, Arc<Container>>,
    /// Held while a container is made or removed, so that none is made twice.
    making: Mutex<()>,
    /// Containers on their way in.
    importing: Mutex<HashSet<i64>>,
    changes: Mutex<Changes>,
    wake: watch::Sender<u64>,
}

/// Which container changed when, by a count of changes.
#[derive(Debug, Default)]
struct Changes {
    count: u64,
    last: HashMap<i64, u64>,
}

impl ContainerSet {
    /// Says when a container changes in a way that SCM should hear of.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }

    /// The container `id`.
    pub fn get(&self, id: i64) -> OpResult<Arc<Container>> {
        self.find(id).ok_or_else(|| {
            let text = format!("container {id} is not on this datanode");
            OpError::new(Code::ContainerNotFound, text)
        })
    }

    /// The container `id`, if it is here.
    pub fn find(&self, id: i64) -> Option<Arc<Container>> {
        self.all.get(&id).map(|entry| entry.value().clone())
    }

    /// All of them, by id.
    pub fn list(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = self.all.iter().map(|entry| entry.value().clone()).collect();
        all.sort_unstable_by_key(|container| container.id);
        all
    }

    /// The container `new.id`, made when it is not here. Blocks.
    pub fn get_or_create(
        &self,
        volumes: &VolumeSet,
        new: &NewContainer,
    ) -> OpResult<Arc<Container>> {
        match self.find(new.id) {
            Some(container) => Ok(container),
            None => self
                .create(volumes, new)
                .or_else(|error| self.find(new.id).ok_or(error)),
        }
    }

    /// Makes a container that is not here yet. Blocks.
    pub fn create(&self, volumes: &VolumeSet, new: &NewContainer) -> OpResult<Arc<Container>> {
        let _making = self.making.lock();
        if self.all.contains_key(&new.id) || self.importing.lock().contains(&new.id) {
            let text = format!("container {} is on this datanode already", new.id);
            return Err(OpError::new(Code::ContainerExists, text));
        }
        let volume = volumes.choose(new.margin)?;
        let container = Arc::new(Container::create(&volume, new)?);
        self.all.insert(new.id, container.clone());
        tracing::info!(container = new.id, volume = %volume.dir().display(), "container created");
        self.note_change(new.id);
        Ok(container)
    }

    /// Announces a container that is on its way in. Until the guard is dropped no other copy of it
    /// begins.
    pub fn begin_import(self: &Arc<Self>, id: i64) -> OpResult<Importing> {
        let _making = self.making.lock();
        if self.all.contains_key(&id) || !self.importing.lock().insert(id) {
            let text = format!("container {id} is on this datanode already, or on its way");
            return Err(OpError::new(Code::ContainerExists, text));
        }
        Ok(Importing {
            set: self.clone(),
            id,
        })
    }

    /// Takes in a container that was loaded or imported. Of two copies the better one stays:
    /// closed before others, then the later commit.
    pub fn adopt(&self, container: Container) {
        let rank = |c: &Container| (c.state() == State::Closed, c.counters().bcsid);
        let id = container.id;
        match self.all.entry(id) {
            Entry::Occupied(there) if rank(there.get()) >= rank(&container) => {
                tracing::warn!(container = id, dir = %container.dir.display(), "ignoring a second copy");
            }
            Entry::Occupied(mut there) => {
                there.insert(Arc::new(container));
            }
            Entry::Vacant(place) => {
                place.insert(Arc::new(container));
            }
        }
        self.note_change(id);
    }

    /// Removes a container from this datanode. Blocks.
    pub fn delete(&self, id: i64, force: bool) -> OpResult<()> {
        let _making = self.making.lock();
        let container = self.get(id)?;
        if container.state() == State::Open && !force {
            let text = format!("container {id} is OPEN");
            return Err(OpError::new(Code::DeleteOnOpenContainer, text));
        }
        container.destroy(force)?;
        self.all.remove(&id);
        tracing::info!(container = id, force, "container deleted");
        self.note_change(id);
        Ok(())
    }

    /// Bytes of the containers on a volume.
    pub fn used_on(&self, volume: &Volume) -> u64 {
        let here = self
            .all
            .iter()
            .filter(|c| c.volume.storage_id() == volume.storage_id());
        here.map(|container| container.counters().bytes).sum()
    }

    /// What SCM is told in full.
    pub fn report_all(&self) -> Vec<ContainerReplica> {
        self.list()
            .iter()
            .map(|container| container.report())
            .collect()
    }

    /// Notes a change that SCM should hear of.
    pub fn note_change(&self, id: i64) {
        let mut changes = self.changes.lock();
        changes.count += 1;
        let count = changes.count;
        changes.last.insert(id, count);
        self.wake.send_replace(count);
    }

    /// What changed after the first `seen` changes, and how many there are by now. A container that
    /// is gone is reported as deleted.
    pub fn changes_since(&self, seen: u64) -> (Vec<ContainerReplica>, u64) {
        let (ids, count) = {
            let changes = self.changes.lock();
            let newer = changes.last.iter().filter(|(_, at)| **at > seen);
            (newer.map(|(id, _)| *id).collect::<Vec<_>>(), changes.count)
        };
        let report = |id: i64| match self.find(id) {
            Some(container) => container.report(),
            None => ContainerReplica {
                container_id: id,
                state: State::Deleted.replica().into(),
                empty: true,
                ..ContainerReplica::default()
            },
        };
        (ids.into_iter().map(report).collect(), count)
    }
}

/// A container on its way in.
#[derive(Debug)]
pub struct Importing {
    set: Arc<ContainerSet>,
    id: i64,
}

impl Drop for Importing {
    fn drop(&mut self) {
        self.set.importing.lock().remove(&self.id);
    }
}
