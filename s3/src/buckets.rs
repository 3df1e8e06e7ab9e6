//! Buckets: those of the gateway's volume, which is made with the first of them.

use ozone_client::objects::{NewBucket, Page};
use ozone_client::wire::om::Status;
use ozone_client::{ClientError, Objects};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::documents;
use crate::error::answer;
use crate::gateway::{Answer, Gateway};
use crate::region::REGION;

/// The owner that all listings name, as Ozone's do.
const OWNER_ID: &str = "bb2bd7ca4a327f84e6cd3979f8fa3828a50a08893c1b68f9d6715352c8d07b93";
/// Buckets that are read at a time.
const PAGE: u32 = 1000;

/// The owner of something, as listings show it.
pub(crate) fn owner(name: &str) -> Owner {
    Owner {
        display_name: Some(name.to_owned()),
        id: Some(OWNER_ID.to_owned()),
    }
}

/// A time from milliseconds since the epoch.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    time.into()
}

fn is(error: &ClientError, status: Status) -> bool {
    error.om_status() == Some(status)
}

impl Gateway {
    pub(crate) async fn buckets_list(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> Answer<ListBucketsOutput> {
        let objects = self.objects(&request).await?;
        let input = &request.input;
        let limit = input.max_buckets.and_then(|n| u32::try_from(n).ok());
        let limit = limit.unwrap_or(u32::MAX) as usize;
        let mut page = Page {
            prefix: input.prefix.clone().unwrap_or_default(),
            start: input.continuation_token.clone().unwrap_or_default(),
            limit: PAGE,
        };
        let mut found = Vec::new();
        loop {
            let buckets = match objects.list_buckets(&self.volume, &page).await {
                Err(error) if is(&error, Status::VolumeNotFound) => Vec::new(),
                listed => listed.map_err(answer)?,
            };
            let full = buckets.len() == PAGE as usize;
            found.extend(buckets);
            if !full || found.len() > limit {
                break;
            }
            page.start = found
                .last()
                .map(|b| b.bucket_name.clone())
                .unwrap_or_default();
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().map(|bucket| bucket.bucket_name.clone());
        let bucket = |info: ozone_client::wire::om::BucketInfo| Bucket {
            creation_date: info.creation_time.map(timestamp),
            name: Some(info.bucket_name),
            ..Default::default()
        };
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(found.into_iter().map(bucket).collect()),
            continuation_token: last.filter(|_| more),
            owner: Some(owner(&self.users.own().caller().user)),
            prefix: request.input.prefix,
        }))
    }

    pub(crate) async fn bucket_create(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> Answer<CreateBucketOutput> {
        documents::verify(&request)?;
        let objects = self.objects(&request).await?;
        let bucket = &request.input.bucket;
        if request.input.object_lock_enabled_for_bucket == Some(true) {
            return Err(s3_error!(NotImplemented, "object lock is not implemented"));
        }
        match self.make(&objects, bucket).await {
            Err(error) if is(&error, Status::BucketAlreadyExists) => {
                self.taken(&objects, bucket, &request).await?;
            }
            made => made.map_err(answer)?,
        }
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(format!("/{bucket}")),
        }))
    }

    async fn make(&self, objects: &Objects, bucket: &str) -> Result<(), ClientError> {
        let new = || NewBucket {
            layout: Some(self.layout),
            ..Default::default()
        };
        match objects.create_bucket(&self.volume, bucket, new()).await {
            Err(error) if is(&error, Status::VolumeNotFound) => {}
            made => return made,
        }
        let own = self.users.own().objects();
        match own.create_volume(&self.volume, None).await {
            // Somebody else was quicker.
            Err(error) if is(&error, Status::VolumeAlreadyExists) => {}
            made => made?,
        }
        objects.create_bucket(&self.volume, bucket, new()).await
    }

    /// Says whose bucket it is that has the name.
    async fn taken<T>(
        &self,
        objects: &Objects,
        bucket: &str,
        request: &S3Request<T>,
    ) -> S3Result<()> {
        let info = objects
            .info_bucket(&self.volume, bucket)
            .await
            .map_err(answer)?;
        let asker = request
            .credentials
            .as_ref()
            .map(|signed| signed.access_key.as_str());
        match info.owner.as_deref() == asker {
            true => Err(s3_error!(
                BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it"
            )),
            false => Err(s3_error!(
                BucketAlreadyExists,
                "The requested bucket name is not available: another user has it"
            )),
        }
    }

    pub(crate) async fn bucket_head(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> Answer<HeadBucketOutput> {
        let input = &request.input;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let info = objects.info_bucket(&self.volume, &input.bucket).await;
        info.map_err(answer)?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(REGION.to_owned()),
            ..Default::default()
        }))
    }

    pub(crate) async fn bucket_delete(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> Answer<DeleteBucketOutput> {
        let input = &request.input;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let deleted = objects.delete_bucket(&self.volume, &input.bucket).await;
        deleted.map_err(answer)?;
        Ok(S3Response::new(DeleteBucketOutput {}))
    }

    pub(crate) async fn bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        let input = &request.input;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let info = objects.info_bucket(&self.volume, &input.bucket).await;
        info.map_err(answer)?;
        // Nothing stands for the first of Amazon's regions.
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    /// No bucket keeps versions, which tools ask before they delete.
    pub(crate) async fn bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        let input = &request.input;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let info = objects.info_bucket(&self.volume, &input.bucket).await;
        info.map_err(answer)?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }
}
