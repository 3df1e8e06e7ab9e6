//! Multipart uploads.

use ozone_client::Objects;
use ozone_client::objects::{CopyFrom, KeyName, S3Key, UploadsPage};
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::attributes::{headers, tags_of_header};
use crate::body::{self, Promised, hex};
use crate::buckets::{owner, timestamp};
use crate::conditions::{self, Conditions};
use crate::copy::{source, source_conditions};
use crate::documents;
use crate::error::{answer, refuse};
use crate::gateway::{Answer, Gateway};
use crate::names;
use crate::objects::{promised, stored};
use crate::whole;

/// Entries of one page at most.
const MAX_PAGE: i32 = 1000;

/// The tag of a part that was copied: nobody has read its bytes, so it names them.
fn copied(etag: &str, range: Option<&std::ops::Range<u64>>) -> String {
    hex(&Md5::checksum(format!("{etag} {range:?}").as_bytes()))
}

fn part_number(number: i32) -> S3Result<u32> {
    let number = u32::try_from(number)
        .ok()
        .filter(|n| (1..=10_000).contains(n));
    number.ok_or_else(|| {
        s3_error!(
            InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive"
        )
    })
}

fn page_size(asked: Option<i32>) -> S3Result<u32> {
    u32::try_from(asked.unwrap_or(MAX_PAGE).min(MAX_PAGE))
        .map_err(|_| s3_error!(InvalidArgument, "the size of a page must not be negative"))
}

/// `bytes=first-last`, both there, within the source.
fn copied_range(text: Option<&String>, size: u64) -> S3Result<Option<std::ops::Range<u64>>> {
    let Some(text) = text else { return Ok(None) };
    let invalid = || -> S3Error {
        s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last"
        )
    };
    let (first, last) = match Range::parse(text).map_err(|_| invalid())? {
        Range::Int {
            first,
            last: Some(last),
        } => (first, last),
        _ => return Err(invalid()),
    };
    if last >= size {
        return Err(s3_error!(
            InvalidRange,
            "The range is beyond the end of the source"
        ));
    }
    Ok(Some(first..last + 1))
}

impl Gateway {
    async fn name<'a>(
        &'a self,
        objects: &Objects,
        bucket: &'a str,
        key: &'a str,
    ) -> S3Result<KeyName<'a>> {
        names::file(objects, &self.volume, bucket, key).await
    }

    pub(crate) async fn multipart_create(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let input = &request.input;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let input = &mut request.input;
        let key = S3Key {
            metadata: headers!(input).into_pairs()?,
            tags: tags_of_header(input.tagging.as_deref())?,
            ..Default::default()
        };
        let name = self.name(&objects, &input.bucket, &input.key).await?;
        let id = objects.begin_multipart(name, key).await.map_err(answer)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    pub(crate) async fn multipart_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> Answer<UploadPartOutput> {
        let (bucket, owner) = (
            request.input.bucket.clone(),
            request.input.expected_bucket_owner.clone(),
        );
        let objects = self.objects_of(&request, &bucket, owner.as_ref()).await?;
        let promised = promised!(request, request.input);
        let input = &mut request.input;
        let name = self.name(&objects, &input.bucket, &input.key).await?;
        let number = part_number(input.part_number)?;
        let mut upload = objects.upload(name, None);
        let received = body::receive(input.body.take(), promised, &mut upload).await?;
        let stored = upload
            .put_part(&input.upload_id, number, &received.etag)
            .await;
        stored.map_err(answer)?;
        Ok(S3Response::new(stored!(UploadPartOutput, received)))
    }

    pub(crate) async fn multipart_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        let input = &request.input;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let number = part_number(input.part_number)?;
        let (bucket, key) = source(&input.copy_source)?;
        let from = self.name(&objects, bucket, key).await?;
        let to = self.name(&objects, &input.bucket, &input.key).await?;
        let conditions = source_conditions!(input);
        let owner = input.expected_source_bucket_owner.as_ref();
        let found = self
            .source_key(&objects, from, (&conditions, owner))
            .await?;
        let range = copied_range(input.copy_source_range.as_ref(), found.size())?;
        let etag = copied(&found.etag, range.as_ref());
        let copy = CopyFrom {
            name: from,
            etag: &found.etag,
            replace_metadata: false,
            replace_tags: false,
        };
        let part = (input.upload_id.as_str(), number, etag.as_str());
        let modified = objects
            .copy_part((copy, range), to, part)
            .await
            .map_err(answer)?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(ETag::Strong(etag)),
                last_modified: Some(timestamp(modified)),
                ..Default::default()
            }),
            ..Default::default()
        }))
    }

    pub(crate) async fn multipart_complete(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let input = &request.input;
        whole::refuse_checksums(input)?;
        documents::verify(&request)?;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let name = self.name(&objects, &input.bucket, &input.key).await?;
        let (if_absent, if_match) =
            conditions::of_write(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let listed = input
            .multipart_upload
            .as_ref()
            .and_then(|upload| upload.parts.as_ref());
        let parts = listed.map_or(&[][..], Vec::as_slice).iter().map(|part| {
            let number = part_number(part.part_number.unwrap_or_default())?;
            let etag = part.e_tag.as_ref().map(|etag| etag.value().to_owned());
            Ok((number, etag.unwrap_or_default()))
        });
        let parts: Vec<(u32, String)> = parts.collect::<S3Result<_>>()?;
        if parts.is_empty() {
            return Err(s3_error!(MalformedXML, "The list of parts is empty"));
        }
        if let Some(size) = input.mpu_object_size {
            let of = (input.upload_id.as_str(), parts.as_slice(), size);
            whole::check_size(&objects, name, of).await?;
        }
        let etag = whole::tag(&parts);
        let key = S3Key {
            etag: Some(etag.clone()),
            if_absent,
            if_match,
            ..Default::default()
        };
        let completed = objects
            .complete_multipart(name, &input.upload_id, (&parts, key))
            .await;
        completed.map_err(answer)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            e_tag: Some(ETag::Strong(etag)),
            ..Default::default()
        }))
    }

    pub(crate) async fn multipart_abort(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let input = &request.input;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let name = self.name(&objects, &input.bucket, &input.key).await?;
        let aborted = objects.abort_multipart(name, &input.upload_id).await;
        aborted.map_err(answer)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(crate) async fn multipart_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> Answer<ListPartsOutput> {
        let input = &request.input;
        let expected = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, expected).await?;
        let name = self.name(&objects, &input.bucket, &input.key).await?;
        let limit = page_size(input.max_parts)?;
        let after = input
            .part_number_marker
            .unwrap_or_default()
            .max(0)
            .cast_unsigned();
        let page = objects
            .list_parts(name, &input.upload_id, (after, limit))
            .await;
        let mut page = page.map_err(answer)?;
        if limit == 0 {
            page.parts_list.clear();
            page.is_truncated = None;
        }
        let part = |part: &ozone_client::wire::om::PartInfo| Part {
            e_tag: part.e_tag.clone().map(ETag::Strong),
            last_modified: Some(timestamp(part.modification_time)),
            part_number: i32::try_from(part.part_number).ok(),
            size: i64::try_from(part.size).ok(),
            ..Default::default()
        };
        let more = page.is_truncated();
        let last = page.next_part_number_marker.filter(|_| more);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(input.upload_id.clone()),
            part_number_marker: Some(input.part_number_marker.unwrap_or_default()),
            next_part_number_marker: last.and_then(|last| i32::try_from(last).ok()),
            max_parts: i32::try_from(limit).ok(),
            is_truncated: Some(more),
            parts: Some(page.parts_list.iter().map(part).collect()),
            owner: Some(owner(page.owner())),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..Default::default()
        }))
    }

    pub(crate) async fn multipart_list(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let input = &request.input;
        let expected = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, expected).await?;
        if input.delimiter.is_some() || input.encoding_type.is_some() {
            let what = "delimiter and encoding-type of a list of uploads are not implemented";
            return Err(refuse(S3ErrorCode::NotImplemented, what));
        }
        let limit = page_size(input.max_uploads)?;
        let page = UploadsPage {
            prefix: input.prefix.clone().unwrap_or_default(),
            key_marker: input.key_marker.clone().unwrap_or_default(),
            id_marker: input.upload_id_marker.clone().unwrap_or_default(),
            limit,
        };
        let found = objects
            .list_multipart(&self.volume, &input.bucket, page)
            .await;
        let mut found = found.map_err(answer)?;
        if limit == 0 {
            found.uploads_list.clear();
            found.is_truncated = None;
        }
        let more = found.is_truncated();
        let last = found.uploads_list.last().filter(|_| more);
        let upload = |upload: &ozone_client::wire::om::MultipartUploadInfo| MultipartUpload {
            initiated: Some(timestamp(upload.creation_time)),
            key: Some(upload.key_name.clone()),
            owner: Some(owner(upload.owner())),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            upload_id: Some(upload.upload_id.clone()),
            ..Default::default()
        };
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket.clone()),
            prefix: input.prefix.clone(),
            key_marker: Some(input.key_marker.clone().unwrap_or_default()),
            upload_id_marker: Some(input.upload_id_marker.clone().unwrap_or_default()),
            next_key_marker: last.map(|last| last.key_name.clone()),
            next_upload_id_marker: last.map(|last| last.upload_id.clone()),
            max_uploads: i32::try_from(limit).ok(),
            is_truncated: Some(more),
            uploads: Some(found.uploads_list.iter().map(upload).collect()),
            ..Default::default()
        }))
    }
}
