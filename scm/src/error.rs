//! What can go wrong in SCM, and how clients are told.

use ozone_common::config::{ConfigError, UnsafeListener};
use ozone_common::version_file::VersionError;
use ozone_proto::hdds::block::Status;
use ozone_raft::{Peer, RaftError};

use crate::state_machine::StoreError;

/// A request that was not done.
#[derive(Debug, thiserror::Error)]
pub enum ScmError {
    /// Another SCM leads, or none does at the moment. Nothing was done.
    #[error("this SCM is not the leader{}", leader.as_ref().map(|l| format!(", {l} is")).unwrap_or_default())]
    NotLeader {
        /// `host:port` of the leader's Raft listener, where known.
        leader: Option<String>,
    },
    /// SCM does not know enough yet to hand out blocks.
    #[error("SCM is in safe mode: {reason}")]
    SafeMode {
        /// What it waits for.
        reason: String,
    },
    /// No pipeline of the wanted kind takes blocks.
    #[error("no open {replication} pipeline: {reason}")]
    NoPipeline {
        /// The wanted kind.
        replication: String,
        /// Why there is none.
        reason: String,
    },
    /// A block that is larger than a container, or none at all.
    #[error(
        "{count} blocks of {size} bytes asked for: a block has 1 to {limit} bytes, and at most {most} are handed out at a time"
    )]
    BadSize {
        /// Blocks asked for.
        count: u64,
        /// Their size.
        size: u64,
        /// Most bytes of a block.
        limit: u64,
        /// Most blocks of a request.
        most: u64,
    },
    /// A kind of replication that this system has not.
    #[error("replication {asked} is not supported: RATIS/ONE and RATIS/THREE are")]
    Unsupported {
        /// What was asked for.
        asked: String,
    },
    /// What it is about does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The replicated state refused.
    #[error("{0}")]
    Refused(String),
    /// A request that makes no sense.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// Replication failed.
    #[error(transparent)]
    Raft(RaftError),
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate authority refused or failed.
    #[error("certificate authority: {0}")]
    Authority(String),
    /// SCM is being stopped.
    #[error("SCM is shutting down")]
    ShuttingDown,
}

impl From<RaftError> for ScmError {
    fn from(error: RaftError) -> Self {
        let address = |leader: Option<Peer>| leader.map(|peer| peer.address);
        match error {
            RaftError::NotLeader { leader } | RaftError::LeaderChanged { leader } => {
                Self::NotLeader {
                    leader: address(leader),
                }
            }
            RaftError::ShuttingDown => Self::ShuttingDown,
            other => Self::Raft(other),
        }
    }
}

impl ScmError {
    /// As Ozone's block protocol says it.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::NotLeader { .. } => Status::ScmNotLeader,
            Self::SafeMode { .. } => Status::SafeModeException,
            Self::NoPipeline { .. } => Status::FailedToFindActivePipeline,
            Self::BadSize { .. } => Status::InvalidBlockSize,
            Self::Unsupported { .. } => Status::UnsupportedOperation,
            Self::NotFound(_) => Status::ContainerNotFound,
            Self::Refused(_) => Status::FailedToAllocateContainer,
            Self::Raft(RaftError::Timeout(_)) => Status::Timeout,
            Self::BadRequest(_) | Self::Raft(_) | Self::Store(_) => Status::InternalError,
            Self::Authority(_) | Self::ShuttingDown => Status::InternalError,
        }
    }

    /// As a gRPC status, for services that have no error fields of their own.
    pub(crate) fn grpc(&self) -> tonic::Status {
        let code = match self {
            Self::NotLeader { .. } | Self::ShuttingDown => tonic::Code::Unavailable,
            Self::SafeMode { .. } | Self::Refused(_) => tonic::Code::FailedPrecondition,
            Self::NotFound(_) => tonic::Code::NotFound,
            Self::NoPipeline { .. } => tonic::Code::ResourceExhausted,
            Self::BadSize { .. } | Self::BadRequest(_) | Self::Unsupported { .. } => {
                tonic::Code::InvalidArgument
            }
            Self::Raft(_) | Self::Store(_) | Self::Authority(_) => tonic::Code::Internal,
        };
        tonic::Status::new(code, self.to_string())
    }
}

/// SCM could not be formatted or started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A `VERSION` file is wrong, or of another cluster.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// There is nothing to start.
    #[error("{} is not formatted: run `ozone scm --init` first", dir.display())]
    NotFormatted {
        /// Where the `VERSION` file should be.
        dir: std::path::PathBuf,
    },
    /// A cluster id that is none.
    #[error("cluster id {found:?} should be CID-<uuid>")]
    ClusterId {
        /// What was found.
        found: String,
    },
    /// A listener would serve the network unprotected.
    #[error(transparent)]
    Unsafe(#[from] UnsafeListener),
    /// An address is taken or not ours.
    #[error("{what}: {reason}")]
    Bind {
        /// Which listener.
        what: &'static str,
        /// Why not, and what to do.
        reason: String,
    },
    /// An address cannot be resolved.
    #[error("{what} on {address}: {reason}")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: String,
        /// Why not.
        reason: String,
    },
    /// This SCM is none of those that the configuration names.
    #[error("{0}")]
    Members(String),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Raft group cannot be opened with the log that is there.
    #[error("{key}: {source}")]
    Log {
        /// Where the directory of the log is configured.
        key: String,
        /// Why not.
        source: RaftError,
    },
    /// The Raft group cannot be opened.
    #[error(transparent)]
    Raft(#[from] RaftError),
    /// The certificate authority cannot be made or read.
    #[error("certificate authority in {}: {reason}", dir.display())]
    Authority {
        /// Its directory.
        dir: std::path::PathBuf,
        /// Why not.
        reason: String,
    },
    /// TLS is wanted and cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// A directory or file cannot be made.
    #[error("{}: {source}", path.display())]
    Io {
        /// What.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Nobody led in time.
    #[error("no leader within {0:?}")]
    NoLeader(std::time::Duration),
}
