//! The operations of the replicated state: one file each, with what must hold before it and what
//! it changes.
//!
//! An operation is pure. It sees the state and itself; time, randomness and ids of its own making
//! came in with it. Adding one takes its file, one variant of [`Command`] and one line of
//! [`Command::op`].

pub(crate) mod add_container;
pub(crate) mod add_datanode;
pub(crate) mod add_deleted_blocks;
pub(crate) mod add_pipeline;
pub(crate) mod close_pipeline;
pub(crate) mod container_state;
pub(crate) mod open_pipeline;
pub(crate) mod remove_deleted_blocks;
pub(crate) mod remove_pipeline;
pub(crate) mod rotate_secret_key;
pub(crate) mod sequence_range;
pub(crate) mod store_certificate;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use add_container::AddContainer;
pub(crate) use add_datanode::AddDatanode;
pub(crate) use add_deleted_blocks::{AddDeletedBlocks, ContainerBlocks};
pub(crate) use add_pipeline::AddPipeline;
pub(crate) use close_pipeline::ClosePipeline;
pub(crate) use container_state::MoveContainer;
pub(crate) use open_pipeline::OpenPipeline;
pub(crate) use remove_deleted_blocks::RemoveDeletedBlocks;
pub(crate) use remove_pipeline::RemovePipeline;
pub(crate) use rotate_secret_key::RotateSecretKey;
pub(crate) use sequence_range::SequenceRange;
pub(crate) use store_certificate::StoreCertificate;

use crate::model::{Change, QueueError, View};

/// Version of the commands that this software writes. A log that holds newer ones is not applied.
pub(crate) const COMMAND_VERSION: u32 = 1;

/// Names of the counters in `sequenceId`.
pub(crate) mod sequence {
    /// Blocks.
    pub(crate) const LOCAL_ID: &str = "localId";
    /// Containers.
    pub(crate) const CONTAINER_ID: &str = "containerId";
    /// Transactions of deleted blocks.
    pub(crate) const DELETED_TX_ID: &str = "delTxnId";
    /// Certificates, counted from the first that an authority issues on request.
    pub(crate) const CERTIFICATE_ID: &str = "CertificateId";
}

/// One entry of the log.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(oneof = "Command", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    pub(crate) command: Option<Command>,
}

/// Everything that can be asked of the replicated state.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Command {
    #[prost(message, tag = "2")]
    AddDatanode(AddDatanode),
    #[prost(message, tag = "3")]
    AddPipeline(AddPipeline),
    #[prost(message, tag = "4")]
    OpenPipeline(OpenPipeline),
    #[prost(message, tag = "5")]
    ClosePipeline(ClosePipeline),
    #[prost(message, tag = "6")]
    RemovePipeline(RemovePipeline),
    #[prost(message, tag = "7")]
    AddContainer(AddContainer),
    #[prost(message, tag = "8")]
    MoveContainer(MoveContainer),
    #[prost(message, tag = "9")]
    SequenceRange(SequenceRange),
    #[prost(message, tag = "10")]
    AddDeletedBlocks(AddDeletedBlocks),
    #[prost(message, tag = "11")]
    RemoveDeletedBlocks(RemoveDeletedBlocks),
    #[prost(message, tag = "12")]
    RotateSecretKey(RotateSecretKey),
    #[prost(message, tag = "13")]
    StoreCertificate(StoreCertificate),
}

impl Command {
    /// The operation that a command stands for.
    pub(crate) fn op(&self) -> &dyn Op {
        match self {
            Self::AddDatanode(op) => op,
            Self::AddPipeline(op) => op,
            Self::OpenPipeline(op) => op,
            Self::ClosePipeline(op) => op,
            Self::RemovePipeline(op) => op,
            Self::AddContainer(op) => op,
            Self::MoveContainer(op) => op,
            Self::SequenceRange(op) => op,
            Self::AddDeletedBlocks(op) => op,
            Self::RemoveDeletedBlocks(op) => op,
            Self::RotateSecretKey(op) => op,
            Self::StoreCertificate(op) => op,
        }
    }
}

/// An operation.
pub(crate) trait Op {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Whether it may be applied.
    fn validate(&self, view: View<'_>) -> Result<(), Refusal>;

    /// What it changes and answers. Called only when [`Op::validate`] has nothing against it.
    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError>;
}

/// What an applied operation answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done.
    Done,
    /// The first number of what was asked for: a container id, or the start of a range.
    First(u64),
    /// How many were taken.
    Count(u64),
}

/// Why an operation changed nothing. The same on every replica.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// What it is about does not exist.
    #[error("{what} {id} does not exist")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// What it is about is in no state for it.
    #[error("{what} {id} is {state}")]
    BadState {
        /// Kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
        /// Its state.
        state: String,
    },
    /// It makes no sense.
    #[error("malformed command: {0}")]
    Malformed(&'static str),
}

impl Refusal {
    /// A thing that does not exist.
    pub(crate) fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound {
            what,
            id: id.to_string(),
        }
    }

    /// A thing in the wrong state.
    pub(crate) fn bad_state(what: &'static str, id: impl ToString, state: impl ToString) -> Self {
        Self::BadState {
            what,
            id: id.to_string(),
            state: state.to_string(),
        }
    }
}

/// The answer of an applied entry, as bytes: what the proposer gets back.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Reply {
    /// 0 when applied, else the kind of refusal.
    #[prost(enumeration = "ReplyCode", tag = "1")]
    pub(crate) code: i32,
    /// Why it was refused.
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    /// The number of the [`Answer`].
    #[prost(uint64, tag = "3")]
    pub(crate) value: u64,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ReplyCode {
    /// Applied.
    Ok = 0,
    /// [`Refusal::NotFound`].
    NotFound = 1,
    /// [`Refusal::BadState`].
    BadState = 2,
    /// [`Refusal::Malformed`].
    Malformed = 3,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        let value = match answer {
            Answer::Done => 0,
            Answer::First(value) | Answer::Count(value) => value,
        };
        Self {
            code: ReplyCode::Ok as i32,
            message: String::new(),
            value,
        }
    }
}

impl From<&Refusal> for Reply {
    fn from(refusal: &Refusal) -> Self {
        let code = match refusal {
            Refusal::NotFound { .. } => ReplyCode::NotFound,
            Refusal::BadState { .. } => ReplyCode::BadState,
            Refusal::Malformed(_) => ReplyCode::Malformed,
        };
        Self {
            code: code as i32,
            message: refusal.to_string(),
            value: 0,
        }
    }
}
