//! The one table from this system's errors to POSIX error numbers.
//!
//! Both matches are exhaustive: a code that is added to the protocol does not compile until it has
//! an errno here.

use ozone_proto::hdds::datanode::Result as NodeResult;
use ozone_proto::om::Status;

use crate::ClientError;

impl ClientError {
    /// The error number that a POSIX caller sees.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Om { status, .. } => of_status(*status),
            Self::Datanode { result, .. } => of_result(*result),
            Self::NoOm { .. } | Self::Timeout { .. } => libc::ETIMEDOUT,
            Self::Names(error) => of_name(error),
            Self::Config(_) => libc::EINVAL,
            Self::Unavailable { .. }
            | Self::ChecksumMismatch { .. }
            | Self::Behind { .. }
            | Self::SessionExpired
            | Self::Protocol { .. }
            | Self::Input { .. } => libc::EIO,
        }
    }
}

/// The error number of an OM status; 0 for `OK`.
pub fn of_status(status: Status) -> i32 {
    use Status as S;
    match status {
        S::Ok => 0,
        S::VolumeNotFound
        | S::BucketNotFound
        | S::KeyNotFound
        | S::FileNotFound
        | S::DirectoryNotFound
        | S::S3SecretNotFound
        | S::NoSuchMultipartUploadError
        | S::UserNotFound => libc::ENOENT,
        S::VolumeNotUnique
        | S::VolumeAlreadyExists
        | S::BucketAlreadyExists
        | S::KeyAlreadyExists
        | S::FileAlreadyExists
        | S::S3SecretAlreadyExists
        | S::DirectoryAlreadyExists => libc::EEXIST,
        S::VolumeNotEmpty | S::BucketNotEmpty | S::DirectoryNotEmpty => libc::ENOTEMPTY,
        S::NotADirectory => libc::ENOTDIR,
        S::IsADirectory | S::NotAFile => libc::EISDIR,
        S::Stale => libc::ESTALE,
        S::AccessDenied => libc::EACCES,
        S::PermissionDenied | S::CannotCreateDirectoryAtRoot => libc::EPERM,
        S::CrossDevice => libc::EXDEV,
        S::NoSpace => libc::ENOSPC,
        S::QuotaExceeded | S::UserTooManyVolumes => libc::EDQUOT,
        S::NameTooLong => libc::ENAMETOOLONG,
        S::InvalidKeyName
        | S::InvalidBucketName
        | S::InvalidVolumeName
        | S::InvalidPath
        | S::InvalidRequest
        | S::InvalidSnapshotError
        | S::InvalidPart
        | S::InvalidPartOrder
        | S::EntityTooSmall
        | S::InvalidLoop => libc::EINVAL,
        S::TooManyLinks => libc::EMLINK,
        S::DetectedLoopInBucketLinks => libc::ELOOP,
        S::NoData => libc::ENODATA,
        S::NotSupportedOperation | S::FeatureNotEnabled => libc::EOPNOTSUPP,
        S::ReadOnly => libc::EROFS,
        S::ContainsSnapshot => libc::EBUSY,
        S::AtomicWriteConflict
        | S::EtagMismatch
        | S::NotLeader
        | S::ScmInSafeMode
        | S::OmNotInitialized => libc::EAGAIN,
        S::Timeout => libc::ETIMEDOUT,
        S::SessionExpired
        | S::InternalError
        | S::KeyAllocationError
        | S::KeyDeletionError
        | S::KeyRenameError
        | S::MetadataError
        | S::RatisError => libc::EIO,
    }
}

/// The error number of a datanode's result; 0 for `SUCCESS`.
pub fn of_result(result: NodeResult) -> i32 {
    use NodeResult as R;
    match result {
        R::Success => 0,
        R::UnsupportedRequest => libc::EOPNOTSUPP,
        R::MalformedRequest | R::InvalidArgument | R::InvalidWriteSize => libc::EINVAL,
        R::DiskOutOfSpace => libc::ENOSPC,
        R::BlockTokenVerificationFailed => libc::EACCES,
        R::ContainerInternalError
        | R::ContainerExists
        | R::ContainerNotFound
        | R::IoException
        | R::NoSuchBlock
        | R::ChecksumMismatch
        | R::UnableToFindChunk
        | R::ClosedContainerIo
        | R::UnclosedContainerIo
        | R::DeleteOnOpenContainer
        | R::InvalidContainerState
        | R::BlockNotCommitted
        | R::ContainerUnhealthy
        | R::UnknownBcsid
        | R::BcsidMismatch
        | R::ContainerNotOpen
        | R::ContainerMissing
        | R::ChunkFileInconsistency
        | R::DeleteOnNonEmptyContainer
        | R::BlockAlreadyFinalized
        | R::ContainerIdMismatch
        | R::PipelineNotLeader
        | R::PipelineNotFound => libc::EIO,
    }
}

fn of_name(error: &ozone_common::names::NameError) -> i32 {
    use ozone_common::names::NameError;
    match error {
        NameError::Length { length, max, .. } if length > max => libc::ENAMETOOLONG,
        _ => libc::EINVAL,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_status_but_ok_has_an_errno() {
        let all: Vec<Status> = (0..4096).filter_map(|n| Status::try_from(n).ok()).collect();
        assert!(all.len() > 40, "{}", all.len());
        for status in all {
            assert_eq!(of_status(status) == 0, status == Status::Ok, "{status:?}");
        }
        let all = (0..4096).filter_map(|n| NodeResult::try_from(n).ok());
        for result in all {
            assert_eq!(
                of_result(result) == 0,
                result == NodeResult::Success,
                "{result:?}"
            );
        }
    }

    #[test]
    fn what_programs_look_for_is_what_they_get() {
        let cases = [
            (Status::FileNotFound, libc::ENOENT),
            (Status::DirectoryAlreadyExists, libc::EEXIST),
            (Status::DirectoryNotEmpty, libc::ENOTEMPTY),
            (Status::CrossDevice, libc::EXDEV),
            (Status::NoSpace, libc::ENOSPC),
            (Status::QuotaExceeded, libc::EDQUOT),
            (Status::InvalidLoop, libc::EINVAL),
            (Status::Stale, libc::ESTALE),
        ];
        for (status, errno) in cases {
            assert_eq!(ClientError::om(status, "").errno(), errno, "{status:?}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_says_so() {
        let long = "x".repeat(256);
        let error = ozone_common::names::validate_key_component(&long).unwrap_err();
        assert_eq!(ClientError::from(error).errno(), libc::ENAMETOOLONG);
        let error = ozone_common::names::validate_key_component("a/b").unwrap_err();
        assert_eq!(ClientError::from(error).errno(), libc::EINVAL);
    }
}
