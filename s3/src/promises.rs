//! Nothing is taken under a promise that is not kept: what asks for something that there is not is refused, whatever
//! the operation, in a header or in a link.

use http::request::Parts;
use s3s::{S3ErrorCode, S3Result};

use crate::body;
use crate::error::refuse;
use crate::front::parameters;

/// What headers begin with that ask for what there is not, and what that is.
const ABSENT: [(&str, &str); 8] = [
    ("x-amz-server-side-encryption", "server-side encryption"),
    (
        "x-amz-copy-source-server-side-encryption",
        "server-side encryption",
    ),
    ("x-amz-object-lock-", "object lock"),
    ("x-amz-grant-", "an access control list"),
    (
        "x-amz-website-redirect-location",
        "a redirection of a website",
    ),
    ("x-amz-write-offset-bytes", "writing into an object"),
    ("x-amz-rename-source", "renaming an object"),
    ("x-amz-if-match-", "a condition on size or time"),
];
/// Access control lists that say what is so in any case.
const ACLS: [&str; 3] = ["", "private", "bucket-owner-full-control"];
/// What headers of checksums begin with.
const CHECKSUM: &str = "x-amz-checksum-";

/// Refuses a request that asks for what there is not. Links have such headers among their parameters.
pub(crate) fn refuse_unkept(request: &Parts) -> S3Result<()> {
    for (name, value) in &request.headers {
        refuse_absent(name.as_str(), &String::from_utf8_lossy(value.as_bytes()))?;
    }
    for (name, value) in parameters(request.uri.query().unwrap_or_default()) {
        refuse_absent(&name.to_ascii_lowercase(), &value)?;
    }
    Ok(())
}

fn refuse_absent(name: &str, value: &str) -> S3Result<()> {
    let Some(what) = absent(name, value) else {
        return Ok(());
    };
    let message = format!("{what} is not implemented: {name}");
    Err(refuse(S3ErrorCode::NotImplemented, message))
}

/// What a header asks for, if there is no such thing.
fn absent(name: &str, value: &str) -> Option<String> {
    if let Some((_, what)) = ABSENT.iter().find(|(start, _)| name.starts_with(start)) {
        return Some((*what).to_owned());
    }
    let value = value.trim().to_ascii_lowercase();
    match name {
        "x-amz-acl" => {
            let kept = ACLS.contains(&value.as_str());
            (!kept).then(|| format!("the access control list {value:?}"))
        }
        "x-amz-sdk-checksum-algorithm" | "x-amz-checksum-algorithm" => checksum(&value),
        "x-amz-trailer" => {
            let announced = value.split(',').map(str::trim);
            let mut announced = announced.filter_map(|name| name.strip_prefix(CHECKSUM));
            announced.find_map(checksum)
        }
        "x-amz-checksum-type" | "x-amz-checksum-mode" => None,
        _ => name.strip_prefix(CHECKSUM).and_then(checksum),
    }
}

fn checksum(algorithm: &str) -> Option<String> {
    let known = algorithm.is_empty() || body::is_algorithm(algorithm);
    (!known).then(|| format!("the checksum {algorithm:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_that_nobody_makes_are_not_taken() {
        for (name, value) in [
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-checksum-crc64nvme", "x"),
            ("x-amz-checksum-mode", "ENABLED"),
            ("x-amz-checksum-type", "COMPOSITE"),
            ("x-amz-checksum-algorithm", "SHA256"),
            ("x-amz-sdk-checksum-algorithm", "crc32c"),
            ("x-amz-trailer", "x-note, x-amz-checksum-sha1"),
        ] {
            assert_eq!(absent(name, value), None, "{name}: {value}");
        }
        for (name, value) in [
            ("x-amz-checksum-md5", "x"),
            ("x-amz-checksum-sha512", "x"),
            ("x-amz-checksum-xxhash64", "x"),
            ("x-amz-checksum-algorithm", "MD5"),
            ("x-amz-sdk-checksum-algorithm", "BLAKE"),
            ("x-amz-trailer", "x-note,x-amz-checksum-xxhash3"),
        ] {
            assert!(absent(name, value).is_some(), "{name}: {value}");
        }
    }

    #[test]
    fn only_access_control_lists_that_change_nothing_are_taken() {
        for kept in ["private", "bucket-owner-full-control"] {
            assert_eq!(absent("x-amz-acl", kept), None);
        }
        for acl in ["public-read", "public-read-write", "authenticated-read"] {
            assert!(absent("x-amz-acl", acl).is_some(), "{acl}");
        }
        assert!(absent("x-amz-grant-read", "id=frodo").is_some());
        assert!(absent("x-amz-website-redirect-location", "/x").is_some());
    }

    #[test]
    fn conditions_and_places_that_are_not_looked_at_are_not_taken() {
        for name in [
            "x-amz-write-offset-bytes",
            "x-amz-if-match-size",
            "x-amz-if-match-last-modified-time",
            "x-amz-rename-source",
        ] {
            assert!(absent(name, "0").is_some(), "{name}");
        }
    }
}
