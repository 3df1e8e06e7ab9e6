//! Names: which bucket and key a request means, and which of S3's keys a filesystem cannot have.

use ozone_client::Objects;
use ozone_client::objects::KeyName;
use ozone_client::wire::om::BucketLayoutProto;
use ozone_common::names::validate_key_component;
use s3s::validation::NameValidation;
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::error::{answer, refuse};

/// The longest key, in bytes, as Amazon has it.
const MAX_KEY: usize = 1024;

/// What the names of what snapshots hold begin with.
pub(crate) const SNAPSHOTS: &str = ".snapshot/";

/// Whether the key is a snapshot itself, and nothing that it holds.
pub(crate) fn is_snapshot(key: &str) -> bool {
    let name = key.strip_prefix(SNAPSHOTS);
    name.is_some_and(|name| !name.trim_end_matches('/').contains('/'))
}

/// Takes any bucket name: whether a bucket has it is for the OM to say, which names the rule that a bad one breaks.
pub(crate) struct AnyName;

impl NameValidation for AnyName {
    fn validate_bucket_name(&self, name: &str) -> bool {
        !name.is_empty()
    }
}

/// The key of a request, if its bucket can hold it. A tree cannot hold every key of S3's: two names that it would take
/// for one are never mixed up. How the bucket keeps its names is asked only for keys that a tree cannot hold.
pub(crate) async fn key<'a>(
    objects: &Objects,
    volume: &'a str,
    bucket: &'a str,
    key: &'a str,
) -> S3Result<KeyName<'a>> {
    checked(objects, volume, bucket, key, as_path(key)).await
}

/// As [`key`], of a key that has content in any case: a directory of a tree has none.
pub(crate) async fn file<'a>(
    objects: &Objects,
    volume: &'a str,
    bucket: &'a str,
    key: &'a str,
) -> S3Result<KeyName<'a>> {
    let directory = "a name with a trailing slash is a directory's".to_owned();
    let allowed = match key.ends_with('/') {
        true => Err(directory),
        false => as_path(key),
    };
    checked(objects, volume, bucket, key, allowed).await
}

async fn checked<'a>(
    objects: &Objects,
    volume: &'a str,
    bucket: &'a str,
    key: &'a str,
    in_tree: Result<(), String>,
) -> S3Result<KeyName<'a>> {
    if key.len() > MAX_KEY {
        let message = format!("a key has {MAX_KEY} bytes at most, not {}", key.len());
        return Err(refuse(S3ErrorCode::KeyTooLongError, message));
    }
    if let Err(reason) = in_tree {
        let info = objects.info_bucket(volume, bucket).await.map_err(answer)?;
        if info.bucket_layout() != BucketLayoutProto::ObjectStore {
            return Err(bad(key, &reason));
        }
    }
    Ok(KeyName {
        volume,
        bucket,
        key,
    })
}

/// Whether the key is a path of a filesystem; why not.
fn as_path(key: &str) -> Result<(), String> {
    let path = key.strip_suffix('/').unwrap_or(key);
    let mut parts = path.split('/');
    parts.try_for_each(|part| validate_key_component(part).map_err(|error| error.to_string()))
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
    fn keys_that_are_no_paths_are_known() {
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
            as_path(good).unwrap();
        }
        for bad in ["/", "/a", "a//b", "a//", ".", "..", "a/../b", "./a", "a\0b"] {
            as_path(bad).unwrap_err();
        }
        as_path(&"x".repeat(256)).unwrap_err();
    }
}
