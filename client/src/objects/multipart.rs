//! Multipart uploads: begun, filled part by part, completed or given up; and copies, which move no bytes.

use std::ops::Range;

use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;
use ozone_proto::om::{
    CopyKeyRequest, KeyArgs, ListMultipartUploadsRequest, ListMultipartUploadsResponse,
    MultipartCommitUploadPartRequest, MultipartInfoInitiateRequest, MultipartUploadAbortRequest,
    MultipartUploadCompleteRequest, MultipartUploadListPartsRequest,
    MultipartUploadListPartsResponse, Part, PutObjectTaggingRequest,
};

use super::s3::{S3Key, pairs};
use super::upload::Upload;
use super::{KeyName, Objects, ask};
use crate::{ClientError, Result};

/// What is copied.
#[derive(Debug, Clone, Copy)]
pub struct CopyFrom<'a> {
    /// The key.
    pub name: KeyName<'a>,
    /// The ETag that it has to have still.
    pub etag: &'a str,
    /// Whether the copy gets metadata of its own.
    pub replace_metadata: bool,
    /// Whether the copy gets tags of its own.
    pub replace_tags: bool,
}

/// Which uploads to list.
#[derive(Debug, Clone, Default)]
pub struct UploadsPage {
    /// Those of keys that begin with this.
    pub prefix: String,
    /// Those behind this key.
    pub key_marker: String,
    /// Of that key, those behind this upload.
    pub id_marker: String,
    /// At most so many.
    pub limit: u32,
}

fn of_upload(args: KeyArgs, id: &str) -> KeyArgs {
    KeyArgs {
        multipart_upload_id: Some(id.to_owned()),
        ..args
    }
}

fn of_part(args: KeyArgs, (id, number, etag): (&str, u32, &str)) -> KeyArgs {
    let key = S3Key {
        etag: Some(etag.to_owned()),
        ..Default::default()
    };
    KeyArgs {
        multipart_number: Some(number),
        ..of_upload(key.apply_to(args), id)
    }
}

impl CopyFrom<'_> {
    fn args(&self) -> KeyArgs {
        KeyArgs {
            expected_e_tag: Some(self.etag.to_owned()),
            ..self.name.args()
        }
    }
}

impl Upload {
    /// Stores what was written as a part of an upload.
    pub async fn put_part(self, id: &str, number: u32, etag: &str) -> Result<()> {
        let (objects, written) = self.finish().await?;
        let request = MultipartCommitUploadPartRequest {
            key_args: of_part(written.args, (id, number, etag)),
            client_id: 0,
        };
        let put = ask!(
            objects,
            CommitMultiPartUploadRequest,
            CommitMultiPartUploadResponse,
            request
        );
        if let Some(writer) = written.writer {
            writer.close().await;
        }
        put.map(drop)
    }
}

impl Objects {
    /// Makes a key of another's bytes. Gives the time of its last change and its ETag.
    pub async fn copy_object(
        &self,
        from: CopyFrom<'_>,
        to: KeyName<'_>,
        key: S3Key,
    ) -> Result<(u64, String)> {
        let request = CopyKeyRequest {
            source: from.args(),
            key_args: key.apply_to(to.args()),
            replace_metadata: Some(from.replace_metadata),
            replace_tags: Some(from.replace_tags),
            ..Default::default()
        };
        let copied = ask!(self, CopyKey, CopyKey, request)?;
        Ok((copied.modification_time(), copied.etag().to_owned()))
    }

    /// Makes a part of an upload of a key's bytes, or of some of them. Gives the time at which.
    pub async fn copy_part(
        &self,
        (from, range): (CopyFrom<'_>, Option<Range<u64>>),
        to: KeyName<'_>,
        part: (&str, u32, &str),
    ) -> Result<u64> {
        let request = CopyKeyRequest {
            source: from.args(),
            key_args: of_part(to.args(), part),
            offset: range.as_ref().map(|range| range.start),
            length: range.map(|range| range.end - range.start),
            ..Default::default()
        };
        Ok(ask!(self, CopyKey, CopyKey, request)?.modification_time())
    }

    /// Sets a key's tags.
    pub async fn set_tags(&self, name: KeyName<'_>, tags: &[(String, String)]) -> Result<()> {
        let request = PutObjectTaggingRequest {
            key_args: KeyArgs {
                tags: pairs(tags),
                ..name.args()
            },
        };
        ask!(
            self,
            PutObjectTaggingRequest,
            PutObjectTaggingResponse,
            request
        )
        .map(drop)
    }

    /// Begins an upload; its id.
    pub async fn begin_multipart(&self, name: KeyName<'_>, key: S3Key) -> Result<String> {
        let request = MultipartInfoInitiateRequest {
            key_args: key.apply_to(name.args()),
        };
        let begun = ask!(
            self,
            InitiateMultiPartUploadRequest,
            InitiateMultiPartUploadResponse,
            request
        )?;
        Ok(begun.multipart_upload_id)
    }

    /// Makes a key of parts, given by number and ETag.
    pub async fn complete_multipart(
        &self,
        name: KeyName<'_>,
        id: &str,
        (parts, key): (&[(u32, String)], S3Key),
    ) -> Result<()> {
        let part = |(number, etag): &(u32, String)| Part {
            part_number: *number,
            part_name: String::new(),
            e_tag: Some(etag.clone()),
        };
        let request = MultipartUploadCompleteRequest {
            key_args: of_upload(key.apply_to(name.args()), id),
            parts_list: parts.iter().map(part).collect(),
        };
        let done = ask!(
            self,
            CompleteMultiPartUploadRequest,
            CompleteMultiPartUploadResponse,
            request
        );
        done.map(drop)
    }

    /// Gives an upload up.
    pub async fn abort_multipart(&self, name: KeyName<'_>, id: &str) -> Result<()> {
        let request = MultipartUploadAbortRequest {
            key_args: of_upload(name.args(), id),
        };
        ask!(
            self,
            AbortMultiPartUploadRequest,
            AbortMultiPartUploadResponse,
            request
        )
        .map(drop)
    }

    /// A page of an upload's parts, behind a number.
    pub async fn list_parts(
        &self,
        name: KeyName<'_>,
        id: &str,
        (after, limit): (u32, u32),
    ) -> Result<MultipartUploadListPartsResponse> {
        let request = MultipartUploadListPartsRequest {
            volume: name.volume.to_owned(),
            bucket: name.bucket.to_owned(),
            key: name.key.to_owned(),
            upload_id: id.to_owned(),
            part_number_marker: Some(after),
            max_parts: Some(limit),
        };
        ask!(
            self,
            ListMultiPartUploadPartsRequest,
            ListMultiPartUploadPartsResponse,
            request
        )
    }

    /// A page of a bucket's uploads.
    pub async fn list_multipart(
        &self,
        volume: &str,
        bucket: &str,
        page: UploadsPage,
    ) -> Result<ListMultipartUploadsResponse> {
        let request = ListMultipartUploadsRequest {
            volume: volume.to_owned(),
            bucket: bucket.to_owned(),
            prefix: page.prefix,
            key_marker: Some(page.key_marker),
            upload_id_marker: Some(page.id_marker),
            max_uploads: Some(page.limit),
        };
        ask!(
            self,
            ListMultipartUploadsRequest,
            ListMultipartUploadsResponse,
            request
        )
    }
}
