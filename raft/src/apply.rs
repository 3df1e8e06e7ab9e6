//! Between openraft's state machine and ours: batches, positions and snapshots.

mod thread;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;

use self::thread::MachineThread;
use crate::machine::{ApplyBatch, Command, StateMachine};
use crate::snapshot::{SnapshotDir, SnapshotFiles};
use crate::types::{LogId, Membership, SnapshotMeta, StoredMembership, Types};
use crate::wire;
use crate::{RaftError, StateMachineError};

/// Commands applied in one atomic write, at most.
const BATCH_COMMANDS: usize = 4096;
/// Bytes of commands applied in one atomic write, about.
const BATCH_BYTES: usize = 4 << 20;

/// Without files when it only says how far the state is durable.
pub(crate) type Snapshot = openraft::alias::SnapshotOf<Types, Option<SnapshotFiles>>;

/// How far a state machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl Position {
    fn encode(&self) -> Vec<u8> {
        let message = wire::Position {
            applied: self.applied.as_ref().map(wire::write_log_id),
            membership: Some(wire::write_stored(&self.membership)),
        };
        message.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, StateMachineError> {
        let message = wire::Position::decode(bytes).map_err(StateMachineError::new)?;
        let membership = wire::read_stored(message.membership).map_err(StateMachineError::new)?;
        let applied = message.applied.map(wire::read_log_id);
        Ok(Self {
            applied,
            membership,
        })
    }

    fn next(&self) -> u64 {
        self.applied.map_or(0, |id| id.index() + 1)
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }
}

/// What the adapter and its snapshot builders share.
#[derive(Default)]
struct Progress {
    position: Position,
    /// Durable up to here; `None` until the first flush of this process.
    flushed: Option<Position>,
}

struct Shared {
    machine: Arc<dyn StateMachine>,
    thread: MachineThread,
    progress: Mutex<Progress>,
    /// Index after the last applied entry.
    applied: watch::Sender<u64>,
    copies: SnapshotDir,
    /// Whether the state was that of a formed group when it was opened.
    marked: bool,
}

/// A state machine as openraft sees it.
#[derive(Clone)]
pub(crate) struct Adapter(Arc<Shared>);

impl Adapter {
    /// Starts the thread of the machine and asks it how far it is.
    pub(crate) async fn start(
        machine: Arc<dyn StateMachine>,
        copies: SnapshotDir,
        name: &str,
    ) -> Result<Self, RaftError> {
        let thread = MachineThread::start(name).map_err(StateMachineError::from)?;
        let loading = machine.clone();
        let loaded = thread
            .run(move || loading.load())
            .await
            .map_err(StateMachineError::from)??;
        let marked = loaded.is_some();
        let position = loaded
            .as_deref()
            .map(Position::decode)
            .transpose()?
            .unwrap_or_default();
        let applied = watch::Sender::new(position.next());
        let progress = Mutex::new(Progress {
            position,
            flushed: None,
        });
        Ok(Self(Arc::new(Shared {
            machine,
            thread,
            progress,
            applied,
            copies,
            marked,
        })))
    }

    pub(crate) fn position(&self) -> Position {
        self.0.progress.lock().position.clone()
    }

    /// Whether the state was found to be that of a group that was formed.
    pub(crate) fn has_mark(&self) -> bool {
        self.0.marked
    }

    /// From now on the state is, durably, that of a group that was formed: it has a position, if
    /// only the one before everything.
    pub(crate) async fn mark(&self) -> io::Result<()> {
        let position = self.position();
        self.call(move |shared| {
            shared.apply(&[], position, Vec::new())?;
            shared.machine.flush()
        })
        .await
    }

    /// Where copies of the state are received.
    pub(crate) fn copies(&self) -> &SnapshotDir {
        &self.0.copies
    }

    /// Returns once the entry at `index` is applied, or the machine is gone.
    pub(crate) async fn wait_applied(&self, index: u64) {
        let mut applied = self.0.applied.subscribe();
        // The sender lives as long as this adapter.
        let _ = applied.wait_for(|next| *next > index).await;
    }

    /// Everything applied so far is durable when this returns.
    pub(crate) async fn flush(&self) -> io::Result<Position> {
        self.call(|shared| {
            let position = shared.progress.lock().position.clone();
            shared.machine.flush()?;
            shared.progress.lock().flushed = Some(position.clone());
            Ok(position)
        })
        .await
    }

    /// Runs `call` on the thread of the machine.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Shared) -> Result<T, StateMachineError> + Send + 'static,
    ) -> io::Result<T> {
        let shared = self.0.clone();
        self.0
            .thread
            .run(move || call(&shared))
            .await?
            .map_err(io::Error::other)
    }

    async fn apply_batch(&self, batch: Batch) -> io::Result<()> {
        let Batch {
            commands,
            responders,
            position,
        } = batch;
        let (replies, blanks): (Vec<_>, Vec<_>) = responders
            .into_iter()
            .partition(|waiting| waiting.command.is_some());
        self.call(move |shared| shared.apply(&commands, position, replies))
            .await?;
        for waiting in blanks {
            waiting.responder.send(Bytes::new());
        }
        Ok(())
    }
}

impl Shared {
    fn apply(
        &self,
        commands: &[Command],
        position: Position,
        waiting: Vec<Waiting>,
    ) -> Result<(), StateMachineError> {
        let encoded = position.encode();
        let replies = self.machine.apply(ApplyBatch {
            commands,
            position: &encoded,
        })?;
        if replies.len() != commands.len() {
            let (got, want) = (replies.len(), commands.len());
            let message = format!("apply gave {got} replies to {want} commands");
            return Err(StateMachineError::new(message));
        }
        let next = position.next();
        self.progress.lock().position = position;
        self.applied.send_replace(next);
        for Waiting { responder, command } in waiting {
            if let Some(reply) = command.and_then(|at| replies.get(at)) {
                responder.send(reply.clone());
            }
        }
        Ok(())
    }
}

/// A proposer that waits for the reply to the command at that place of the batch, or (none) for
/// an entry of Raft's own.
struct Waiting {
    responder: ApplyResponder<Types>,
    command: Option<usize>,
}

/// Entries gathered for one atomic write.
struct Batch {
    commands: Vec<Command>,
    responders: Vec<Waiting>,
    position: Position,
}

impl Batch {
    fn after(position: Position) -> Self {
        Self {
            commands: Vec::new(),
            responders: Vec::new(),
            position,
        }
    }

    /// Takes an entry in; returns the bytes of its command.
    fn push(&mut self, (entry, responder): EntryResponder<Types>) -> usize {
        let id = entry.log_id;
        self.position.applied = Some(id);
        let (mut bytes, mut command) = (0, None);
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => self.note_members(id, membership),
            EntryPayload::Normal(data) => {
                bytes = data.0.len();
                command = Some(self.commands.len());
                let term = id.committed_leader_id().term;
                self.commands.push(Command {
                    index: id.index(),
                    term,
                    data: data.0,
                });
            }
        }
        if let Some(responder) = responder {
            self.responders.push(Waiting { responder, command });
        }
        bytes
    }

    fn note_members(&mut self, at: LogId, membership: Membership) {
        self.position.membership = StoredMembership::new(Some(at), membership);
    }
}

impl RaftStateMachine<Types> for Adapter {
    type SnapshotData = Option<SnapshotFiles>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let position = self.position();
        Ok((position.applied, position.membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::after(self.position());
        let (mut entries_in, mut bytes_in) = (0, 0);
        while let Some(entry) = entries.try_next().await? {
            bytes_in += batch.push(entry);
            entries_in += 1;
            let ends = |last| self.0.machine.ends_batch(last);
            let is_full = entries_in >= BATCH_COMMANDS || bytes_in >= BATCH_BYTES;
            if is_full || batch.commands.last().is_some_and(ends) {
                let next = Batch::after(batch.position.clone());
                self.apply_batch(std::mem::replace(&mut batch, next))
                    .await?;
                (entries_in, bytes_in) = (0, 0);
            }
        }
        if entries_in > 0 {
            self.apply_batch(batch).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Option<SnapshotFiles>,
    ) -> Result<(), io::Error> {
        let expected = meta.last_log_id;
        self.call(move |shared| {
            let files = snapshot.ok_or_else(|| StateMachineError::new("a copy without files"))?;
            shared.machine.restore(files.dir())?;
            let loaded = shared
                .machine
                .load()?
                .ok_or_else(|| StateMachineError::new("the restored state has no position"))?;
            let position = Position::decode(&loaded)?;
            if position.applied != expected {
                let got = position.applied;
                let message = format!("restored state is at {got:?}, the copy was of {expected:?}");
                return Err(StateMachineError::new(message));
            }
            let next = position.next();
            *shared.progress.lock() = Progress {
                position: position.clone(),
                flushed: Some(position),
            };
            shared.applied.send_replace(next);
            Ok(())
        })
        .await
    }

    /// Asked for when a member needs the files: they are made now, of the state as it is now, and
    /// only if a snapshot was taken (or received) at all.
    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        if self.0.progress.lock().flushed.is_none() {
            return Ok(None);
        }
        self.call(|shared| {
            let files = shared.copies.create("out")?;
            shared.machine.checkpoint(files.dir())?;
            let meta = shared.progress.lock().position.meta();
            Ok(Some(Snapshot {
                meta,
                snapshot: Some(files),
            }))
        })
        .await
    }
}

impl RaftSnapshotBuilder<Types> for Adapter {
    type SnapshotData = Option<SnapshotFiles>;

    /// Taking a snapshot is a flush: after it, the log before it is not needed here any more.
    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let position = self.flush().await?;
        Ok(Snapshot {
            meta: position.meta(),
            snapshot: None,
        })
    }
}
