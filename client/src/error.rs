//! What can go wrong between a face and the cluster, typed so that each face can say it in its own
//! words: an errno, an S3 code, a line on a terminal.

use ozone_common::config::ConfigError;
use ozone_common::names::NameError;
use ozone_proto::hdds::datanode;
use ozone_proto::om::Status;

/// A call that did not end well.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The OM refused.
    #[error("{message}")]
    Om {
        /// Why, as a code.
        status: Status,
        /// Why, in the OM's words; the name of the code when it had none.
        message: String,
    },
    /// A datanode refused.
    #[error("datanode {node}: {}: {message}", result.as_str_name())]
    Datanode {
        /// Why, as a code.
        result: datanode::Result,
        /// Why, in the datanode's words.
        message: String,
        /// Its address.
        node: String,
    },
    /// Nobody who could answer was reached.
    #[error("{what} unavailable: {reason}")]
    Unavailable {
        /// Whom or what the call was for.
        what: String,
        /// The last failure seen.
        reason: String,
    },
    /// No OM was reached.
    #[error(
        "no OM answers at {} (ozone.om.address): {reason}: is it running there?", servers.join(", ")
    )]
    NoOm {
        /// Where it was looked for.
        servers: Vec<String>,
        /// The last failure seen.
        reason: String,
    },
    /// No answer in time.
    #[error("{what}: no answer within {after_ms} ms: {reason}")]
    Timeout {
        /// What was asked.
        what: String,
        /// How long it was waited for, in milliseconds.
        after_ms: u64,
        /// The last failure seen while waiting.
        reason: String,
    },
    /// Every replica gave data that is not what was written.
    #[error("block {block}: no replica has the bytes that were written ({})", replicas.join(", "))]
    ChecksumMismatch {
        /// `container:local`.
        block: String,
        /// What each replica answered.
        replicas: Vec<String>,
    },
    /// No replica has what was committed, and some say that they are about to.
    #[error("block {block} is not everywhere what was committed yet ({})", replicas.join(", "))]
    Behind {
        /// `container:local`.
        block: String,
        /// What each replica answered.
        replicas: Vec<String>,
    },
    /// The session ended, or could not be renewed in time; what depended on it is gone.
    #[error("the session with the OM expired")]
    SessionExpired,
    /// An answer that the protocol does not allow.
    #[error("{from} broke the protocol: {what}")]
    Protocol {
        /// Who answered.
        from: String,
        /// What was wrong with the answer.
        what: String,
    },
    /// Reading the caller's own data failed.
    #[error("cannot read the data to store: {reason}")]
    Input {
        /// The error of the source.
        reason: String,
    },
    /// A name that breaks a rule.
    #[error(transparent)]
    Names(#[from] NameError),
    /// A configuration that cannot be used.
    #[error("{0}")]
    Config(String),
}

/// What calls of this crate give.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

impl ClientError {
    /// The OM's code, if it was the OM that refused.
    pub fn om_status(&self) -> Option<Status> {
        match self {
            Self::Om { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether nothing has the name that was asked for.
    pub fn is_not_found(&self) -> bool {
        self.errno() == libc::ENOENT
    }

    pub(crate) fn om(status: Status, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = if message.is_empty() {
            status.as_str_name().to_owned()
        } else {
            message
        };
        Self::Om { status, message }
    }

    pub(crate) fn protocol(from: impl Into<String>, what: impl Into<String>) -> Self {
        let (from, what) = (from.into(), what.into());
        Self::Protocol { from, what }
    }

    pub(crate) fn unavailable(what: impl Into<String>, reason: impl Into<String>) -> Self {
        let (what, reason) = (what.into(), reason.into());
        Self::Unavailable { what, reason }
    }
}

impl From<ConfigError> for ClientError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}
