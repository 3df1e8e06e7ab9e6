//! A container: a directory of blocks with a descriptor, and their rows in the volume's database.
//!
//! What it promises: a block has exactly the bytes that were committed, whatever was written beside
//! them; a change of state or rows takes effect as a whole; and everything a crash can leave half
//! done is finished or forgotten at the next start. All calls block on disk.

mod commit;
mod delete;
mod descriptor;
mod incoming;
mod layout;
mod lifecycle;
mod load;
mod loan;
mod open_block;
mod read;
mod repair;
mod set;
mod stream;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::{ContainerReplica, ReplicaState};
use parking_lot::Mutex;

pub use commit::{Claim, Commit, Committed, Held};
pub use descriptor::{Descriptor, DescriptorError, FILE_PER_BLOCK};
pub use incoming::Incoming;
pub use layout::{ContainerLayout, FilePerBlock, SharedSync};
pub use lifecycle::NewContainer;
pub use load::load_volume;
pub use loan::{NotLent, Wanted};
pub use open_block::OpenBlock;
pub use read::{Piece, ReadPlan};
pub use set::ContainerSet;

use crate::error::{OpError, OpResult};
use crate::rows::{BlockDb, BlockRow, Counters};
use crate::volume::Volume;
use loan::Loans;

/// What may be done with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Blocks are written.
    Open,
    /// What is written may be committed, nothing new begins.
    Closing,
    /// Closed without the pipeline's word: replicas may differ.
    QuasiClosed,
    /// Closed at the same point on every replica.
    Closed,
    /// Damaged: not to be trusted, kept for what can be read of it.
    Unhealthy,
    /// On its way out.
    Deleted,
}

const STATES: [(State, &str, ReplicaState); 6] = [
    (State::Open, "OPEN", ReplicaState::ReplicaOpen),
    (State::Closing, "CLOSING", ReplicaState::ReplicaClosing),
    (
        State::QuasiClosed,
        "QUASI_CLOSED",
        ReplicaState::ReplicaQuasiClosed,
    ),
    (State::Closed, "CLOSED", ReplicaState::ReplicaClosed),
    (
        State::Unhealthy,
        "UNHEALTHY",
        ReplicaState::ReplicaUnhealthy,
    ),
    (State::Deleted, "DELETED", ReplicaState::ReplicaDeleted),
];

impl State {
    /// The name in descriptors and messages.
    pub fn name(self) -> &'static str {
        STATES
            .iter()
            .find(|(state, ..)| *state == self)
            .map_or("", |(_, name, _)| name)
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        STATES
            .iter()
            .find(|(_, n, _)| *n == name)
            .map(|(state, ..)| *state)
    }

    fn replica(self) -> ReplicaState {
        let found = STATES.iter().find(|(state, ..)| *state == self);
        found.map_or(ReplicaState::ReplicaUnknown, |(.., replica)| *replica)
    }
}

/// One container on this datanode.
#[derive(Debug)]
pub struct Container {
    id: i64,
    dir: PathBuf,
    volume: Arc<Volume>,
    layout: Box<dyn ContainerLayout>,
    descriptor: Mutex<Descriptor>,
    /// Held while blocks or the container itself are removed. Locked before all others.
    removing: Mutex<()>,
    /// Held while rows change, so that counters and rows agree.
    counters: Mutex<Counters>,
    open: Mutex<HashMap<i64, Arc<OpenBlock>>>,
    /// Committed blocks that lack bytes here, and from where on.
    missing: Mutex<HashMap<i64, u64>>,
    /// What is wrong with those of them that were here and turned out damaged.
    damage: Mutex<HashMap<i64, String>>,
    /// Blocks that clients of this machine read by themselves. Locked after `open`.
    loans: Loans,
}

impl Container {
    /// Its id.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The volume that holds it.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// What may be done with it now.
    pub fn state(&self) -> State {
        self.descriptor.lock().state
    }

    /// A copy of its descriptor.
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor.lock().clone()
    }

    /// The pipeline that writes or wrote it.
    pub fn pipeline_id(&self) -> String {
        self.descriptor.lock().pipeline_id.clone()
    }

    /// What it holds.
    pub fn counters(&self) -> Counters {
        *self.counters.lock()
    }

    /// Whether it has grown to where it should be closed.
    pub fn is_full(&self) -> bool {
        let used = self.counters.lock().bytes;
        used >= self.descriptor.lock().max_size / 10 * 9
    }

    /// The row of a block.
    pub fn block(&self, local: i64) -> OpResult<Option<BlockRow>> {
        self.db().block(self.id, local)
    }

    /// Up to `limit` committed blocks from `start` on.
    pub fn blocks(&self, start: i64, limit: usize) -> OpResult<Vec<(i64, BlockRow)>> {
        self.db().blocks(self.id, start, limit)
    }

    /// What SCM is told. A replica that lacks committed bytes is no good one until it has them.
    pub fn report(&self) -> ContainerReplica {
        let descriptor = self.descriptor.lock().clone();
        let counters = *self.counters.lock();
        let closed = matches!(descriptor.state, State::Closed | State::QuasiClosed);
        let lacks = closed && !self.missing.lock().is_empty();
        let failed = self.volume.failure().is_some();
        let state = if lacks || failed {
            State::Unhealthy
        } else {
            descriptor.state
        };
        ContainerReplica {
            container_id: self.id,
            state: state.replica().into(),
            used_bytes: counters.bytes,
            block_count: counters.blocks,
            bcsid: counters.bcsid,
            pipeline_id: descriptor.pipeline_id,
            empty: counters.blocks == 0,
            delete_transaction_id: counters.delete_tx,
        }
    }

    fn db(&self) -> &BlockDb {
        self.volume.db()
    }

    /// Refuses writes to a container that is no longer written.
    pub fn check_writable(&self) -> OpResult<()> {
        self.volume.check_alive()?;
        match self.state() {
            State::Open => Ok(()),
            State::Unhealthy => Err(self.refuse(Code::ContainerUnhealthy)),
            _ => Err(self.refuse(Code::ContainerNotOpen)),
        }
    }

    /// Refuses reads of a container that is gone or of no use.
    pub fn check_readable(&self) -> OpResult<()> {
        self.volume.check_alive()?;
        match self.state() {
            State::Unhealthy => Err(self.refuse(Code::ContainerUnhealthy)),
            State::Deleted => Err(self.refuse(Code::ContainerNotFound)),
            _ => Ok(()),
        }
    }

    /// Refuses changes of a container that is gone. What is in its place may be another one by now.
    fn check_here(&self) -> OpResult<()> {
        match self.state() {
            State::Deleted => Err(self.refuse(Code::ContainerNotFound)),
            _ => Ok(()),
        }
    }

    fn refuse(&self, code: Code) -> OpError {
        let text = format!("container {} is {}", self.id, self.state().name());
        OpError::new(code, text)
    }

    fn io_failed(&self, action: &str, cause: &std::io::Error) -> OpError {
        OpError::io(action, &self.dir, cause)
    }

    /// A failed fsync: nobody knows what is on the disk, so all of it is out of service. Unless the container was
    /// deleted meanwhile: then there is nothing to make durable.
    fn sync_failed(&self, cause: &std::io::Error) -> OpError {
        if cause.kind() == std::io::ErrorKind::NotFound && self.state() == State::Deleted {
            return self.refuse(Code::ContainerNotFound);
        }
        self.volume
            .fail(&format!("fsync in {}: {cause}", self.dir.display()));
        self.io_failed("fsync in", cause)
    }
}

#[cfg(test)]
mod hostile_test;
#[cfg(test)]
mod loan_test;
#[cfg(test)]
mod tests;
