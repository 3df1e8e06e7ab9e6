//! The head of the answer to who reads a key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::{S3Result, s3_error};

use crate::attributes::{Headers, http_date};

/// The type of a key of which nobody has said another.
const TYPE: &str = "binary/octet-stream";
/// Bytes of one encoded word: it has 75 characters at most.
const WORD: usize = 45;

/// Adds a header.
pub(crate) fn add(headers: &mut HeaderMap, name: HeaderName, value: String) -> S3Result<()> {
    let value = HeaderValue::try_from(value)
        .map_err(|error| s3_error!(error, InternalError, "{name} cannot be told"))?;
    headers.insert(name, value);
    Ok(())
}

/// What was stored beside the bytes, as headers.
pub(crate) fn stored(kept: Headers) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let kind = kept.content_type.unwrap_or_else(|| TYPE.to_owned());
    let expires = kept.expires.as_ref().map(http_date).transpose()?;
    for (name, value) in [
        (CONTENT_TYPE, Some(kind)),
        (CACHE_CONTROL, kept.cache_control),
        (CONTENT_DISPOSITION, kept.content_disposition),
        (CONTENT_ENCODING, kept.content_encoding),
        (CONTENT_LANGUAGE, kept.content_language),
        (EXPIRES, expires),
    ] {
        if let Some(value) = value {
            add(&mut headers, name, value)?;
        }
    }
    for (name, value) in kept.metadata.unwrap_or_default() {
        let name = HeaderName::try_from(format!("x-amz-meta-{name}"))
            .map_err(|error| s3_error!(error, InternalError, "metadata cannot be told"))?;
        add(&mut headers, name, encoded(&value))?;
    }
    Ok(headers)
}

/// Text that a header cannot hold as it is, in words as RFC 2047 has them.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    if text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for character in text.chars() {
        if words.last().map_or(0, String::len) + character.len_utf8() > WORD {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    let words = words
        .iter()
        .map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_no_header_can_hold_is_told_in_words() {
        assert_eq!(encoded("green, round"), "green, round");
        assert_eq!(encoded("grün"), "=?UTF-8?B?Z3LDvG4=?=");
        let long = encoded(&"ü".repeat(60));
        assert_eq!(long.split(' ').count(), 3);
        assert!(long.split(' ').all(|word| word.len() <= 75), "{long}");
    }
}
