//! ETags of files. A face that writes a whole key stores the digest of its content among the key's metadata, and
//! the row notes which content that was, so that a digest is never shown for bytes which another door has
//! changed since. A file without such a digest has a tag that names its content and is no digest.

use ozone_proto::hdds::KeyValue;
use ozone_proto::namespace::InodeRow;
use ozone_proto::om::{KeyArgs, Status};

use crate::error::{OmError, Result};

/// Under which name the digest is kept, as Ozone does.
pub const KEY: &str = "ETag";
/// `expectedDataGeneration` of a key that must not exist: Ozone's -1.
pub const NOTHING: u64 = u64::MAX;

/// Notes that the digest among the row's metadata, if there is one, is of the content that the row has now.
pub fn bind(row: &mut InodeRow) {
    row.etag_data_version = row.data_version;
    row.etag_size = row.size;
}

fn is_bound(row: &InodeRow) -> bool {
    (row.etag_data_version, row.etag_size) == (row.data_version, row.size)
}

/// The ETag, without quotes.
pub fn of(row: &InodeRow) -> String {
    let stored = row.metadata.iter().find(|pair| pair.key == KEY);
    match stored.and_then(|pair| pair.value.clone()) {
        Some(digest) if is_bound(row) => digest,
        // With a dash, by which clients tell that it is not the content's MD5.
        _ => format!("{:016x}{:016x}-0", row.object_id, row.data_version),
    }
}

/// The row's metadata, without a digest of other content.
pub fn metadata(row: &InodeRow) -> Vec<KeyValue> {
    let mut metadata = row.metadata.clone();
    if !is_bound(row) {
        metadata.retain(|pair| pair.key != KEY);
    }
    metadata
}

/// Refuses what was asked for under conditions that `existing` does not meet.
pub fn check_conditions(args: &KeyArgs, existing: Option<&InodeRow>) -> Result<()> {
    if args.expected_data_generation == Some(NOTHING) && existing.is_some() {
        let message = format!("Key {} exists", args.key_name);
        return Err(OmError::refused(Status::KeyAlreadyExists, message));
    }
    let Some(expected) = &args.expected_e_tag else {
        return Ok(());
    };
    let met = existing.is_some_and(|row| expected == "*" || of(row) == *expected);
    if met {
        return Ok(());
    }
    let message = format!("Key {} has another ETag", args.key_name);
    Err(OmError::refused(Status::EtagMismatch, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_shown_for_the_content_that_it_was_made_of_and_no_other() {
        let mut row = InodeRow {
            object_id: 7,
            data_version: 3,
            size: 5,
            metadata: vec![KeyValue {
                key: KEY.to_owned(),
                value: Some("abc".to_owned()),
            }],
            ..Default::default()
        };
        bind(&mut row);
        assert_eq!(of(&row), "abc");
        assert_eq!(metadata(&row).len(), 1);
        for changed in [
            InodeRow {
                size: 6,
                ..row.clone()
            },
            InodeRow {
                data_version: 4,
                ..row.clone()
            },
        ] {
            assert!(of(&changed).ends_with("-0"));
            assert!(metadata(&changed).is_empty());
        }
    }
}
