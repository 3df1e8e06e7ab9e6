//! Names: which bucket and key a request means, and which of S3's keys a filesystem cannot have.

use ozone_client::objects::KeyName;
use ozone_common::names::validate_key_component;
use s3s::validation::NameValidation;
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::error::refuse;

/// The longest key, in bytes, as Amazon has it.
const MAX_KEY: usize = 1024;

/// Takes any bucket name: whether a bucket has it is for the OM to say, which names the rule that a bad one breaks.
pub(crate) struct AnyName;

impl NameValidation for AnyName {
    fn validate_bucket_name(&self, name: &str) -> bool {
        !name.is_empty()
    }
}

/// The key of a request, if a tree can hold it. Two names that a tree would take for one are never mixed up.
pub(crate) fn key<'a>(volume: &'a str, bucket: &'a str, key: &'a str) -> S3Result<KeyName<'a>> {
    if key.len() > MAX_KEY {
        let message = format!("a key has {MAX_KEY} bytes at most, not {}", key.len());
        return Err(refuse(S3ErrorCode::KeyTooLongError, message));
    }
    let path = key.strip_suffix('/').unwrap_or(key);
    for part in path.split('/') {
        validate_key_component(part).map_err(|error| bad(key, &error.to_string()))?;
    }
    Ok(KeyName {
        volume,
        bucket,
        key,
    })
}

fn bad(key: &str, reason: &str) -> S3Error {
    let message = format!(
        "{key:?} cannot be a key in this bucket, whose keys are paths of a filesystem: {reason}"
    );
    refuse(S3ErrorCode::InvalidArgument, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_paths_are_refused() {
        for good in [
            "a",
            "a/b",
            "a/",
            "ü/日本",
            "a b+c=d?e#f%",
            "...",
            "-",
            "a\\b",
            "\u{1}",
        ] {
            key("v", "b", good).unwrap();
        }
        for bad in ["/", "/a", "a//b", "a//", ".", "..", "a/../b", "./a", "a\0b"] {
            let error = key("v", "b", bad).unwrap_err();
            assert_eq!(error.code(), &S3ErrorCode::InvalidArgument, "{bad}");
        }
        let long = key("v", "b", &"x/".repeat(600)).map(drop).unwrap_err();
        assert_eq!(long.code(), &S3ErrorCode::KeyTooLongError);
        key("v", "b", &"x".repeat(256)).map(drop).unwrap_err();
    }
}
