//! What the log of a pipeline does to this datanode: it makes blocks exist and closes containers.
//!
//! Rows are written to the databases of the volumes, which replay cannot confuse: a commit that a
//! container has seen is passed over. So the position is written only when the rows before it are
//! durable, and after a crash the log is read again from there.

use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::pipeline_entry::Command as Entry;
use ozone_proto::scm::{CommitBlock, CommitReply, PipelineEntry};
use ozone_raft::{ApplyBatch, StateMachine, StateMachineError};
use parking_lot::Mutex;
use prost::Message;
use uuid::Uuid;

use super::PipelineStore;
use crate::chunk::Chunk;
use crate::container::{Commit, State};
use crate::error::{OpError, OpResult};
use crate::node::Node;

/// Version of the entries that this software writes; it understands those up to it.
pub(super) const ENTRY_VERSION: u32 = 1;

/// The state machine of one pipeline on this datanode.
pub(super) struct Machine {
    node: Weak<Node>,
    id: Uuid,
    store: Arc<PipelineStore>,
    position: Mutex<Option<Vec<u8>>>,
    fault: Mutex<Option<String>>,
}

impl Machine {
    pub(super) fn new(node: &Arc<Node>, id: Uuid, store: Arc<PipelineStore>) -> Self {
        Self {
            node: Arc::downgrade(node),
            id,
            store,
            position: Mutex::default(),
            fault: Mutex::default(),
        }
    }

    /// Why the pipeline stopped on this member, if it did.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().clone()
    }

    /// Makes the rows applied so far durable, then notes how far that is.
    pub(super) fn flush_rows(&self) -> OpResult<()> {
        let Some(position) = self.position.lock().clone() else {
            return Ok(());
        };
        let node = self
            .node
            .upgrade()
            .ok_or_else(|| OpError::internal("shutting down"))?;
        for volume in node
            .volumes()?
            .iter()
            .filter(|volume| volume.failure().is_none())
        {
            volume.db().sync()?;
        }
        self.store.set_position(&self.id.to_string(), position)
    }

    fn apply_one(
        &self,
        node: &Node,
        index: u64,
        data: &[u8],
    ) -> Result<CommitReply, StateMachineError> {
        let entry = PipelineEntry::decode(data).map_err(StateMachineError::new)?;
        if entry.version > ENTRY_VERSION {
            let text = format!(
                "entry {index} of pipeline {} has version {}, this software knows {ENTRY_VERSION}",
                self.id, entry.version
            );
            return Err(StateMachineError::new(text));
        }
        let outcome = match entry.command {
            Some(Entry::CommitBlock(commit)) => self.commit_block(node, index, commit),
            Some(Entry::CommitClose(close)) => close_container(node, close.container_id),
            None => Err(OpError::malformed("entry without a command")),
        };
        if let Err(error) = &outcome
            && is_fault(node, error)
        {
            // The entry is not passed over: it is applied after a restart, with the cause removed.
            *self.fault.lock() = Some(error.to_string());
            node.tell_scm();
            return Err(StateMachineError::new(error.to_string()));
        }
        Ok(outcome.unwrap_or_else(|error| {
            tracing::warn!(pipeline = %self.id, index, %error, "entry has no effect here");
            let result = u32::try_from(error.code as i32).unwrap_or_default();
            CommitReply {
                result,
                message: error.message,
                length: 0,
                bcsid: 0,
            }
        }))
    }

    fn commit_block(&self, node: &Node, index: u64, commit: CommitBlock) -> OpResult<CommitReply> {
        let container = node.container_for(commit.container_id, &self.id.to_string())?;
        let chunks = commit
            .chunks
            .iter()
            .map(Chunk::from_stored)
            .collect::<OpResult<_>>()?;
        let local = commit.local_id;
        let was_full = container.is_full();
        let done = container.commit(&Commit {
            local,
            size: commit.size,
            flags: commit.flags,
            chunks,
            bcsid: index,
        })?;
        if commit.eof {
            container.finish_block(local);
        }
        if done.lacking {
            node.note_lacking();
        }
        if container.is_full() && !was_full {
            node.containers.note_change(container.id());
        }
        Ok(success(done.length, done.bcsid))
    }
}

/// A fault of this machine that the other members do not share. That of a failed volume is known to
/// SCM already, and the pipeline goes on for containers on the others.
fn is_fault(node: &Node, error: &OpError) -> bool {
    let faulty = [
        Code::IoException,
        Code::DiskOutOfSpace,
        Code::ContainerInternalError,
    ]
    .contains(&error.code);
    let all_well = || {
        node.volumes()
            .is_ok_and(|volumes| volumes.failures().is_empty())
    };
    faulty && all_well()
}

fn success(length: u64, bcsid: u64) -> CommitReply {
    let result = u32::try_from(Code::Success as i32).unwrap_or_default();
    CommitReply {
        result,
        message: String::new(),
        length,
        bcsid,
    }
}

fn close_container(node: &Node, id: i64) -> OpResult<CommitReply> {
    // A member that never saw the container has none of its commits either.
    let Some(container) = node.containers.find(id) else {
        return Ok(success(0, 0));
    };
    container.close(State::Closed)?;
    node.containers.note_change(id);
    Ok(success(0, container.counters().bcsid))
}

impl StateMachine for Machine {
    fn load(&self) -> Result<Option<Vec<u8>>, StateMachineError> {
        let position = self
            .store
            .position(&self.id.to_string())
            .map_err(StateMachineError::new)?;
        self.position.lock().clone_from(&position);
        Ok(position)
    }

    fn apply(&self, batch: ApplyBatch<'_>) -> Result<Vec<Bytes>, StateMachineError> {
        let node = self
            .node
            .upgrade()
            .ok_or_else(|| StateMachineError::new("shutting down"))?;
        let mut replies = Vec::with_capacity(batch.commands.len());
        for command in batch.commands {
            let reply = self.apply_one(&node, command.index, &command.data)?;
            replies.push(Bytes::from(reply.encode_to_vec()));
        }
        *self.position.lock() = Some(batch.position.to_vec());
        Ok(replies)
    }

    fn flush(&self) -> Result<(), StateMachineError> {
        self.flush_rows().map_err(StateMachineError::new)
    }

    fn checkpoint(&self, _dir: &Path) -> Result<(), StateMachineError> {
        Err(StateMachineError::new(
            "a pipeline has no copies of its state, only its log",
        ))
    }

    fn restore(&self, _dir: &Path) -> Result<(), StateMachineError> {
        Err(StateMachineError::new(
            "a pipeline has no copies of its state, only its log",
        ))
    }
}
