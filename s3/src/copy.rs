//! Copies: the OM lets both keys refer to the same blocks, no byte is moved.

use http::header::{IF_MATCH, IF_NONE_MATCH};
use ozone_client::Objects;
use ozone_client::objects::{CopyFrom, KeyName, S3Key};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::attributes::{headers, tags_of_header};
use crate::buckets::timestamp;
use crate::conditions::{self, Conditions};
use crate::error::answer;
use crate::gateway::{Answer, Gateway};
use crate::names;
use crate::objects::refuse_versions;
use crate::read::Key;

/// Takes the conditions on a copy's source out of an input.
macro_rules! source_conditions {
    ($input:expr) => {
        Conditions {
            if_match: $input
                .copy_source_if_match
                .as_ref()
                .map($crate::conditions::ETags::of),
            if_none_match: $input
                .copy_source_if_none_match
                .as_ref()
                .map($crate::conditions::ETags::of),
            if_modified_since: $input.copy_source_if_modified_since.clone(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.clone(),
        }
    };
}
pub(crate) use source_conditions;

/// Bucket and key of a copy's source.
pub(crate) fn source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => {
            refuse_versions(version_id.as_deref().map(str::to_owned).as_ref())?;
            match key.starts_with(names::SNAPSHOTS) {
                false => Ok((bucket, key)),
                true => Err(s3_error!(
                    NotImplemented,
                    "a copy out of a snapshot is not implemented: get it and put it"
                )),
            }
        }
        _ => Err(s3_error!(
            NotImplemented,
            "access points are not implemented"
        )),
    }
}

impl Gateway {
    /// The source of a copy, as the user may see it and as the conditions want it.
    pub(crate) async fn source_key(
        &self,
        objects: &Objects,
        name: KeyName<'_>,
        (conditions, owner): (&Conditions, Option<&String>),
    ) -> S3Result<Key> {
        self.check_owner(objects, name.bucket, owner).await?;
        let info = objects.head_object(name).await.map_err(answer)?;
        let key = Key::new(info, name.key)?;
        conditions.check_source(&key.state())?;
        Ok(key)
    }

    pub(crate) async fn object_copy(
        &self,
        mut request: S3Request<CopyObjectInput>,
    ) -> Answer<CopyObjectOutput> {
        let input = &request.input;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        // `s3s` knows no conditions on what is copied onto.
        let (if_absent, if_match) = conditions::of_write(
            conditions::header(&request.headers, &IF_MATCH)?.as_ref(),
            conditions::header(&request.headers, &IF_NONE_MATCH)?.as_ref(),
        )?;
        let input = &mut request.input;
        let replaced = directive(
            input
                .metadata_directive
                .as_ref()
                .map(MetadataDirective::as_str),
        )?;
        let retagged = directive(
            input
                .tagging_directive
                .as_ref()
                .map(TaggingDirective::as_str),
        )?;
        let own = headers!(input).into_pairs()?;
        let (bucket, key) = source(&input.copy_source)?;
        let from = names::key(&objects, &self.volume, bucket, key).await?;
        let to = names::file(&objects, &self.volume, &input.bucket, &input.key).await?;
        if from == to && !replaced && !retagged && input.storage_class.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let conditions = source_conditions!(input);
        let owner = input.expected_source_bucket_owner.as_ref();
        let found = self
            .source_key(&objects, from, (&conditions, owner))
            .await?;
        let new = S3Key {
            metadata: own,
            tags: tags_of_header(input.tagging.as_deref())?,
            if_absent,
            if_match,
            ..Default::default()
        };
        let copy = CopyFrom {
            name: from,
            etag: &found.etag,
            replace_metadata: replaced,
            replace_tags: retagged,
        };
        let modified = objects.copy_object(copy, to, new).await.map_err(answer)?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(ETag::Strong(modified.1)),
                last_modified: Some(timestamp(modified.0)),
                ..Default::default()
            }),
            ..Default::default()
        }))
    }
}

/// Whether a directive says REPLACE.
fn directive(text: Option<&str>) -> S3Result<bool> {
    match text {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "a directive is COPY or REPLACE")),
    }
}
