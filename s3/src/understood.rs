//! Which operations there are, and which parameters of an address each of them understands.
//!
//! `s3s` finds the operation of a request by those parameters that it knows and leaves the others alone: `?append`
//! would be a plain put, and a parameter of an operation that is younger than `s3s` would delete a bucket. So what an
//! operation does not understand is refused, once the signature is verified.

use http::Uri;
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3ErrorCode, S3Result, s3_error};

use crate::error::refuse;
use crate::front::{is_link, parameters};
use crate::gateway::OPERATIONS;

/// Looks at every request whose signature was verified, before its body is read.
pub(crate) struct Understood;

#[async_trait::async_trait]
impl S3Access for Understood {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        if request.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        }
        check(request.s3_op().name(), request.uri())
    }
}

/// Refuses an operation that there is not, and parameters that it does not understand.
pub(crate) fn check(operation: &str, uri: &Uri) -> S3Result<()> {
    let is_asked = |(input, _): &&(&str, _)| input.strip_suffix("Input") == Some(operation);
    let Some((_, known)) = OPERATIONS.iter().find(is_asked) else {
        let message = format!("{operation} is not implemented");
        return Err(refuse(S3ErrorCode::NotImplemented, message));
    };
    let query = parameters(uri.query().unwrap_or_default());
    let link = is_link(&query);
    let foreign = |name: &&String| !known.contains(&name.as_str()) && !is_anywhere(name, link);
    match query.iter().map(|(name, _)| name).find(foreign) {
        None => Ok(()),
        Some(name) => {
            let message = format!("{operation} with the parameter {name:?} is not implemented");
            Err(refuse(S3ErrorCode::NotImplemented, message))
        }
    }
}

/// What any address may have: a link its signature and headers, and everybody notes for a log, as Amazon allows.
fn is_anywhere(name: &str, link: bool) -> bool {
    let name = name.to_ascii_lowercase();
    match name.starts_with("x-amz-") {
        true => link,
        false => name.starts_with("x-"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(operation: &str, target: &str) -> bool {
        check(operation, &target.parse().unwrap()).is_err()
    }

    #[test]
    fn an_operation_is_refused_with_what_it_does_not_understand() {
        for (operation, target) in [
            ("PutObject", "/b/k"),
            ("PutObject", "/b/k?x-id=PutObject"),
            ("PutObject", "/b/k?X-Amz-Signature=0&x-amz-meta-a=b"),
            ("GetObject", "/b/k?versionId=null&response-expires=x"),
            ("UploadPart", "/b/k?partNumber=1&uploadId=x"),
            ("ListObjectsV2", "/b?list-type=2&fetch-owner=true&prefix=a"),
            ("GetBucketLocation", "/b?location"),
            ("DeleteBucket", "/b"),
        ] {
            assert!(!refused(operation, target), "{operation} {target}");
        }
        for (operation, target) in [
            ("PutObject", "/b/k?partNumber=1"),
            ("PutObject", "/b/k?uploadId=x"),
            ("PutObject", "/b/k?versionId=abc"),
            ("PutObject", "/b/k?%61ppend"),
            ("PutObject", "/b/k?x-amz-meta-a=b"),
            ("DeleteBucket", "/b?metadataConfiguration"),
            ("DeleteObject", "/b/k?annotation"),
            ("GetObject", "/b/k?prefix=a"),
            ("GetBucketAcl", "/b?acl"),
            ("", "/b"),
        ] {
            assert!(refused(operation, target), "{operation} {target}");
        }
    }
}
