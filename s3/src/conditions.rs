//! Conditions of requests: If-Match and its relatives, as RFC 9110 weighs them against one another.

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// What a request makes its answer depend on.
#[derive(Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) if_match: Option<&'a ETagCondition>,
    pub(crate) if_none_match: Option<&'a ETagCondition>,
    pub(crate) if_modified_since: Option<&'a Timestamp>,
    pub(crate) if_unmodified_since: Option<&'a Timestamp>,
}

/// What a key is, as far as conditions ask.
pub(crate) struct State<'a> {
    pub(crate) etag: &'a str,
    /// Milliseconds since the epoch.
    pub(crate) modified_ms: u64,
    /// Likewise.
    pub(crate) now_ms: u64,
}

/// Whether an ETag is meant; weak ones too, as clients send back what proxies made of it.
fn matches(condition: &ETagCondition, etag: &str) -> bool {
    condition.is_any() || condition.as_etag().map(ETag::value) == Some(etag)
}

/// Whole seconds since the epoch: headers know no others.
fn seconds(time: &Timestamp) -> i64 {
    s3s_time(time).unix_timestamp()
}

fn s3s_time(time: &Timestamp) -> time::OffsetDateTime {
    time.clone().into()
}

impl Conditions<'_> {
    /// Refuses, with what a read is answered with: 412, or 304 for what the client has already.
    pub(crate) fn check(&self, key: &State<'_>) -> S3Result<()> {
        let modified = (key.modified_ms / 1000).cast_signed();
        match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition, key.etag) => {
                return Err(failed("If-Match"));
            }
            (None, Some(since)) if modified > seconds(since) => {
                return Err(failed("If-Unmodified-Since"));
            }
            _ => {}
        }
        match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) if matches(condition, key.etag) => {
                Err(s3_error!(NotModified, "Not Modified"))
            }
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

    fn check(conditions: Conditions<'_>) -> Option<S3ErrorCode> {
        let key = State {
            etag: "abc",
            modified_ms: 100_900,
            now_ms: 200_000,
        };
        conditions.check(&key).err().map(|e| e.code().clone())
    }

    #[test]
    fn an_etag_weighs_more_than_a_time() {
        let (same, other) = (
            ETagCondition::ETag(ETag::Strong("abc".into())),
            ETagCondition::ETag(ETag::Strong("abd".into())),
        );
        let (early, late, future) = (at(50), at(150), at(300));
        let none = Conditions::default;
        let failed = Some(S3ErrorCode::PreconditionFailed);
        let known = Some(S3ErrorCode::NotModified);
        assert_eq!(check(none()), None);
        assert_eq!(
            check(Conditions {
                if_match: Some(&other),
                ..none()
            }),
            failed
        );
        assert_eq!(
            check(Conditions {
                if_unmodified_since: Some(&early),
                ..none()
            }),
            failed
        );
        let both = Conditions {
            if_match: Some(&same),
            if_unmodified_since: Some(&early),
            ..none()
        };
        assert_eq!(check(both), None);
        assert_eq!(
            check(Conditions {
                if_none_match: Some(&same),
                ..none()
            }),
            known
        );
        assert_eq!(
            check(Conditions {
                if_modified_since: Some(&late),
                ..none()
            }),
            known
        );
        assert_eq!(
            check(Conditions {
                if_modified_since: Some(&future),
                ..none()
            }),
            None
        );
        let both = Conditions {
            if_none_match: Some(&other),
            if_modified_since: Some(&late),
            ..none()
        };
        assert_eq!(check(both), None);
    }
}
