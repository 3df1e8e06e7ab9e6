//! What a datanode answers when it cannot do what it was asked.
//!
//! An [`OpError`] crosses the wire as a result code and a message; the code is what a client acts
//! on, the message is for the person who reads its log.

use std::io;
use std::path::Path;

use ozone_proto::hdds::datanode::Result as Code;

/// Result of a container command.
pub type OpResult<T> = std::result::Result<T, OpError>;

/// Why a container command failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {message}", code.as_str_name())]
pub struct OpError {
    /// What a client acts on.
    pub code: Code,
    /// What happened, for people.
    pub message: String,
    /// With `PIPELINE_NOT_LEADER`: the uuid of the member to ask instead, where known.
    pub leader: Option<String>,
}

impl OpError {
    /// Any failure.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            leader: None,
        }
    }

    /// A request that no retry can make right.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(Code::MalformedRequest, message)
    }

    /// A fault of this datanode.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::ContainerInternalError, message)
    }

    /// The disk refused. A full disk has a code of its own, so that the client goes elsewhere.
    pub fn io(action: &str, path: &Path, cause: &io::Error) -> Self {
        let code = match is_full(cause) {
            true => Code::DiskOutOfSpace,
            false => Code::IoException,
        };
        Self::new(code, format!("{action} {}: {cause}", path.display()))
    }
}

/// No room, or no quota on the filesystem of the machine.
fn is_full(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Why a datanode cannot start, or cannot join.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or makes no sense.
    #[error(transparent)]
    Config(#[from] ozone_common::config::ConfigError),
    /// An address is no address, or would serve the network unprotected.
    #[error("{0}")]
    Address(String),
    /// A directory cannot be used.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: std::path::PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file says that its directory belongs to someone else, or to a newer version.
    #[error(
        "{}: {property} is {found}, but this datanode has {expected}{}", path.display(), remedy(property)
    )]
    Foreign {
        /// The file.
        path: std::path::PathBuf,
        /// The property that differs.
        property: &'static str,
        /// In the file.
        found: String,
        /// In this datanode.
        expected: String,
    },
    /// A file that cannot be understood.
    #[error("{}: {reason}", path.display())]
    BadFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// More disks failed than may.
    #[error(
        "{failed} of {all} data directories cannot be used, {tolerated} may fail (hdds.datanode.failed.data.volumes.tolerated): {first}"
    )]
    Volumes {
        /// That failed.
        failed: usize,
        /// That are configured.
        all: usize,
        /// That may fail.
        tolerated: u64,
        /// What is wrong with the first.
        first: String,
    },
    /// A database cannot be opened or used.
    #[error("{}: {reason}", path.display())]
    Database {
        /// Its directory.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A listener cannot be opened.
    #[error("{0}")]
    Listen(String),
    /// Replication.
    #[error(transparent)]
    Raft(#[from] ozone_raft::RaftError),
    /// SCM does not want this datanode.
    #[error("SCM {scm} refused this datanode: {reason}")]
    Refused {
        /// Address of the SCM.
        scm: String,
        /// In its words.
        reason: String,
    },
    /// There is no certificate, and security is on.
    #[error(transparent)]
    Certificate(ozone_security::enrol::EnrolError),
    /// The datanode was shut down meanwhile.
    #[error("the datanode is shutting down")]
    ShuttingDown,
}

/// What makes a file right that names another owner.
fn remedy(property: &str) -> &'static str {
    match property {
        "datanodeUuid" => {
            " in the file datanode.id (hdds.datanode.id.dir): restore that file, or use the data directories of this datanode"
        }
        _ => "",
    }
}

impl StartError {
    /// Wraps a failure of the disk.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
