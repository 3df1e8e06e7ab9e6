//! Conditions of requests: If-Match and its relatives, as RFC 9110 weighs them against one another.

use http::{HeaderMap, HeaderName};
use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// The ETags of a condition.
pub(crate) enum ETags {
    /// Any that there is.
    Any,
    /// One of these.
    Of(Vec<String>),
}

/// What a request makes its answer depend on.
#[derive(Default)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<ETags>,
    pub(crate) if_none_match: Option<ETags>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

/// What a key is, as far as conditions ask.
pub(crate) struct State<'a> {
    pub(crate) etag: &'a str,
    /// Milliseconds since the epoch.
    pub(crate) modified_ms: u64,
    /// Likewise.
    pub(crate) now_ms: u64,
}

impl ETags {
    /// The one that `s3s` has found.
    pub(crate) fn of(condition: &ETagCondition) -> Self {
        match condition.as_etag() {
            None => Self::Any,
            Some(etag) => Self::Of(vec![etag.value().to_owned()]),
        }
    }

    /// A list as a header has it: `"a", W/"b"`, or `*`. Clients leave the quotes out, too.
    pub(crate) fn parse(list: &str) -> Self {
        let mut rest = list.trim();
        if rest == "*" {
            return Self::Any;
        }
        let mut tags = Vec::new();
        while !rest.is_empty() {
            let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
            let (tag, behind) = match quoted {
                Some(inside) => inside.split_once('"').unwrap_or((inside, "")),
                None => rest.split_once(',').unwrap_or((rest, "")),
            };
            tags.push(tag.trim().to_owned());
            rest = behind.trim_start_matches([',', ' ', '\t']);
        }
        Self::Of(tags)
    }

    /// Whether an ETag is meant; weak ones too, as clients send back what proxies made of it.
    fn mean(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// The condition of a header that `s3s` does not know of an operation.
pub(crate) fn header(headers: &HeaderMap, name: &HeaderName) -> S3Result<Option<ETagCondition>> {
    let value = headers.get(name).map(|value| value.as_bytes());
    let value = value.filter(|value| !value.is_empty());
    let parsed = value.map(ETagCondition::parse_http_header).transpose();
    parsed.map_err(|error| s3_error!(error, InvalidRequest, "invalid header: {name}"))
}

/// Whole seconds since the epoch: headers know no others.
fn seconds(time: &Timestamp) -> i64 {
    s3s_time(time).unix_timestamp()
}

fn s3s_time(time: &Timestamp) -> time::OffsetDateTime {
    time.clone().into()
}

impl Conditions {
    /// Refuses, with what a read is answered with: 412, or 304 for what the client has already.
    pub(crate) fn check(&self, key: &State<'_>) -> S3Result<()> {
        let modified = (key.modified_ms / 1000).cast_signed();
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(tags), _) if !tags.mean(key.etag) => {
                return Err(failed("If-Match"));
            }
            (None, Some(since)) if modified > seconds(since) => {
                return Err(failed("If-Unmodified-Since"));
            }
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(tags), _) if tags.mean(key.etag) => Err(s3_error!(NotModified, "Not Modified")),
            // A time that is yet to come is no time at which the client can have looked.
            (None, Some(since))
                if modified <= seconds(since)
                    && seconds(since) <= (key.now_ms / 1000).cast_signed() =>
            {
                Err(s3_error!(NotModified, "Not Modified"))
            }
            _ => Ok(()),
        }
    }

    /// As `check`, for the source of a copy: there is nothing that the client has already.
    pub(crate) fn check_source(&self, key: &State<'_>) -> S3Result<()> {
        self.check(key)
            .map_err(|_| failed("x-amz-copy-source-if-*"))
    }
}

fn failed(condition: &str) -> S3Error {
    let message =
        format!("At least one of the pre-conditions you specified did not hold: {condition}");
    crate::error::refuse(S3ErrorCode::PreconditionFailed, message)
}

/// What a write demands of what has its name: that nothing has, and which ETag.
pub(crate) fn of_write(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<(bool, Option<String>)> {
    if if_none_match.is_some_and(|condition| !condition.is_any()) {
        let message = "If-None-Match of a write can only be *";
        return Err(crate::error::refuse(S3ErrorCode::NotImplemented, message));
    }
    let etag = if_match.map(|condition| match condition.as_etag() {
        Some(etag) => etag.value().to_owned(),
        None => "*".to_owned(),
    });
    Ok((if_none_match.is_some(), etag))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        time::OffsetDateTime::from_unix_timestamp(seconds)
            .unwrap()
            .into()
    }

    fn check(conditions: Conditions) -> Option<S3ErrorCode> {
        let key = State {
            etag: "abc",
            modified_ms: 100_900,
            now_ms: 200_000,
        };
        conditions.check(&key).err().map(|e| e.code().clone())
    }

    #[test]
    fn a_list_means_each_of_its_etags() {
        for list in [
            "\"x\", \"abc\"",
            "W/\"abc\",\"y\"",
            "abc",
            "x,abc",
            "*",
            " \"x,y\" ,\"abc\" ",
        ] {
            assert!(ETags::parse(list).mean("abc"), "{list}");
        }
        for list in ["\"x, abc\"", "\"ab\"", "", "\"abcd\"", "\"*\""] {
            assert!(!ETags::parse(list).mean("abc"), "{list}");
        }
    }

    #[test]
    fn an_etag_weighs_more_than_a_time() {
        let same = || Some(ETags::parse("abc"));
        let other = || Some(ETags::parse("abd"));
        let (early, late, future) = (Some(at(50)), Some(at(150)), Some(at(300)));
        let none = Conditions::default;
        let failed = Some(S3ErrorCode::PreconditionFailed);
        let known = Some(S3ErrorCode::NotModified);
        assert_eq!(check(none()), None);
        let unequal = Conditions {
            if_match: other(),
            ..none()
        };
        assert_eq!(check(unequal), failed);
        let newer = Conditions {
            if_unmodified_since: early.clone(),
            ..none()
        };
        assert_eq!(check(newer), failed);
        let both = Conditions {
            if_match: same(),
            if_unmodified_since: early,
            ..none()
        };
        assert_eq!(check(both), None);
        let equal = Conditions {
            if_none_match: same(),
            ..none()
        };
        assert_eq!(check(equal), known);
        let older = Conditions {
            if_modified_since: late.clone(),
            ..none()
        };
        assert_eq!(check(older), known);
        let to_come = Conditions {
            if_modified_since: future,
            ..none()
        };
        assert_eq!(check(to_come), None);
        let both = Conditions {
            if_none_match: other(),
            if_modified_since: late,
            ..none()
        };
        assert_eq!(check(both), None);
    }
}
