//! Keys: put and deleted.

use futures::StreamExt;
use ozone_client::Objects;
use ozone_client::objects::S3Key;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::attributes::{headers, tags_of_header};
use crate::body::{self, Promised};
use crate::conditions;
use crate::documents;
use crate::error::{answer, is_xml, refuse};
use crate::gateway::{Answer, Gateway};
use crate::names;

/// Keys that one request may delete.
const MAX_DELETES: usize = 1000;
/// Keys that are deleted at a time.
const CONCURRENT: usize = 32;

/// What the headers of an upload say of its bytes.
macro_rules! promised {
    ($request:expr, $input:expr) => {
        Promised {
            length: $input.content_length.and_then(|n| u64::try_from(n).ok()),
            md5: $input.content_md5.take(),
            checksum: Checksum {
                checksum_crc32: $input.checksum_crc32.take(),
                checksum_crc32c: $input.checksum_crc32c.take(),
                checksum_crc64nvme: $input.checksum_crc64nvme.take(),
                checksum_sha1: $input.checksum_sha1.take(),
                checksum_sha256: $input.checksum_sha256.take(),
                ..Default::default()
            },
            algorithm: body::announced(&$request.headers).or_else(|| {
                let named = $input.checksum_algorithm.as_ref();
                named.map(|name| name.as_str().to_owned())
            }),
            trailers: $request.trailing_headers.take(),
        }
    };
}
pub(crate) use promised;

/// The answer about bytes that were received: what they came to.
macro_rules! stored {
    ($output:ident, $received:expr) => {{
        let received = $received;
        $output {
            e_tag: Some(ETag::Strong(received.etag)),
            checksum_crc32: received.checksum.checksum_crc32,
            checksum_crc32c: received.checksum.checksum_crc32c,
            checksum_crc64nvme: received.checksum.checksum_crc64nvme,
            checksum_sha1: received.checksum.checksum_sha1,
            checksum_sha256: received.checksum.checksum_sha256,
            ..Default::default()
        }
    }};
}
pub(crate) use stored;

impl Gateway {
    pub(crate) async fn object_put(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> Answer<PutObjectOutput> {
        let owner = request.input.expected_bucket_owner.clone();
        let bucket = request.input.bucket.clone();
        let objects = self.objects_of(&request, &bucket, owner.as_ref()).await?;
        let promised = promised!(request, request.input);
        let input = &mut request.input;
        let name = names::key(&objects, &self.volume, &input.bucket, &input.key).await?;
        let (if_absent, if_match) =
            conditions::of_write(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let metadata = headers!(input).into_pairs()?;
        let tags = tags_of_header(input.tagging.as_deref())?;
        let mut upload = objects.upload(name, None);
        let received = body::receive(input.body.take(), promised, &mut upload).await?;
        let key = S3Key {
            etag: Some(received.etag.clone()),
            metadata,
            tags,
            if_absent,
            if_match,
        };
        upload.put(key).await.map_err(answer)?;
        Ok(S3Response::new(stored!(PutObjectOutput, received)))
    }

    pub(crate) async fn object_delete(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> Answer<DeleteObjectOutput> {
        let input = &request.input;
        refuse_versions(input.version_id.as_ref())?;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let if_match = conditions::of_write(input.if_match.as_ref(), None)?.1;
        self.delete(&objects, (&input.bucket, &input.key), if_match)
            .await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    /// Deletes a key; one that is not there is as good as deleted.
    async fn delete(
        &self,
        objects: &Objects,
        (bucket, key): (&str, &str),
        if_match: Option<String>,
    ) -> S3Result<()> {
        let name = names::key(objects, &self.volume, bucket, key).await?;
        match objects.delete_object(name, if_match.clone()).await {
            Err(error) if error.is_not_found() && if_match.is_none() => match answer(error) {
                error if error.code() == &s3s::S3ErrorCode::NoSuchKey => Ok(()),
                error => Err(error),
            },
            deleted => deleted.map_err(answer),
        }
    }

    pub(crate) async fn objects_delete(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        documents::verify(&request)?;
        let input = &request.input;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        if input.delete.objects.len() > MAX_DELETES {
            return Err(s3_error!(
                MalformedXML,
                "at most 1000 keys are deleted at once"
            ));
        }
        let unnameable = |item: &&ObjectIdentifier| !item.key.chars().all(is_xml);
        if let Some(item) = input.delete.objects.iter().find(unnameable) {
            let message = format!(
                "XML cannot hold the key {:?}: delete it by itself",
                item.key
            );
            return Err(refuse(s3s::S3ErrorCode::MalformedXML, message));
        }
        // Whether there is such a bucket is said once, not for each key.
        let info = objects.info_bucket(&self.volume, &input.bucket).await;
        info.map_err(answer)?;
        let one = |item: &ObjectIdentifier| {
            let (key, etag) = (item.key.clone(), item.e_tag.as_ref());
            let etag = etag.map(|etag| etag.value().to_owned());
            let refused = refuse_versions(item.version_id.as_ref()).and(refuse_conditions(item));
            let objects = &objects;
            async move {
                refused.map_err(|error| (key.clone(), error))?;
                let deleted = self.delete(objects, (&input.bucket, &key), etag).await;
                deleted.map(|()| key.clone()).map_err(|error| (key, error))
            }
        };
        let outcomes: Vec<_> = futures::stream::iter(input.delete.objects.iter().map(one))
            .buffered(CONCURRENT)
            .collect()
            .await;
        let quiet = input.delete.quiet == Some(true);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome {
                Ok(key) if !quiet => deleted.push(DeletedObject {
                    key: Some(key),
                    ..Default::default()
                }),
                Ok(_) => {}
                Err((key, error)) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(key),
                    version_id: None,
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..Default::default()
        }))
    }
}

/// Deletions depend on ETags only.
fn refuse_conditions(item: &ObjectIdentifier) -> S3Result<()> {
    match (item.size, &item.last_modified_time) {
        (None, None) => Ok(()),
        _ => Err(s3_error!(
            NotImplemented,
            "a condition on size or time is not implemented"
        )),
    }
}

/// There are no versions but the one that there is.
pub(crate) fn refuse_versions(version: Option<&String>) -> S3Result<()> {
    match version.map(String::as_str) {
        None | Some("" | "null") => Ok(()),
        Some(_) => Err(s3_error!(NotImplemented, "versions are not implemented")),
    }
}
