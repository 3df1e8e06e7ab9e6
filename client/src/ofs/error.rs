//! What goes wrong with a path, so that each gateway can say it as its own clients expect it.

use ozone_proto::om::Status;

use crate::ClientError;

/// A filesystem call that did not end well.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OfsError {
    /// Nothing is there.
    #[error("No such file or directory")]
    NotFound,
    /// Something is there already.
    #[error("File exists")]
    Exists,
    /// A directory where a file is needed.
    #[error("Is a directory")]
    IsADirectory,
    /// A file where a directory is needed.
    #[error("Is not a directory")]
    NotADirectory,
    /// A symbolic link, or another file without content.
    #[error("Is not a regular file")]
    NotRegular,
    /// A directory that is not empty.
    #[error("Directory is not empty")]
    NotEmpty,
    /// A change of what a snapshot holds.
    #[error("Read-only file system")]
    ReadOnly,
    /// Two places that are not in the same bucket.
    #[error("Cannot rename across different volumes or buckets")]
    OtherBucket,
    /// A bucket that is not kept as a tree.
    #[error(
        "Bucket: {bucket} has layout: {layout}, which does not support file system semantics. \
         Bucket Layout must be FILE_SYSTEM_OPTIMIZED or LEGACY."
    )]
    Layout {
        /// Its name.
        bucket: String,
        /// Its layout.
        layout: &'static str,
    },
    /// A request that the rules of `ofs` do not allow.
    #[error("{0}")]
    Refused(&'static str),
    /// A user or group that the system does not know.
    #[error("invalid {kind}: {name}")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The cluster refused for another reason, or could not be reached.
    #[error(transparent)]
    Client(ClientError),
}

/// What calls of this module give.
pub type Result<T, E = OfsError> = std::result::Result<T, E>;

impl From<ClientError> for OfsError {
    fn from(error: ClientError) -> Self {
        use Status as S;
        let Some(status) = error.om_status() else {
            return Self::Client(error);
        };
        match status {
            S::VolumeNotFound
            | S::BucketNotFound
            // A link that leads nowhere.
            | S::DetectedLoopInBucketLinks
            | S::KeyNotFound
            | S::FileNotFound
            | S::DirectoryNotFound => Self::NotFound,
            S::VolumeAlreadyExists
            | S::BucketAlreadyExists
            | S::KeyAlreadyExists
            | S::FileAlreadyExists
            | S::DirectoryAlreadyExists => Self::Exists,
            S::VolumeNotEmpty | S::BucketNotEmpty | S::DirectoryNotEmpty => Self::NotEmpty,
            S::NotADirectory => Self::NotADirectory,
            S::IsADirectory | S::NotAFile => Self::IsADirectory,
            S::ReadOnly => Self::ReadOnly,
            S::CrossDevice => Self::OtherBucket,
            _ => Self::Client(error),
        }
    }
}
