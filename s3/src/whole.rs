//! What is said of an upload in parts as a whole, when it is completed.

use std::collections::HashSet;

use ozone_client::Objects;
use ozone_client::objects::KeyName;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::CompleteMultipartUploadInput;
use s3s::{S3ErrorCode, S3Result, s3_error};

use crate::body::hex;
use crate::error::{answer, refuse};

/// Parts that are read at a time.
const PAGE: u32 = 1000;

/// The tag of a whole key: the digest of its parts' digests, and how many they are.
pub(crate) fn tag(parts: &[(u32, String)]) -> String {
    let mut digest = Md5::new();
    for (_, etag) in parts {
        digest.update(&from_hex(etag).unwrap_or_else(|| etag.as_bytes().to_vec()));
    }
    format!("{}-{}", hex(&digest.finalize()), parts.len())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    match text.len() % 2 {
        0 => (0..text.len()).step_by(2).map(byte).collect(),
        _ => None,
    }
}

/// A checksum of all parts together could be verified only by reading them again.
pub(crate) fn refuse_checksums(input: &CompleteMultipartUploadInput) -> S3Result<()> {
    let given = input.checksum_crc32.is_some()
        || input.checksum_crc32c.is_some()
        || input.checksum_crc64nvme.is_some()
        || input.checksum_sha1.is_some()
        || input.checksum_sha256.is_some();
    match given {
        false => Ok(()),
        true => Err(s3_error!(
            NotImplemented,
            "the checksum of a whole object that comes in parts is not implemented"
        )),
    }
}

/// Refuses parts that do not have so many bytes together.
pub(crate) async fn check_size(
    objects: &Objects,
    name: KeyName<'_>,
    (id, parts, size): (&str, &[(u32, String)], i64),
) -> S3Result<()> {
    let wanted: HashSet<u32> = parts.iter().map(|(number, _)| *number).collect();
    let (mut after, mut found) = (0, 0);
    loop {
        let page = objects.list_parts(name, id, (after, PAGE));
        let page = page.await.map_err(answer)?;
        let listed = page.parts_list.iter();
        let listed = listed.filter(|part| wanted.contains(&part.part_number));
        found += listed.map(|part| part.size).sum::<u64>();
        let next = page.next_part_number_marker.unwrap_or(after);
        if !page.is_truncated() || next <= after {
            break;
        }
        after = next;
    }
    if u64::try_from(size) == Ok(found) {
        return Ok(());
    }
    let message = format!("The parts have {found} bytes, not {size} as x-amz-mp-object-size says");
    Err(refuse(S3ErrorCode::InvalidRequest, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_whole_key_is_the_digest_of_its_parts_digests() {
        // As Amazon makes it of two parts that both are "a".
        let part = hex(&Md5::checksum(b"a"));
        let twice = [Md5::checksum(b"a"), Md5::checksum(b"a")].concat();
        let wanted = format!("{}-2", hex(&Md5::checksum(&twice)));
        assert_eq!(tag(&[(1, part.clone()), (2, part)]), wanted);
    }
}
