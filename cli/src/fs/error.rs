//! What goes wrong in a command of `ozone fs`, in the words in which Hadoop's shell says it.

use std::io;

use ozone_client::ofs::OfsError;

use crate::error::CliError;

/// A command, or a part of one, that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FsError {
    /// A command line that makes no sense: told with the usage, and with an exit code of its own.
    #[error("{0}")]
    Argument(String),
    /// A bucket that is no tree.
    #[error("{0}")]
    Layout(String),
    /// Something about a path.
    #[error("`{path}': {what}")]
    Path {
        /// As the user wrote it.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Something else.
    #[error("{0}")]
    Other(String),
    /// Standard output cannot be written: the command ends.
    #[error("Unable to write to output stream: {0}")]
    Output(io::Error),
}

/// What a filesystem says, before it is known how the user called the path.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The cluster's.
    #[error(transparent)]
    Ofs(#[from] OfsError),
    /// This machine's.
    #[error(transparent)]
    Local(#[from] io::Error),
}

/// What commands give.
pub(super) type Result<T, E = FsError> = std::result::Result<T, E>;

impl FsError {
    /// Something about a path.
    pub(super) fn path(path: &str, what: impl Into<String>) -> Self {
        Self::Path {
            path: path.to_owned(),
            what: what.into(),
        }
    }

    /// Nothing is there.
    pub(super) fn missing(path: &str) -> Self {
        Self::path(path, OfsError::NotFound.to_string())
    }

    /// Something is there.
    pub(super) fn exists(path: &str) -> Self {
        Self::path(path, OfsError::Exists.to_string())
    }

    /// Whether nothing more of the command can be done.
    pub(super) fn ends(&self) -> bool {
        matches!(self, Self::Argument(_) | Self::Output(_))
    }
}

impl Trouble {
    /// Whether nothing is there.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::Ofs(error) => matches!(error, OfsError::NotFound),
            Self::Local(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        }
    }

    /// Whether something else has the name of a file that was to be made.
    pub(super) fn is_taken(&self) -> bool {
        match self {
            Self::Ofs(error) => matches!(error, OfsError::Exists | OfsError::IsADirectory),
            Self::Local(error) => matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory
            ),
        }
    }

    /// Whether a directory is not empty.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Ofs(error) => matches!(error, OfsError::NotEmpty),
            Self::Local(error) => error.kind() == io::ErrorKind::DirectoryNotEmpty,
        }
    }

    /// Whether a pattern has nothing to match: no directory is there.
    pub(super) fn matches_nothing(&self) -> bool {
        self.is_missing() || matches!(self, Self::Ofs(OfsError::NotADirectory))
    }

    /// The same about the path that the user wrote so.
    pub(super) fn at(self, path: &str) -> FsError {
        match self {
            Self::Ofs(error) => of_ofs(error, path),
            Self::Local(error) => FsError::path(path, of_io(&error)),
        }
    }
}

fn of_ofs(error: OfsError, path: &str) -> FsError {
    match error {
        OfsError::NotFound
        | OfsError::Exists
        | OfsError::IsADirectory
        | OfsError::NotADirectory
        | OfsError::NotEmpty
        | OfsError::NotRegular
        | OfsError::ReadOnly => FsError::path(path, error.to_string()),
        OfsError::Layout { .. } => FsError::Layout(error.to_string()),
        OfsError::OtherBucket | OfsError::Refused(_) | OfsError::Unknown { .. } => {
            FsError::Other(error.to_string())
        }
        OfsError::Client(error) => CliError::from(error).into(),
    }
}

fn of_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => OfsError::NotFound.to_string(),
        io::ErrorKind::AlreadyExists => OfsError::Exists.to_string(),
        io::ErrorKind::IsADirectory => OfsError::IsADirectory.to_string(),
        io::ErrorKind::NotADirectory => OfsError::NotADirectory.to_string(),
        io::ErrorKind::DirectoryNotEmpty => OfsError::NotEmpty.to_string(),
        io::ErrorKind::PermissionDenied => "Permission denied".to_owned(),
        _ => error.to_string(),
    }
}

impl From<CliError> for FsError {
    fn from(error: CliError) -> Self {
        match error {
            CliError::Output(error) => Self::Output(error),
            other => Self::Other(other.report()),
        }
    }
}
