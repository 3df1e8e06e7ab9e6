//! The port of the crate: what a state machine must offer to be replicated.
//!
//! It is small and synchronous on purpose. A state machine knows nothing of Raft beyond an opaque
//! position that it stores beside its state; the adapter calls it from one thread of its own per
//! group, so calls never overlap and may block on disk.

use std::error::Error;
use std::path::Path;

use bytes::Bytes;

/// One committed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Place in the log; grows, with gaps where the log holds entries of Raft's own.
    pub index: u64,
    /// Term of the leader that proposed it.
    pub term: u64,
    /// What was proposed.
    pub data: Bytes,
}

/// Committed commands to apply in one atomic write.
#[derive(Debug, Clone, Copy)]
pub struct ApplyBatch<'a> {
    /// In log order; may be empty when only the position moves.
    pub commands: &'a [Command],
    /// To be stored in the same atomic write as the effects of the commands, and returned by
    /// [`StateMachine::load`].
    pub position: &'a [u8],
}

/// A fault of the machine (disk, corruption), never the outcome of a command: outcomes are replies.
/// The group stops on it, because its replica can no longer be trusted to equal the others.
#[derive(Debug, thiserror::Error)]
#[error("state machine: {0}")]
pub struct StateMachineError(#[source] Box<dyn Error + Send + Sync>);

impl StateMachineError {
    /// Wraps any error or message.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl From<std::io::Error> for StateMachineError {
    fn from(cause: std::io::Error) -> Self {
        Self::new(cause)
    }
}

/// One state machine replicated by one Raft group.
///
/// All methods may block; the adapter calls them on a dedicated thread, never on async threads, and
/// never two at once.
pub trait StateMachine: Send + Sync + 'static {
    /// The last position stored by [`apply`](Self::apply) or contained in what was last
    /// [restored](Self::restore), or `None` when new.
    ///
    /// After a crash it may be an older one, as long as the state is that old too: the log replays
    /// what came after.
    fn load(&self) -> Result<Option<Vec<u8>>, StateMachineError>;

    /// Applies committed commands in order and returns one reply per command.
    ///
    /// State and position change together or not at all. Nothing needs to be durable yet. The result
    /// depends on nothing but the state and the commands.
    fn apply(&self, batch: ApplyBatch<'_>) -> Result<Vec<Bytes>, StateMachineError>;

    /// Whether nothing that follows `command` may be applied in one write with it: the machine does
    /// something with the state as it is right after this command.
    fn ends_batch(&self, _command: &Command) -> bool {
        false
    }

    /// Everything applied so far is durable when this returns. The log may then forget it.
    fn flush(&self) -> Result<(), StateMachineError>;

    /// Writes a self-contained copy of the state and its position (say a hard-linked checkpoint)
    /// into the existing, empty directory `dir`.
    fn checkpoint(&self, dir: &Path) -> Result<(), StateMachineError>;

    /// Replaces all state by what [`checkpoint`](Self::checkpoint) of another member wrote, now in
    /// `dir`, durably. A crash in the midst leaves either the old or the new state. `dir` may be
    /// moved from and is removed afterwards.
    fn restore(&self, dir: &Path) -> Result<(), StateMachineError>;
}
