//! What goes wrong at the cluster, in S3's words.

use http::{Response, StatusCode};
use ozone_client::ClientError;
use ozone_client::wire::om::Status;
use s3s::{Body, S3Error, S3ErrorCode};

/// Whether a document can hold a character: names of keys have others too.
pub(crate) fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// An error with a message, which may quote what no document can hold.
pub(crate) fn refuse(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    let message = message.into();
    S3Error::with_message(code, message.replace(|c| !is_xml(c), "\u{fffd}"))
}

/// An error that Amazon does not have.
pub(crate) fn custom(code: &'static str, status: StatusCode, message: String) -> S3Error {
    let mut error = refuse(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// What `s3s` refuses without a word.
const WORDS: [(&str, &str); 5] = [
    (
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing \
         method.",
    ),
    (
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    ("MissingRequestBodyError", "Request body is empty"),
    (
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    ),
    (
        "MethodNotAllowed",
        "The specified method is not allowed against this resource",
    ),
];

/// Gives an error that has no message the one of its code.
pub(crate) fn explain(answer: &mut Response<Body>) {
    let body = match answer.status().is_success() {
        true => return,
        false => answer.body().bytes().unwrap_or_default(),
    };
    let text = String::from_utf8_lossy(&body);
    let mute = |(code, _): &&(&str, &str)| text.contains(&format!("<Code>{code}</Code></Error>"));
    if let Some((_, words)) = WORDS.iter().find(mute) {
        let end = format!("</Code><Message>{words}</Message></Error>");
        *answer.body_mut() = Body::from(text.replacen("</Code></Error>", &end, 1));
    }
}

/// What a client is told of a call that did not end well.
pub(crate) fn answer(error: ClientError) -> S3Error {
    use S3ErrorCode as C;
    use Status as S;
    let message = error.to_string();
    let ClientError::Om { status, .. } = &error else {
        tracing::warn!(%error, "the cluster did not do what was asked");
        return match error {
            ClientError::Unavailable { .. }
            | ClientError::Behind { .. }
            | ClientError::NoOm { .. }
            | ClientError::Timeout { .. }
            | ClientError::SessionExpired => refuse(C::ServiceUnavailable, message),
            ClientError::Input { .. } => refuse(C::IncompleteBody, message),
            _ => refuse(C::InternalError, message),
        };
    };
    let code = match status {
        S::VolumeNotFound | S::BucketNotFound => C::NoSuchBucket,
        S::KeyNotFound | S::FileNotFound | S::DirectoryNotFound => C::NoSuchKey,
        S::BucketNotEmpty | S::ContainsSnapshot => C::BucketNotEmpty,
        S::BucketAlreadyExists => C::BucketAlreadyExists,
        S::KeyAlreadyExists | S::EtagMismatch => C::PreconditionFailed,
        S::InvalidBucketName => C::InvalidBucketName,
        S::DetectedLoopInBucketLinks => C::InvalidRequest,
        S::NameTooLong => C::KeyTooLongError,
        S::InvalidKeyName | S::InvalidPath | S::InvalidRequest => C::InvalidArgument,
        S::NotAFile | S::FileAlreadyExists | S::NotADirectory | S::IsADirectory => {
            let message = format!("{message}: a name is a file or a directory, not both");
            return custom("Conflict", StatusCode::CONFLICT, message);
        }
        S::QuotaExceeded => return custom("QuotaExceeded", StatusCode::FORBIDDEN, message),
        S::NoSpace => {
            return custom(
                "InsufficientStorage",
                StatusCode::INSUFFICIENT_STORAGE,
                message,
            );
        }
        S::AccessDenied | S::PermissionDenied => C::AccessDenied,
        S::NoSuchMultipartUploadError => C::NoSuchUpload,
        S::EntityTooSmall => C::EntityTooSmall,
        S::InvalidPart => C::InvalidPart,
        S::InvalidPartOrder => C::InvalidPartOrder,
        S::NotSupportedOperation => C::NotImplemented,
        S::ScmInSafeMode | S::Timeout | S::RatisError | S::KeyAllocationError => {
            C::ServiceUnavailable
        }
        _ => C::InternalError,
    };
    refuse(code, message)
}
