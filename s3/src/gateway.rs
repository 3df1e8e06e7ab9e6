//! S3's operations, each handed to the module that does it. What has no line here answers NotImplemented.

use ozone_client::Objects;
use ozone_client::wire::om::BucketLayoutProto;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::auth::Users;
use crate::error::answer;

/// The gateway to the buckets of one volume.
#[derive(Clone)]
pub(crate) struct Gateway {
    /// Who may ask.
    pub(crate) users: Users,
    /// The volume whose buckets are shown.
    pub(crate) volume: String,
    /// How buckets that are made here keep their names.
    pub(crate) layout: BucketLayoutProto,
}

/// What handlers answer with.
pub(crate) type Answer<T> = S3Result<S3Response<T>>;

impl Gateway {
    /// The cluster, for the user who has signed the request.
    pub(crate) async fn objects<T>(&self, request: &S3Request<T>) -> S3Result<Objects> {
        self.users.objects(request).await
    }

    /// As `objects`, refused where the request is meant for a bucket of another owner than it has.
    pub(crate) async fn objects_of<T>(
        &self,
        request: &S3Request<T>,
        bucket: &str,
        owner: Option<&String>,
    ) -> S3Result<Objects> {
        let objects = self.objects(request).await?;
        self.check_owner(&objects, bucket, owner).await?;
        Ok(objects)
    }

    /// Refuses a bucket that belongs to somebody else than the request says.
    pub(crate) async fn check_owner(
        &self,
        objects: &Objects,
        bucket: &str,
        owner: Option<&String>,
    ) -> S3Result<()> {
        let Some(owner) = owner else { return Ok(()) };
        let info = objects.info_bucket(&self.volume, bucket).await;
        if info.map_err(answer)?.owner.as_ref() == Some(owner) {
            return Ok(());
        }
        let message = "the bucket has another owner than x-amz-expected-bucket-owner says";
        let status = http::StatusCode::FORBIDDEN;
        Err(crate::error::custom(
            "Access Denied",
            status,
            message.to_owned(),
        ))
    }
}

/// Forwards operations to methods of [`Gateway`].
macro_rules! operations {
    ($($name:ident($input:ty) -> $output:ty => $method:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Gateway {
            $(async fn $name(&self, request: S3Request<$input>) -> Answer<$output> {
                self.$method(request).await
            })*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput => buckets_list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput => bucket_create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput => bucket_head;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput => bucket_delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput => bucket_location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput => bucket_versioning;
    list_objects(ListObjectsInput) -> ListObjectsOutput => objects_list;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output => objects_list_v2;
    put_object(PutObjectInput) -> PutObjectOutput => object_put;
    get_object(GetObjectInput) -> GetObjectOutput => object_get;
    head_object(HeadObjectInput) -> HeadObjectOutput => object_head;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput => object_delete;
    copy_object(CopyObjectInput) -> CopyObjectOutput => object_copy;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput => tagging_put;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput => tagging_get;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput => tagging_delete;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput => multipart_create;
    upload_part(UploadPartInput) -> UploadPartOutput => multipart_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput => multipart_copy;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput => multipart_complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput => multipart_abort;
    list_parts(ListPartsInput) -> ListPartsOutput => multipart_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput => multipart_list;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput => objects_delete;
}
