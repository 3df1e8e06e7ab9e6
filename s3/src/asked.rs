//! What a GET or a HEAD of a key asks for. What cannot be understood of a range or of a time is left out, as HTTP wants
//! it: the answer is the whole key then.

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use s3s::dto::{Range, Timestamp, TimestampFormat};
use s3s::{Body, S3ErrorCode, S3Request, S3Result, s3_error};

use crate::conditions::{Conditions, ETags};
use crate::error::refuse;
use crate::front::{key_of, parameters};
use crate::objects::refuse_versions;

/// Parameters of a link, and the headers of the answer that they replace.
const REPLACED: [(&str, HeaderName); 6] = [
    ("response-content-type", CONTENT_TYPE),
    ("response-content-language", CONTENT_LANGUAGE),
    ("response-expires", EXPIRES),
    ("response-cache-control", CACHE_CONTROL),
    ("response-content-disposition", CONTENT_DISPOSITION),
    ("response-content-encoding", CONTENT_ENCODING),
];

/// A request for a key.
pub(crate) struct Asked {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// Whether only the head of the answer is wanted.
    pub(crate) head: bool,
    /// Who has to own the bucket.
    pub(crate) owner: Option<String>,
    pub(crate) conditions: Conditions,
    range: Option<Range>,
    /// The range is meant of this ETag, or of what was not changed since.
    if_range: Option<String>,
    /// What is told instead of what is kept.
    pub(crate) replaced: HeaderMap,
}

/// All lines of a header, as one.
fn text(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<String> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn time(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, &text(headers, name)?).ok()
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Option<ETags> {
    text(headers, name).map(|list| ETags::parse(&list))
}

impl Asked {
    /// Takes a request apart.
    pub(crate) fn new(request: &S3Request<Body>) -> S3Result<Self> {
        let headers = &request.headers;
        let (bucket, key) = key_of(request.uri.path())
            .ok_or_else(|| s3_error!(InvalidURI, "the address has no key"))?;
        let mut asked = Self {
            bucket,
            key,
            head: request.method == Method::HEAD,
            owner: text(headers, "x-amz-expected-bucket-owner"),
            conditions: Conditions {
                if_match: tags(headers, IF_MATCH),
                if_none_match: tags(headers, IF_NONE_MATCH),
                if_modified_since: time(headers, IF_MODIFIED_SINCE),
                if_unmodified_since: time(headers, IF_UNMODIFIED_SINCE),
            },
            range: text(headers, RANGE).and_then(|range| Range::parse(&range).ok()),
            if_range: text(headers, IF_RANGE),
            replaced: HeaderMap::new(),
        };
        for (name, value) in parameters(request.uri.query().unwrap_or_default()) {
            asked.parameter(&name, value)?;
        }
        Ok(asked)
    }

    fn parameter(&mut self, name: &str, value: String) -> S3Result<()> {
        if name == "versionId" {
            return refuse_versions(Some(&value));
        }
        if name == "partNumber" {
            let message = "reading a part by its number is not implemented";
            return Err(refuse(S3ErrorCode::NotImplemented, message));
        }
        let Some((_, header)) = REPLACED.iter().find(|(known, _)| *known == name) else {
            return Ok(());
        };
        let value = HeaderValue::try_from(value).map_err(|_| {
            let message = format!("{name} cannot be in a header");
            refuse(S3ErrorCode::InvalidRequest, message)
        })?;
        self.replaced.insert(header, value);
        Ok(())
    }

    /// The range, if it is of what the key is now: its ETag, and when it was changed, as a header tells it.
    pub(crate) fn range(&self, etag: &str, modified: &str) -> Option<&Range> {
        let same = match self.if_range.as_deref() {
            None => true,
            Some(of) => of == format!("\"{etag}\"") || of == modified,
        };
        self.range.as_ref().filter(|_| same)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(target: &str, headers: &[(&str, &str)]) -> S3Result<Asked> {
        let mut request = http::Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Asked::new(&S3Request {
            input: Body::empty(),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            extensions: parts.extensions,
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        })
    }

    #[test]
    fn what_is_no_range_or_no_time_is_left_out() {
        for range in ["bytes=5-2", "bytes=0-1,3-4", "items=0-1", "bytes=abc", "5"] {
            let asked = asked("/b/k", &[("range", range)]).unwrap();
            assert!(asked.range("e", "d").is_none(), "{range}");
        }
        let good = asked("/b/k", &[("range", "bytes=1-2")]).unwrap();
        assert!(good.range("e", "d").is_some());
        let times = [
            ("if-modified-since", "yesterday"),
            ("if-unmodified-since", ""),
        ];
        let conditions = asked("/b/k", &times).unwrap().conditions;
        assert!(conditions.if_modified_since.is_none());
        assert!(conditions.if_unmodified_since.is_none());
    }

    #[test]
    fn a_range_of_what_the_key_is_no_more_is_left_out() {
        let date = "Thu, 01 Jan 2026 00:00:00 GMT";
        let of = |if_range: &str| {
            let headers = [("range", "bytes=1-2"), ("if-range", if_range)];
            let asked = asked("/b/k", &headers).unwrap();
            asked.range("abc", date).is_some()
        };
        assert!(of("\"abc\"") && of(date));
        for other in ["\"abd\"", "W/\"abc\"", "Fri, 02 Jan 2026 00:00:00 GMT", "x"] {
            assert!(!of(other), "{other}");
        }
    }

    #[test]
    fn parameters_replace_headers_and_ask_for_no_part_or_version() {
        let target = "/b/a%2Fk?response-content-type=a%2Fb&versionId=null";
        let asked_of = asked(target, &[]).unwrap();
        assert_eq!(asked_of.key, "a/k");
        assert_eq!(asked_of.replaced.get(CONTENT_TYPE).unwrap(), "a/b");
        for bad in [
            "/b/k?versionId=1",
            "/b/k?partNumber=1",
            "/b/k?response-expires=a%0D%0Ab",
        ] {
            assert!(asked(bad, &[]).is_err(), "{bad}");
        }
    }
}
