//! How a container comes to be and changes its state.

use std::path::Path;
use std::sync::Arc;

use ozone_common::disk::create_dir_durably;
use ozone_proto::hdds::datanode::Result as Code;
use parking_lot::Mutex;

use super::loan::Loans;
use super::{Container, Descriptor, FILE_PER_BLOCK, FilePerBlock, State};
use crate::error::{OpError, OpResult};
use crate::layout::{chunks_dir, descriptor_path};
use crate::rows::{Change, Counters};
use crate::volume::Volume;

/// What a new container is told.
#[derive(Debug, Clone)]
pub struct NewContainer {
    /// Its id.
    pub id: i64,
    /// Pipeline that writes it.
    pub pipeline_id: String,
    /// This datanode.
    pub node_id: String,
    /// Bytes at which it should be closed.
    pub max_size: u64,
    /// Room that its volume must have. What the log of a pipeline asks for is made without any.
    pub margin: u64,
}

impl Container {
    /// Makes a new container; half of one is never left behind.
    pub fn create(volume: &Arc<Volume>, new: &NewContainer) -> OpResult<Self> {
        let dir = volume.layout().container(new.id);
        let descriptor = Descriptor {
            id: new.id,
            layout: FILE_PER_BLOCK,
            state: State::Open,
            max_size: new.max_size,
            pipeline_id: new.pipeline_id.clone(),
            origin_node_id: new.node_id.clone(),
            data_scan_ms: None,
        };
        let disk = &**volume.disk();
        let path = descriptor_path(&dir, new.id);
        let made = path
            .parent()
            .map_or(Ok(()), |parent| create_dir_durably(disk, parent))
            .and_then(|()| create_dir_durably(disk, &chunks_dir(&dir)))
            .and_then(|()| descriptor.write(disk, &path));
        if let Err(error) = made {
            if let Err(left) = disk.remove_dir_all(&dir) {
                tracing::warn!(dir = %dir.display(), %left, "half a container is left behind");
            }
            return Err(OpError::io("create container", &dir, &error));
        }
        // Rows of a container of that id that was here before.
        if volume.db().any(new.id)? {
            let mut change = Change::new(new.id);
            change.delete_all();
            volume.db().write(change, false)?;
        }
        Ok(Self::assemble(volume, descriptor, Counters::default()))
    }

    /// A container whose directory is in its place.
    pub(super) fn assemble(
        volume: &Arc<Volume>,
        descriptor: Descriptor,
        counters: Counters,
    ) -> Self {
        let dir = volume.layout().container(descriptor.id);
        let layout = FilePerBlock::new(volume.disk().clone(), chunks_dir(&dir));
        Self {
            id: descriptor.id,
            dir,
            volume: volume.clone(),
            layout: Box::new(layout),
            descriptor: Mutex::new(descriptor),
            removing: Mutex::default(),
            counters: Mutex::new(counters),
            open: Mutex::default(),
            missing: Mutex::default(),
            damage: Mutex::default(),
            loans: Loans::default(),
        }
    }

    /// Changes the state, durably.
    pub(super) fn set_state(&self, state: State) -> OpResult<()> {
        self.change_descriptor(|descriptor| descriptor.state = state)
    }

    /// Notes that all data was found good at this moment (milliseconds since 1970).
    pub fn set_scanned(&self, ms: u64) -> OpResult<()> {
        self.change_descriptor(|descriptor| descriptor.data_scan_ms = Some(ms))
    }

    fn change_descriptor(&self, change: impl FnOnce(&mut Descriptor)) -> OpResult<()> {
        let mut descriptor = self.descriptor.lock();
        if descriptor.state == State::Deleted {
            let text = format!("container {} is deleted", self.id);
            return Err(OpError::new(Code::ContainerNotFound, text));
        }
        let mut next = descriptor.clone();
        change(&mut next);
        let path: &Path = &descriptor_path(&self.dir, self.id);
        let written = next.write(&**self.volume.disk(), path);
        written.map_err(|error| OpError::io("write", path, &error))?;
        *descriptor = next;
        Ok(())
    }

    /// Nothing new begins; what is written may still be committed.
    pub fn begin_close(&self) -> OpResult<()> {
        match self.state() {
            State::Open => self.set_state(State::Closing),
            _ => Ok(()),
        }
    }

    /// Closes for good: `Closed` by the pipeline's word or SCM's, else `QuasiClosed`. What was
    /// written and not committed is dropped.
    pub fn close(&self, to: State) -> OpResult<()> {
        let from = self.state();
        match (from, to) {
            (State::Closed, _) | (State::QuasiClosed, State::QuasiClosed) => return Ok(()),
            (State::Unhealthy | State::Deleted, _) => {
                return Err(self.refuse(Code::InvalidContainerState));
            }
            _ => {}
        }
        let _counters = self.counters.lock();
        // Rows first: a closed container takes no commit again that a crash has lost.
        self.db().sync()?;
        self.set_state(to)?;
        self.drop_uncommitted()
    }

    /// Bytes beyond what is committed, and blocks that never were. Files that clients still have stay open: what
    /// comes into them from now on is cut off when nobody can use them any more.
    fn drop_uncommitted(&self) -> OpResult<()> {
        let open = std::mem::take(&mut *self.open.lock());
        let lacking = self.missing.lock().clone();
        for (local, block) in open {
            if lacking.contains_key(&local) {
                continue;
            }
            let lent = match self.block(local)? {
                Some(row) => block.trim(row.size),
                None => self.layout.remove_block(local).map(|_| false),
            };
            if lent.map_err(|error| self.io_failed("trim block in", &error))? {
                self.open.lock().insert(local, block);
            }
        }
        Ok(())
    }
}
