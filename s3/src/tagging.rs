//! Tags of keys.

use s3s::dto::*;
use s3s::{S3Request, S3Response};

use crate::attributes::tags_of_set;
use crate::documents;
use crate::error::answer;
use crate::gateway::{Answer, Gateway};
use crate::names;
use crate::objects::refuse_versions;
use crate::read::Key;

impl Gateway {
    pub(crate) async fn tagging_put(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> Answer<PutObjectTaggingOutput> {
        documents::verify(&request)?;
        let input = &request.input;
        refuse_versions(input.version_id.as_ref())?;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let name = names::key(&objects, &self.volume, &input.bucket, &input.key).await?;
        let tags = tags_of_set(&input.tagging.tag_set)?;
        objects.set_tags(name, &tags).await.map_err(answer)?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    pub(crate) async fn tagging_get(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> Answer<GetObjectTaggingOutput> {
        let input = &request.input;
        refuse_versions(input.version_id.as_ref())?;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let name = names::key(&objects, &self.volume, &input.bucket, &input.key).await?;
        let info = objects.head_object(name).await.map_err(answer)?;
        let key = Key::new(info, &input.key)?;
        let tags = key.info.tags.into_iter();
        let tag = |pair: ozone_client::wire::hdds::KeyValue| Tag {
            key: Some(pair.key),
            value: Some(pair.value.unwrap_or_default()),
        };
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: tags.map(tag).collect(),
            version_id: None,
        }))
    }

    pub(crate) async fn tagging_delete(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> Answer<DeleteObjectTaggingOutput> {
        let input = &request.input;
        refuse_versions(input.version_id.as_ref())?;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let name = names::key(&objects, &self.volume, &input.bucket, &input.key).await?;
        objects.set_tags(name, &[]).await.map_err(answer)?;
        Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
    }
}
