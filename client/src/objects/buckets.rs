//! Buckets.

use ozone_proto::hdds::DefaultReplicationConfig;
use ozone_proto::namespace::Replication;
use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;
use ozone_proto::om::{
    BucketInfo, BucketLayoutProto, CreateBucketRequest, DeleteBucketRequest, InfoBucketRequest,
    ListBucketsRequest, StorageTypeProto,
};

use super::{Objects, Page, ask};
use crate::{ClientError, Result};

/// What a new bucket is to be like; the server decides what is not said.
#[derive(Debug, Clone, Default)]
pub struct NewBucket {
    /// How names are kept.
    pub layout: Option<BucketLayoutProto>,
    /// How keys are replicated.
    pub replication: Option<Replication>,
    /// The user who owns it; the caller when not said.
    pub owner: Option<String>,
}

impl Objects {
    /// Makes a bucket.
    pub async fn create_bucket(&self, volume: &str, bucket: &str, new: NewBucket) -> Result<()> {
        let owner = new
            .owner
            .unwrap_or_else(|| self.namespace.om().caller().user.clone());
        let info = BucketInfo {
            volume_name: volume.to_owned(),
            bucket_name: bucket.to_owned(),
            storage_type: StorageTypeProto::Disk.into(),
            bucket_layout: new.layout.map(Into::into),
            owner: Some(owner),
            default_replication_config: new.replication.map(|replication| {
                DefaultReplicationConfig {
                    r#type: replication.r#type,
                    factor: Some(replication.factor),
                    ec_replication_config: None,
                }
            }),
            ..Default::default()
        };
        self.create_bucket_with(info).await
    }

    /// Makes a bucket as described, quotas included.
    pub async fn create_bucket_with(&self, bucket_info: BucketInfo) -> Result<()> {
        let request = CreateBucketRequest { bucket_info };
        ask!(self, CreateBucketRequest, CreateBucketResponse, request).map(drop)
    }

    /// What is known of a bucket.
    pub async fn info_bucket(&self, volume: &str, bucket: &str) -> Result<BucketInfo> {
        let request = InfoBucketRequest {
            volume_name: volume.to_owned(),
            bucket_name: bucket.to_owned(),
        };
        let answer = ask!(self, InfoBucketRequest, InfoBucketResponse, request)?;
        let missing = || ClientError::protocol("OM", "a bucket without its description");
        answer.bucket_info.ok_or_else(missing)
    }

    /// Buckets in the order of their names.
    pub async fn list_buckets(&self, volume: &str, page: &Page) -> Result<Vec<BucketInfo>> {
        let request = ListBucketsRequest {
            volume_name: volume.to_owned(),
            start_key: Some(page.start.clone()),
            prefix: Some(page.prefix.clone()),
            count: (page.limit > 0).then_some(page.limit as i32),
            has_snapshot: None,
        };
        Ok(ask!(self, ListBucketsRequest, ListBucketsResponse, request)?.bucket_info)
    }

    /// Removes an empty bucket.
    pub async fn delete_bucket(&self, volume: &str, bucket: &str) -> Result<()> {
        let request = DeleteBucketRequest {
            volume_name: volume.to_owned(),
            bucket_name: bucket.to_owned(),
        };
        ask!(self, DeleteBucketRequest, DeleteBucketResponse, request).map(drop)
    }
}
