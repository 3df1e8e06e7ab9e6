//! Keys as S3 knows them: with an ETag, metadata and tags, written and read by one call where they are small, listed
//! in the order of their bytes; and the secrets that S3's users sign with.

use ozone_proto::hdds::KeyValue;
use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;
use ozone_proto::om::{
    DeleteKeyRequest, GetKeyInfoRequest, GetS3SecretRequest, KeyArgs, KeyInfo, ListObjectsRequest,
    ListObjectsResponse, LookupS3SecretRequest, PutKeyRequest, ReadKeyRequest,
    RevokeS3SecretRequest, SetS3SecretRequest,
};

use super::upload::Upload;
use super::{KeyName, Objects, ask};
use crate::data::FileReader;
use crate::{ClientError, Result};

/// Under which name a key's metadata hold its ETag.
const ETAG: &str = "ETag";
/// `expectedDataGeneration` of a key that must not exist yet.
const NOTHING: u64 = u64::MAX;

/// What S3 keeps with a key, and under which conditions it is put.
#[derive(Debug, Clone, Default)]
pub struct S3Key {
    /// The digest of the content, without quotes; none for what has no content.
    pub etag: Option<String>,
    /// Names and values.
    pub metadata: Vec<(String, String)>,
    /// Tags.
    pub tags: Vec<(String, String)>,
    /// Only if nothing has the name.
    pub if_absent: bool,
    /// Only if what has the name has this ETag; `*` for any.
    pub if_match: Option<String>,
}

/// Which part of a bucket to list.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// Keys that begin with this.
    pub prefix: String,
    /// What ends a group of keys that are listed as one; empty for none.
    pub delimiter: String,
    /// Keys behind this one.
    pub after: String,
    /// At most so many keys and groups.
    pub limit: u32,
}

/// A page of a listing.
pub type ListedPage = ListObjectsResponse;

/// Pairs as messages have them.
pub(super) fn pairs(pairs: &[(String, String)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(String, String)| KeyValue {
        key: key.clone(),
        value: Some(value.clone()),
    };
    pairs.iter().map(pair).collect()
}

fn request(volume: &str, bucket: &str, list: &ListRequest) -> ListObjectsRequest {
    ListObjectsRequest {
        volume_name: volume.to_owned(),
        bucket_name: bucket.to_owned(),
        prefix: Some(list.prefix.clone()),
        delimiter: Some(list.delimiter.clone()),
        after: Some(list.after.clone().into_bytes().into()),
        limit: Some(list.limit),
        inodes: None,
    }
}

impl S3Key {
    /// The request's arguments with all of this in them.
    pub(super) fn apply_to(&self, args: KeyArgs) -> KeyArgs {
        let mut metadata = pairs(&self.metadata);
        metadata.extend(self.etag.iter().map(|etag| KeyValue {
            key: ETAG.to_owned(),
            value: Some(etag.clone()),
        }));
        KeyArgs {
            metadata,
            tags: pairs(&self.tags),
            expected_data_generation: self.if_absent.then_some(NOTHING),
            expected_e_tag: self.if_match.clone(),
            ..args
        }
    }
}

impl Upload {
    /// Makes the key visible, in place of what had its name. Gives the time of its last change, in
    /// milliseconds since the epoch.
    pub async fn put(self, key: S3Key) -> Result<u64> {
        let (objects, written) = self.finish().await?;
        let request = PutKeyRequest {
            key_args: key.apply_to(written.args),
        };
        let put = ask!(objects, PutKey, PutKey, request);
        if let Some(writer) = written.writer {
            writer.close().await;
        }
        Ok(put?.modification_time())
    }
}

impl Objects {
    /// A key's description, without where its blocks are.
    pub async fn head_object(&self, name: KeyName<'_>) -> Result<KeyInfo> {
        let request = GetKeyInfoRequest {
            key_args: KeyArgs {
                head_op: Some(true),
                ..name.args()
            },
            assume_s3_context: None,
        };
        let answer = ask!(self, GetKeyInfoRequest, GetKeyInfoResponse, request)?;
        let missing = || ClientError::protocol("OM", "a key without its description");
        answer.key_info.ok_or_else(missing)
    }

    /// A key's description and, unless it is a directory, a reader of its content, by one call.
    pub async fn read_object(&self, name: KeyName<'_>) -> Result<(KeyInfo, Option<FileReader>)> {
        let request = ReadKeyRequest {
            key_args: name.args(),
        };
        let answer = ask!(self, ReadKey, ReadKey, request)?;
        let missing = || ClientError::protocol("OM", "a key without its description");
        let info = answer.key_info.ok_or_else(missing)?;
        let Some(map) = answer.map else {
            return Ok((info, None));
        };
        let inode = info.inode.clone().ok_or_else(missing)?;
        let reader = self.data.reader_knowing(inode, map)?;
        Ok((info, Some(reader)))
    }

    /// Removes a key as S3 does.
    pub async fn delete_object(&self, name: KeyName<'_>, if_match: Option<String>) -> Result<()> {
        let request = DeleteKeyRequest {
            key_args: KeyArgs {
                expected_e_tag: if_match,
                ..name.args()
            },
            keep: None,
            as_object: Some(true),
        };
        ask!(self, DeleteKeyRequest, DeleteKeyResponse, request).map(drop)
    }

    /// A page of a bucket's keys in the order of their bytes.
    pub async fn list_objects(
        &self,
        volume: &str,
        bucket: &str,
        list: &ListRequest,
    ) -> Result<ListedPage> {
        let request = request(volume, bucket, list);
        ask!(self, ListObjects, ListObjects, request)
    }

    /// As [`list_objects`](Self::list_objects), of an object-store bucket, with the inodes of its keys.
    pub async fn list_inodes(
        &self,
        volume: &str,
        bucket: &str,
        list: &ListRequest,
    ) -> Result<ListedPage> {
        let request = ListObjectsRequest {
            inodes: Some(true),
            ..request(volume, bucket, list)
        };
        ask!(self, ListObjects, ListObjects, request)
    }

    /// Makes a secret for a user who has none.
    pub async fn get_s3_secret(&self, user: &str) -> Result<String> {
        let request = GetS3SecretRequest {
            kerberos_id: user.to_owned(),
            create_if_not_exist: Some(true),
            generated: None,
        };
        let answer = ask!(self, GetS3SecretRequest, GetS3SecretResponse, request)?;
        Ok(answer.s3_secret.aws_secret)
    }

    /// Sets a user's secret.
    pub async fn set_s3_secret(&self, user: &str, secret: &str) -> Result<()> {
        let request = SetS3SecretRequest {
            access_id: user.to_owned(),
            secret_key: secret.to_owned(),
        };
        ask!(self, SetS3SecretRequest, SetS3SecretResponse, request).map(drop)
    }

    /// Takes a user's secret away.
    pub async fn revoke_s3_secret(&self, user: &str) -> Result<()> {
        let request = RevokeS3SecretRequest {
            kerberos_id: user.to_owned(),
        };
        ask!(self, RevokeS3SecretRequest, RevokeS3SecretResponse, request).map(drop)
    }

    /// The secret by which a user's signature is verified.
    pub async fn lookup_s3_secret(&self, access_id: &str) -> Result<Option<String>> {
        let request = LookupS3SecretRequest {
            access_id: access_id.to_owned(),
        };
        Ok(ask!(self, LookupS3Secret, LookupS3Secret, request)?.secret_key)
    }
}
