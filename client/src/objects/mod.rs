//! Volumes, buckets and keys: the object interface, as Ozone's shell and gateways know it.

mod buckets;
mod keys;
mod multipart;
mod s3;
mod snapshots;
mod upload;
mod volumes;

use bytes::Bytes;
use ozone_proto::namespace::{DirRef, Replication};
use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;
use ozone_proto::om::{InfoBucketRequest, ServiceInfo, ServiceListRequest};

use crate::data::Data;
use crate::namespace::{Namespace, ROOT, dir_of};
use crate::{ClientError, OwnSession, Result};

pub use buckets::NewBucket;
pub use keys::{KeyName, NewKey};
pub use multipart::{CopyFrom, UploadsPage};
pub use s3::{ListRequest, ListedPage, S3Key};
pub use snapshots::{BucketName, DiffPage, NewSnapshot, SnapshotPair};
pub use upload::Upload;

/// The object interface for one caller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    namespace: Namespace,
    data: Data,
    inline_limit: usize,
    session: OwnSession,
}

/// Which entries of a listing to give.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Names that start with this.
    pub prefix: String,
    /// Names after this one.
    pub start: String,
    /// At most so many; 0 for as many as the server gives at once.
    pub limit: u32,
}

/// Sends a request and takes the answer out of the envelope.
macro_rules! ask {
    ($objects:expr, $request:ident, $response:ident, $body:expr) => {
        match $objects.call(Request::$request($body)).await? {
            Some(Response::$response(answer)) => Ok(answer),
            _ => Err(ClientError::protocol(
                "OM",
                concat!("no answer to ", stringify!($request)),
            )),
        }
    };
}
pub(crate) use ask;

impl Objects {
    pub(crate) fn new(
        namespace: Namespace,
        data: Data,
        inline_limit: usize,
        session: OwnSession,
    ) -> Self {
        Self {
            namespace,
            data,
            inline_limit,
            session,
        }
    }

    async fn call(&self, body: Request) -> Result<Option<Response>> {
        self.namespace.om().call(body).await
    }

    /// The servers of the cluster.
    pub async fn service_list(&self) -> Result<Vec<ServiceInfo>> {
        let answer = ask!(
            self,
            ServiceListRequest,
            ServiceListResponse,
            ServiceListRequest {}
        )?;
        Ok(answer.service_info)
    }

    /// The root directory of a bucket.
    pub async fn bucket_dir(&self, volume: &str, bucket: &str) -> Result<DirRef> {
        let request = InfoBucketRequest {
            volume_name: volume.to_owned(),
            bucket_name: bucket.to_owned(),
        };
        let answer = ask!(self, InfoBucketRequest, InfoBucketResponse, request)?;
        if let Some(root) = answer.root {
            return Ok(root);
        }
        // A link that leads nowhere, of which a lookup tells what is missing.
        let volume = self.namespace.lookup(ROOT, volume.as_bytes()).await?;
        let bucket = self
            .namespace
            .lookup_bucket(dir_of(&volume)?, bucket.as_bytes())
            .await?;
        dir_of(&bucket)
    }
}

/// Replication as the fields that Ozone's messages have for it.
fn replication_fields(replication: Option<Replication>) -> (Option<i32>, Option<i32>) {
    match replication {
        Some(replication) => (Some(replication.r#type), Some(replication.factor)),
        None => (None, None),
    }
}

/// One buffer's worth of a source.
async fn read_some(source: &mut (impl tokio::io::AsyncRead + Unpin), most: usize) -> Result<Bytes> {
    use tokio::io::AsyncReadExt;
    let mut buffer = bytes::BytesMut::with_capacity(most);
    while buffer.len() < most {
        let left = most - buffer.len();
        let read = (&mut *source).take(left as u64).read_buf(&mut buffer).await;
        match read {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                let reason = error.to_string();
                return Err(ClientError::Input { reason });
            }
        }
    }
    Ok(buffer.freeze())
}
