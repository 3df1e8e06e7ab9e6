//! What S3 keeps beside a key's bytes: metadata of the user's and of HTTP's own, and tags.
//!
//! All of it is one list of names and values with the key, as Ozone keeps it. HTTP's own headers have capitals in it,
//! which names of users never have.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Result, s3_error};

use crate::error::{is_xml, refuse};

/// Bytes of the user's metadata at most.
const MAX_METADATA: usize = 2048;
/// Tags of one key at most, and the longest name and value of one, in characters.
const MAX_TAGS: usize = 10;
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;
/// The name under which the digest is kept.
const ETAG: &str = "ETag";
/// What a user may not name: Ozone means its own by it.
const RESERVED: &str = "gdprenabled";

const TYPE: &str = "Content-Type";
const CACHE: &str = "Cache-Control";
const DISPOSITION: &str = "Content-Disposition";
const ENCODING: &str = "Content-Encoding";
const LANGUAGE: &str = "Content-Language";
const EXPIRES: &str = "Expires";

/// Names and values.
pub(crate) type Pairs = Vec<(String, String)>;

/// The headers that a request stores with a key.
#[derive(Default)]
pub(crate) struct Headers {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) expires: Option<Timestamp>,
    /// The user's own.
    pub(crate) metadata: Option<Metadata>,
}

/// Takes the headers out of an input that has them.
macro_rules! headers {
    ($input:expr) => {
        $crate::attributes::Headers {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take(),
            content_language: $input.content_language.take(),
            expires: $input.expires.take(),
            metadata: $input.metadata.take(),
        }
    };
}
pub(crate) use headers;

impl Headers {
    /// As they are kept.
    pub(crate) fn into_pairs(self) -> S3Result<Pairs> {
        let mut pairs = user_pairs(self.metadata.unwrap_or_default())?;
        let expires = self.expires.as_ref().map(http_date).transpose()?;
        let encoding = self.content_encoding.as_deref().and_then(stored_encoding);
        let system = [
            (TYPE, self.content_type.filter(|kind| !kind.is_empty())),
            (CACHE, self.cache_control),
            (DISPOSITION, self.content_disposition),
            (ENCODING, encoding),
            (LANGUAGE, self.content_language),
            (EXPIRES, expires),
        ];
        let set = |(name, value): (&str, Option<String>)| Some((name.to_owned(), value?));
        pairs.extend(system.into_iter().filter_map(set));
        Ok(pairs)
    }
}

fn user_pairs(metadata: Metadata) -> S3Result<Pairs> {
    let mut pairs: Pairs = metadata
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name != RESERVED)
        .collect();
    pairs.sort();
    let bytes: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > MAX_METADATA {
        let message = format!(
            "Your metadata headers exceed the maximum allowed metadata size: {bytes} of {MAX_METADATA} bytes"
        );
        return Err(refuse(S3ErrorCode::MetadataTooLarge, message));
    }
    Ok(pairs)
}

/// How the content is encoded, without how it was sent.
fn stored_encoding(header: &str) -> Option<String> {
    let codings = header.split(',').map(str::trim);
    let kept: Vec<_> = codings
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

pub(crate) fn http_date(time: &Timestamp) -> S3Result<String> {
    let mut text = Vec::new();
    let written = time.format(TimestampFormat::HttpDate, &mut text);
    written.map_err(|error| s3_error!(error, InvalidArgument, "that is no date"))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What was kept with a key, as headers.
pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Headers {
    let mut headers = Headers::default();
    let mut metadata = Metadata::default();
    for (name, value) in pairs {
        match name.as_str() {
            ETAG => {}
            TYPE => headers.content_type = Some(value),
            CACHE => headers.cache_control = Some(value),
            DISPOSITION => headers.content_disposition = Some(value),
            ENCODING => headers.content_encoding = Some(value),
            LANGUAGE => headers.content_language = Some(value),
            EXPIRES => headers.expires = Timestamp::parse(TimestampFormat::HttpDate, &value).ok(),
            _ => drop(metadata.insert(name, value)),
        }
    }
    headers.metadata = Some(metadata);
    headers
}

/// Tags as a header has them: `a=1&b=2`, escaped.
pub(crate) fn tags_of_header(header: Option<&str>) -> S3Result<Pairs> {
    let pairs = header
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (crate::front::unescape(name), crate::front::unescape(value))
    });
    check_tags(pairs.collect())
}

/// Tags as a document has them.
pub(crate) fn tags_of_set(tags: &[Tag]) -> S3Result<Pairs> {
    let pair = |tag: &Tag| {
        (
            tag.key.clone().unwrap_or_default(),
            tag.value.clone().unwrap_or_default(),
        )
    };
    check_tags(tags.iter().map(pair).collect())
}

fn check_tags(tags: Pairs) -> S3Result<Pairs> {
    if tags.len() > MAX_TAGS {
        let message = format!("Object tags cannot be greater than {MAX_TAGS}");
        return Err(refuse(S3ErrorCode::InvalidTag, message));
    }
    for (n, (name, value)) in tags.iter().enumerate() {
        let name_fits = !name.is_empty() && name.chars().count() <= MAX_TAG_KEY;
        if !name_fits || name.starts_with("aws:") {
            let message = format!("The TagKey you have provided is invalid: {name:?}");
            return Err(refuse(S3ErrorCode::InvalidTag, message));
        }
        if value.chars().count() > MAX_TAG_VALUE {
            let message =
                format!("The TagValue of {name:?} is longer than {MAX_TAG_VALUE} characters");
            return Err(refuse(S3ErrorCode::InvalidTag, message));
        }
        let odd = |c: char| c.is_control() || !is_xml(c);
        if name.chars().chain(value.chars()).any(odd) {
            let message = format!("A tag has a character that no tag can have: {name:?}={value:?}");
            return Err(refuse(S3ErrorCode::InvalidTag, message));
        }
        if tags[..n].iter().any(|(other, _)| other == name) {
            let message = format!("Cannot provide multiple Tags with the same key: {name:?}");
            return Err(refuse(S3ErrorCode::InvalidTag, message));
        }
    }
    Ok(tags)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_as_it_was_sent() {
        let metadata = [
            ("Colour".to_owned(), "grün".to_owned()),
            ("gdprEnabled".into(), "true".into()),
        ];
        let sent = Headers {
            content_type: Some("text/plain".to_owned()),
            content_encoding: Some("gzip,aws-chunked".to_owned()),
            expires: Timestamp::parse(TimestampFormat::HttpDate, "Thu, 01 Jan 2026 00:00:00 GMT")
                .ok(),
            metadata: Some(metadata.into_iter().collect()),
            ..Headers::default()
        };
        let expires = sent.expires.clone();
        let back = from_pairs(sent.into_pairs().unwrap());
        assert_eq!(back.content_type.as_deref(), Some("text/plain"));
        assert_eq!(back.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(back.expires, expires);
        let metadata = back.metadata.unwrap();
        assert_eq!(metadata.get("colour").map(String::as_str), Some("grün"));
        assert_eq!(metadata.len(), 1);
    }

    #[test]
    fn too_much_metadata_and_bad_tags_are_refused() {
        let metadata = [("a".to_owned(), "x".repeat(MAX_METADATA))];
        let large = Headers {
            metadata: Some(metadata.into_iter().collect()),
            ..Headers::default()
        };
        assert_eq!(
            large.into_pairs().unwrap_err().code(),
            &S3ErrorCode::MetadataTooLarge
        );
        assert_eq!(tags_of_header(Some("a=1&b=%20x&c")).unwrap()[1].1, " x");
        let many: Vec<_> = (0..11).map(|n| format!("k{n}=v")).collect();
        for bad in [
            "=1".to_owned(),
            "a=1&a=2".into(),
            "aws:x=1".into(),
            many.join("&"),
            format!("a={}", "v".repeat(257)),
            format!("{}=v", "k".repeat(129)),
            "a=%01".into(),
            "a%0A=1".into(),
        ] {
            let error = tags_of_header(Some(&bad)).unwrap_err();
            assert_eq!(error.code(), &S3ErrorCode::InvalidTag, "{bad}");
        }
    }
}
