//! S3's operations, each handed to the module that does it. What has no line here answers NotImplemented, and so does
//! an operation with a parameter that is not in its line.

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

/// Forwards operations to methods of [`Gateway`], and notes by which parameters each may be asked for. Those that
/// [`crate::read`] takes from `s3s` have no method here.
macro_rules! operations {
    ($($name:ident($input:ty) -> $output:ty => $method:ident [$($parameter:literal)*];)*
     + $($other:literal [$($of_other:literal)*];)*) => {
        #[async_trait::async_trait]
        impl S3 for Gateway {
            $(async fn $name(&self, request: S3Request<$input>) -> Answer<$output> {
                self.$method(request).await
            })*
        }

        /// The inputs of all operations, and the parameters of an address that they understand.
        pub(crate) const OPERATIONS: &[(&str, &[&str])] = &[
            $((stringify!($input), &[$($parameter),*]),)*
            $(($other, &[$($of_other),*]),)*
        ];
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput => buckets_list
        ["max-buckets" "continuation-token" "prefix"];
    create_bucket(CreateBucketInput) -> CreateBucketOutput => bucket_create [];
    head_bucket(HeadBucketInput) -> HeadBucketOutput => bucket_head [];
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput => bucket_delete [];
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput => bucket_location ["location"];
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput => bucket_versioning ["versioning"];
    list_objects(ListObjectsInput) -> ListObjectsOutput => objects_list
        ["prefix" "delimiter" "marker" "max-keys" "encoding-type"];
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output => objects_list_v2
        ["list-type" "prefix" "delimiter" "start-after" "continuation-token" "max-keys" "encoding-type" "fetch-owner"];
    put_object(PutObjectInput) -> PutObjectOutput => object_put [];
    delete_object(DeleteObjectInput) -> DeleteObjectOutput => object_delete ["versionId"];
    copy_object(CopyObjectInput) -> CopyObjectOutput => object_copy [];
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput => tagging_put ["tagging" "versionId"];
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput => tagging_get ["tagging" "versionId"];
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput => tagging_delete
        ["tagging" "versionId"];
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput => multipart_create ["uploads"];
    upload_part(UploadPartInput) -> UploadPartOutput => multipart_part ["partNumber" "uploadId"];
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput => multipart_copy ["partNumber" "uploadId"];
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput => multipart_complete
        ["uploadId"];
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput => multipart_abort ["uploadId"];
    list_parts(ListPartsInput) -> ListPartsOutput => multipart_parts ["uploadId" "max-parts" "part-number-marker"];
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput => multipart_list
        ["uploads" "prefix" "delimiter" "encoding-type" "key-marker" "upload-id-marker" "max-uploads"];
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput => objects_delete ["delete"];
    + "GetObjectInput"
        ["versionId" "partNumber" "response-content-type" "response-content-language" "response-expires"
         "response-cache-control" "response-content-disposition" "response-content-encoding"];
    "HeadObjectInput"
        ["versionId" "partNumber" "response-content-type" "response-content-language" "response-expires"
         "response-cache-control" "response-content-disposition" "response-content-encoding"];
}
