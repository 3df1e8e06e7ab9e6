//! The OM as a replicated state machine: commands of the log, applied in order to `om.db`.
//!
//! The database runs without a write-ahead log of its own: the Raft log is that. A batch of commands
//! becomes one atomic write which also holds the Raft position, so a crash loses whole batches, and
//! the log replays them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ozone_kv::WriteTarget;
use ozone_proto::namespace::SnapshotRow;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::{OmRequest, OmResponse, Status};
use ozone_raft::{ApplyBatch, Command, StateMachine, StateMachineError};
use parking_lot::{Mutex, RwLock};
use prost::Message;

use crate::apply::{Asker, Batched, Given};
use crate::error::{OmError, Result};
use crate::leader::session_of;
use crate::ops;
use crate::replies::{Call, Replies};
use crate::rows::Rows;
use crate::snapshots::{self, checkpoints::Checkpoints};
use crate::store::{self, Store};
use crate::tables;

/// User and group of whoever does not say.
const NOBODY: u32 = 65534;

/// The replicated state of the OM.
pub struct OmState {
    /// `None` only after a restore that failed half-way.
    store: RwLock<Option<Arc<Store>>>,
    dir: PathBuf,
    replies: Mutex<Replies>,
    /// What snapshots hold.
    pub checkpoints: Checkpoints,
}

impl OmState {
    /// Opens the database `om.db` in `dir`, with at most `checkpoints` of its snapshots open at a time.
    pub fn open(dir: &Path, checkpoints: usize) -> Result<Self> {
        let store = Arc::new(Store::open(dir)?);
        let replies = Replies::load(&*store)?;
        let checkpoints = Checkpoints::new(&dir.join(store::NAME), checkpoints);
        complete_last_snapshot(&store, &checkpoints)?;
        checkpoints.sweep(&snapshots::kept(&*store)?)?;
        Ok(Self {
            checkpoints,
            store: RwLock::new(Some(store)),
            dir: dir.to_owned(),
            replies: Mutex::new(replies),
        })
    }

    /// The database as it is now.
    pub fn store(&self) -> Result<Arc<Store>> {
        let store = self.store.read().clone();
        store.ok_or_else(|| OmError::Storage("the database is closed: restart the OM".into()))
    }

    /// The answer that `call` was given before.
    pub fn replied(&self, call: &Call) -> Option<Bytes> {
        self.replies.lock().find(call)
    }

    fn apply_all(&self, commands: &[Command], position: &[u8]) -> Result<Vec<Bytes>> {
        let store = self.store()?;
        let mut rows = store.overlay();
        let mut replies = self.replies.lock();
        let answers = commands
            .iter()
            .map(|command| apply_one(command, &mut rows, &mut replies))
            .collect::<Result<Vec<_>>>()?;
        rows.put(
            tables::TRANSACTION_INFO.0,
            tables::POSITION_KEY.to_vec(),
            position.to_vec(),
        );
        if let Some(last) = commands.last() {
            let index = last.index.to_be_bytes().to_vec();
            let key = tables::LAST_COMMAND_KEY.to_vec();
            rows.put(tables::TRANSACTION_INFO.0, key, index);
        }
        store.write(rows)?;
        match commands.last().and_then(snapshot_step) {
            Some(SnapshotStep::Create) => complete_last_snapshot(&store, &self.checkpoints)?,
            Some(SnapshotStep::Reclaim) => self.forget_reclaimed(&store)?,
            None => {}
        }
        Ok(answers)
    }

    /// Removes the checkpoints of snapshots that are gone, once that is durable: a crash in between must
    /// not bring a snapshot back without its checkpoint.
    fn forget_reclaimed(&self, store: &Store) -> Result<()> {
        let kept = snapshots::kept(store)?;
        if self.checkpoints.has_others(&kept)? {
            store.flush()?;
            self.checkpoints.sweep(&kept)?;
        }
        Ok(())
    }
}

/// What is done with a snapshot behind a command.
enum SnapshotStep {
    Create,
    Reclaim,
}

/// Told by the body alone, by which the command is applied: what else a request says of its type may be anything.
/// Decodes nothing but that: this is asked about every command.
fn snapshot_step(command: &Command) -> Option<SnapshotStep> {
    let found = OnlySnapshots::decode(command.data.clone()).ok()?;
    match (found.create, found.reclaim) {
        (Some(_), _) => Some(SnapshotStep::Create),
        (_, Some(_)) => Some(SnapshotStep::Reclaim),
        (None, None) => None,
    }
}

/// Two bodies of a request; everything else is skipped.
#[derive(Clone, PartialEq, Message)]
struct OnlySnapshots {
    #[prost(bytes = "bytes", optional, tag = "112")]
    create: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2031")]
    reclaim: Option<Bytes>,
}

/// Makes the checkpoint of the last snapshot, if it is missing and nothing was applied since.
fn complete_last_snapshot(store: &Store, checkpoints: &Checkpoints) -> Result<()> {
    let last = store.get::<SnapshotRow>(tables::META, tables::LAST_SNAPSHOT_KEY)?;
    let Some(row) = last else { return Ok(()) };
    let command = store.get_raw(tables::TRANSACTION_INFO, tables::LAST_COMMAND_KEY)?;
    if command.as_deref() != Some(&row.index.to_be_bytes()) || checkpoints.has(&row)? {
        return Ok(());
    }
    checkpoints.make(&store.db, &row)
}

/// The client that makes a request, empty for the OM's own.
pub fn client_of(request: &OmRequest) -> &Bytes {
    static NOBODY: Bytes = Bytes::new();
    let context = request.context.as_ref();
    let client = context.and_then(|context| context.client_id.as_ref());
    client.unwrap_or(&NOBODY)
}

/// Which call of which client a request is; `None` for the OM's own.
pub fn call_of(request: &OmRequest) -> Option<Call> {
    let context = request.context.as_ref()?;
    let client = context.client_id.clone().filter(|c| !c.is_empty())?;
    Some(Call {
        client,
        id: context.call_id?,
        lowest_pending: context.lowest_pending_call(),
    })
}

fn apply_one(command: &Command, rows: &mut Batched, replies: &mut Replies) -> Result<Bytes> {
    let request = OmRequest::decode(command.data.clone())
        .map_err(|e| OmError::Storage(format!("undecodable command {}: {e}", command.index)))?;
    let call = call_of(&request);
    if let Some(answer) = call.as_ref().and_then(|c| replies.find(c)) {
        return Ok(answer);
    }
    let given = given_by(&request, command.index);
    let outcome = match &request.body {
        Some(Body::Batch(batch)) => ops::batch::apply(batch, &given, rows),
        _ => given.apply(rows, |apply| ops::apply(&request, apply)),
    };
    let (outcome, changes) = match outcome {
        Ok((reply, changes)) => (Ok(reply), changes),
        Err(refusal) if refusal.is_refusal() => (Err(refusal), Vec::new()),
        // A fault of this replica, not an outcome of the command.
        Err(fault) => return Err(fault),
    };
    let mut answer = response(&request, outcome);
    answer.changes = changes;
    let answer = Bytes::from(answer.encode_to_vec());
    if let Some(call) = call {
        let changes = replies.remember(&call, given.time_ms(), answer.clone());
        rows.put(tables::REPLY.0, changes.put.0, changes.put.1);
        changes
            .delete
            .into_iter()
            .for_each(|key| rows.delete(tables::REPLY.0, key));
    }
    Ok(answer)
}

/// What the operations of a command of the log are given.
fn given_by(request: &OmRequest, index: u64) -> Given {
    let context = request.context.as_ref();
    let user = request.user_info.as_ref();
    let decided = request.decided.unwrap_or_default();
    Given {
        index,
        time_ns: decided.time_ns(),
        default_replication: decided.replication,
        asker: Asker {
            user: user.map(|u| u.user_name().to_owned()).unwrap_or_default(),
            uid: context.and_then(|c| c.uid).unwrap_or(NOBODY),
            gid: context.and_then(|c| c.gid).unwrap_or(NOBODY),
        },
        session: session_of(request),
    }
}

/// The response to a request.
pub fn response(
    request: &OmRequest,
    outcome: Result<ozone_proto::om::om_response::Body>,
) -> OmResponse {
    let mut response = OmResponse {
        cmd_type: request.cmd_type,
        trace_id: request.trace_id.clone(),
        success: Some(outcome.is_ok()),
        status: Status::Ok.into(),
        ..Default::default()
    };
    match outcome {
        Ok(body) => response.body = Some(body),
        Err(error) => {
            response.status = error.status().into();
            response.message = Some(error.message());
            if let OmError::NotLeader { leader } = error {
                response.leader_om_node_id = leader;
            }
        }
    }
    response
}

fn fault(error: OmError) -> StateMachineError {
    StateMachineError::new(error)
}

impl StateMachine for OmState {
    fn load(&self) -> Result<Option<Vec<u8>>, StateMachineError> {
        let store = self.store().map_err(fault)?;
        store::get(&*store.db, tables::TRANSACTION_INFO, tables::POSITION_KEY).map_err(fault)
    }

    fn apply(&self, batch: ApplyBatch<'_>) -> Result<Vec<Bytes>, StateMachineError> {
        self.apply_all(batch.commands, batch.position)
            .map_err(fault)
    }

    fn ends_batch(&self, command: &Command) -> bool {
        snapshot_step(command).is_some()
    }

    fn flush(&self) -> Result<(), StateMachineError> {
        self.store().and_then(|s| s.flush()).map_err(fault)
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), StateMachineError> {
        self.store()
            .and_then(|s| s.checkpoint(&dir.join(store::NAME)))
            .and_then(|()| self.checkpoints.copy_to(&dir.join(store::NAME)))
            .map_err(fault)
    }

    fn restore(&self, dir: &Path) -> Result<(), StateMachineError> {
        let mut slot = self.store.write();
        self.checkpoints.close();
        if let Some(old) = slot.take() {
            old.close();
        }
        store::swap_in(&self.dir, &dir.join(store::NAME)).map_err(fault)?;
        let fresh = Store::open(&self.dir).map_err(fault)?;
        *self.replies.lock() = Replies::load(&fresh).map_err(fault)?;
        *slot = Some(Arc::new(fresh));
        Ok(())
    }
}
