//! The rules for names of volumes, buckets, snapshots and keys.
//!
//! Volume and bucket names follow the S3 rules, so that any bucket can be a host name. Names within
//! a bucket are bytes, as POSIX has them. Every refusal names the rule that was broken.

use std::fmt;

/// Shortest and longest volume, bucket or snapshot name, in bytes.
pub const RESOURCE_NAME_LENGTH: std::ops::RangeInclusive<usize> = 3..=63;
/// Longest name of one file or directory, in bytes (NAME_MAX).
pub const MAX_COMPONENT: usize = 255;
/// Longest key name, in bytes (PATH_MAX).
pub const MAX_KEY_NAME: usize = 4096;

/// What a name is for; opens the message of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A volume.
    Volume,
    /// A bucket, or a link to one.
    Bucket,
    /// A bucket snapshot.
    Snapshot,
    /// A whole key name, slashes included.
    Key,
    /// One file or directory name.
    Component,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Volume => "volume",
            Self::Bucket => "bucket",
            Self::Snapshot => "snapshot",
            Self::Key => "key",
            Self::Component => "file",
        })
    }
}

/// A name that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Too short or too long.
    #[error("{kind} name must have {min} to {max} characters, not {length}")]
    Length {
        /// What the name is for.
        kind: NameKind,
        /// Shortest allowed, in bytes.
        min: usize,
        /// Longest allowed, in bytes.
        max: usize,
        /// Length given, in bytes.
        length: usize,
    },
    /// A character outside the allowed set.
    #[error("{kind} name has an unsupported character : {character}")]
    Character {
        /// What the name is for.
        kind: NameKind,
        /// The first offending character.
        character: char,
    },
    /// Upper-case letters.
    #[error("{kind} name has an upper-case character : {character}")]
    UpperCase {
        /// What the name is for.
        kind: NameKind,
        /// The first offending character.
        character: char,
    },
    /// A period or dash at either end.
    #[error("{kind} name must not start or end with '.' or '-'")]
    Edge {
        /// What the name is for.
        kind: NameKind,
    },
    /// Two separators in a row.
    #[error("{kind} name must not contain {pair:?}")]
    Separators {
        /// What the name is for.
        kind: NameKind,
        /// `..`, `.-` or `-.`.
        pair: &'static str,
    },
    /// Only digits and periods.
    #[error("{kind} name must not be an IPv4 address or all numeric")]
    Numeric {
        /// What the name is for.
        kind: NameKind,
    },
    /// `.` or `..`.
    #[error("{kind} name must not be \".\" or \"..\"")]
    Dots {
        /// What the name is for.
        kind: NameKind,
    },
    /// A slash or NUL where none may be.
    #[error("{kind} name must not contain {what}")]
    Forbidden {
        /// What the name is for.
        kind: NameKind,
        /// `'/'` or `NUL`.
        what: &'static str,
    },
}

/// Checks a volume name. `strict` (ozone.om.namespace.s3.strict) refuses `_`.
pub fn validate_volume_name(name: &str, strict: bool) -> Result<(), NameError> {
    validate_resource(NameKind::Volume, name, strict)
}

/// Checks a bucket name. `strict` (ozone.om.namespace.s3.strict) refuses `_`.
pub fn validate_bucket_name(name: &str, strict: bool) -> Result<(), NameError> {
    validate_resource(NameKind::Bucket, name, strict)
}

/// Checks a snapshot name: the rules of a bucket name, always strict.
pub fn validate_snapshot_name(name: &str) -> Result<(), NameError> {
    validate_resource(NameKind::Snapshot, name, true)
}

/// Checks one file or directory name: 1 to 255 bytes, neither `.` nor `..`, no `/`, no NUL.
pub fn validate_key_component(name: impl AsRef<[u8]>) -> Result<(), NameError> {
    let (kind, name) = (NameKind::Component, name.as_ref());
    check_length(kind, name.len(), 1, MAX_COMPONENT)?;
    if name == b"." || name == b".." {
        return Err(NameError::Dots { kind });
    }
    if name.contains(&b'/') {
        return Err(NameError::Forbidden { kind, what: "'/'" });
    }
    check_nul(kind, name)
}

/// Checks a whole key name as an object store takes it: 1 to 4096 bytes, no NUL. Slashes may stand
/// anywhere.
pub fn validate_key_name(name: impl AsRef<[u8]>) -> Result<(), NameError> {
    let (kind, name) = (NameKind::Key, name.as_ref());
    check_length(kind, name.len(), 1, MAX_KEY_NAME)?;
    check_nul(kind, name)
}

fn check_nul(kind: NameKind, name: &[u8]) -> Result<(), NameError> {
    if name.contains(&0) {
        return Err(NameError::Forbidden { kind, what: "NUL" });
    }
    Ok(())
}

fn check_length(kind: NameKind, length: usize, min: usize, max: usize) -> Result<(), NameError> {
    if (min..=max).contains(&length) {
        return Ok(());
    }
    Err(NameError::Length {
        kind,
        min,
        max,
        length,
    })
}

fn validate_resource(kind: NameKind, name: &str, strict: bool) -> Result<(), NameError> {
    let (min, max) = (*RESOURCE_NAME_LENGTH.start(), *RESOURCE_NAME_LENGTH.end());
    check_length(kind, name.len(), min, max)?;
    for character in name.chars() {
        check_character(kind, character, strict)?;
    }
    if name.starts_with(['.', '-']) || name.ends_with(['.', '-']) {
        return Err(NameError::Edge { kind });
    }
    if let Some(pair) = ["..", ".-", "-."].into_iter().find(|p| name.contains(p)) {
        return Err(NameError::Separators { kind, pair });
    }
    if name.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(NameError::Numeric { kind });
    }
    Ok(())
}

fn check_character(kind: NameKind, character: char, strict: bool) -> Result<(), NameError> {
    match character {
        'a'..='z' | '0'..='9' | '.' | '-' => Ok(()),
        '_' if !strict => Ok(()),
        c if c.is_uppercase() => Err(NameError::UpperCase { kind, character: c }),
        c => Err(NameError::Character { kind, character: c }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["s3v", "bucket1", "my-bucket.logs", "1a2", &"x".repeat(63)] {
            validate_bucket_name(name, true).unwrap();
            validate_volume_name(name, true).unwrap();
        }
    }

    #[test]
    fn underscore_passes_only_when_not_strict() {
        let error = validate_bucket_name("bucket_1", true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bucket name has an unsupported character : _"
        );
        validate_bucket_name("bucket_1", false).unwrap();
    }

    #[test]
    fn each_broken_rule_is_named() {
        let cases = [
            ("ab", "3 to 63"),
            (&"x".repeat(64), "3 to 63"),
            ("Bucket", "upper-case"),
            ("-abc", "start or end"),
            ("abc.", "start or end"),
            ("a..b", "\"..\""),
            ("a.-b", "\".-\""),
            ("a-.b", "\"-.\""),
            ("192.168.0.1", "IPv4"),
            ("12345", "numeric"),
            ("a b", "unsupported character"),
        ];
        for (name, rule) in cases {
            let text = validate_bucket_name(name, true).unwrap_err().to_string();
            assert!(text.contains(rule), "{name}: {text}");
        }
    }

    #[test]
    fn components_are_posix_names() {
        for name in ["a", ".snapshot", "...", "naïve", &"x".repeat(255)] {
            validate_key_component(name).unwrap();
        }
        validate_key_component([0xff, 0xfe]).unwrap();
        for name in ["", ".", "..", "a/b", "a\0b", &"x".repeat(256)] {
            validate_key_component(name).unwrap_err();
        }
    }

    #[test]
    fn key_names_take_slashes_anywhere() {
        validate_key_name("/a//b/").unwrap();
        validate_key_name("").unwrap_err();
        validate_key_name("x".repeat(4097)).unwrap_err();
    }
}
