//! The type code of each OM command, which Ozone's envelope carries beside the command itself.

use ozone_proto::om::Type;
use ozone_proto::om::om_request::Body;

/// The code of a command.
pub(crate) fn type_of(body: &Body) -> Type {
    match body {
        Body::CreateVolumeRequest(_) => Type::CreateVolume,
        Body::InfoVolumeRequest(_) => Type::InfoVolume,
        Body::DeleteVolumeRequest(_) => Type::DeleteVolume,
        Body::ListVolumeRequest(_) => Type::ListVolume,
        Body::CreateBucketRequest(_) => Type::CreateBucket,
        Body::InfoBucketRequest(_) => Type::InfoBucket,
        Body::DeleteBucketRequest(_) => Type::DeleteBucket,
        Body::ListBucketsRequest(_) => Type::ListBuckets,
        Body::CreateKeyRequest(_) => Type::CreateKey,
        Body::LookupKeyRequest(_) => Type::LookupKey,
        Body::RenameKeyRequest(_) => Type::RenameKey,
        Body::DeleteKeyRequest(_) => Type::DeleteKey,
        Body::ListKeysRequest(_) => Type::ListKeys,
        Body::CommitKeyRequest(_) => Type::CommitKey,
        Body::AllocateBlockRequest(_) => Type::AllocateBlock,
        Body::ServiceListRequest(_) => Type::ServiceList,
        Body::GetKeyInfoRequest(_) => Type::GetKeyInfo,
        Body::Lookup(_) => Type::Lookup,
        Body::GetAttr(_) => Type::GetAttr,
        Body::ReadDir(_) => Type::ReadDir,
        Body::GetExtents(_) => Type::GetExtents,
        Body::Open(_) => Type::Open,
        Body::Release(_) => Type::Release,
        Body::StatFs(_) => Type::StatFs,
        Body::Create(_) => Type::Create,
        Body::Link(_) => Type::Link,
        Body::Unlink(_) => Type::Unlink,
        Body::Rename(_) => Type::Rename,
        Body::SetAttr(_) => Type::SetAttr,
        Body::Commit(_) => Type::Commit,
        Body::AllocateBlocks(_) => Type::AllocateBlocks,
        Body::OpenSession(_) => Type::OpenSession,
        Body::KeepAlive(_) => Type::KeepAlive,
        Body::CloseSession(_) => Type::CloseSession,
        Body::DropOrphans(_) => Type::DropOrphans,
        Body::Purge(_) => Type::Purge,
        Body::ReleaseBlocks(_) => Type::ReleaseBlocks,
        Body::RenewLeases(_) => Type::RenewLeases,
        Body::Fold(_) => Type::Fold,
        Body::Batch(_) => Type::Batch,
        Body::ReserveIds(_) => Type::ReserveIds,
    }
}
