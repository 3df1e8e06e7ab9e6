//! What the OM answers when it does not do what was asked.

use ozone_proto::om::Status;

/// Result of an operation.
pub type Result<T, E = OmError> = std::result::Result<T, E>;

/// A refusal, or a fault of the machine below.
#[derive(Debug, thiserror::Error)]
pub enum OmError {
    /// A deterministic outcome of the operation: the same on every replica.
    #[error("{} {message}", .status.as_str_name())]
    Refused {
        /// Protocol code.
        status: Status,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// The database failed or holds something that cannot be read. The replica stops.
    #[error("om.db: {0}")]
    Storage(String),
    /// The rows are not in memory: they are to be looked at where one may block.
    #[error("om.db: not in memory")]
    NotInMemory,
    /// This OM does not lead.
    #[error("this OM is not the leader")]
    NotLeader {
        /// `host:port` of the leader's client listener, where known.
        leader: Option<String>,
    },
    /// SCM could not give what was needed.
    #[error("SCM: {0}")]
    Scm(String),
    /// A datanode did not take what the OM wrote.
    #[error("datanode: {0}")]
    Datanode(String),
    /// The Raft group failed.
    #[error(transparent)]
    Raft(#[from] ozone_raft::RaftError),
    /// The process cannot start with what it was given.
    #[error("{0}")]
    Start(String),
}

impl OmError {
    /// A refusal.
    pub fn refused(status: Status, message: impl Into<String>) -> Self {
        Self::Refused {
            status,
            message: message.into(),
        }
    }

    /// Whether this is an outcome of what was asked. Everything else says nothing about that, and is passed on.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// The protocol code of this error.
    pub fn status(&self) -> Status {
        match self {
            Self::Refused { status, .. } => *status,
            Self::NotLeader { .. } => Status::NotLeader,
            Self::Scm(_) | Self::Datanode(_) => Status::KeyAllocationError,
            Self::Raft(_) => Status::RatisError,
            Self::Storage(_) | Self::NotInMemory | Self::Start(_) => Status::InternalError,
        }
    }

    /// The text without the code, as the protocol carries it.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

/// Shorthands for the refusals that many operations share.
pub mod refuse {
    use ozone_proto::namespace::BlockSource;

    use super::{OmError, Status};

    /// Nothing has that name.
    pub fn not_found(name: &[u8]) -> OmError {
        OmError::refused(
            Status::FileNotFound,
            format!("{} does not exist", String::from_utf8_lossy(name)),
        )
    }

    /// The name is taken.
    pub fn exists(name: &[u8]) -> OmError {
        OmError::refused(
            Status::FileAlreadyExists,
            format!("{} exists", String::from_utf8_lossy(name)),
        )
    }

    /// The place holds another inode, or none.
    pub fn stale(object: u64) -> OmError {
        OmError::refused(
            Status::Stale,
            format!("inode {object} is not where the request says"),
        )
    }

    /// The directory is gone.
    pub fn no_directory(id: u64) -> OmError {
        OmError::refused(
            Status::DirectoryNotFound,
            format!("directory {id} does not exist"),
        )
    }

    /// The block is in no file and no session writes to it: it may be freed at any time.
    pub fn block(block: &BlockSource) -> OmError {
        OmError::refused(
            Status::Stale,
            format!(
                "block {}/{} is not open for writing",
                block.container, block.local
            ),
        )
    }

    /// The request makes no sense.
    pub fn invalid(what: impl Into<String>) -> OmError {
        OmError::refused(Status::InvalidRequest, what)
    }

    /// The session is gone: what it held has been given up.
    pub fn session(id: u64) -> OmError {
        OmError::refused(Status::SessionExpired, format!("session {id} has expired"))
    }
}
