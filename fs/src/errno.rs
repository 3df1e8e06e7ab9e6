//! Failures of the mount, and the one place where they become the errno that a program sees.

use nix::errno::Errno;
use ozone_client::ClientError;

/// Result of a filesystem operation.
pub(crate) type Result<T, E = FsError> = std::result::Result<T, E>;

/// Why an operation was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FsError {
    /// The cluster refused or could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The mount itself refuses, as POSIX says.
    #[error("{}", .0.desc())]
    Posix(#[from] Errno),
}

impl FsError {
    /// The errno of this failure; never 0.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Client(error) => error.errno(),
            Self::Posix(errno) => *errno as i32,
        }
    }

    /// Whether a program sees this failure as `errno`.
    pub fn is(&self, errno: Errno) -> bool {
        self.errno() == errno as i32
    }
}
