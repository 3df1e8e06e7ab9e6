//! Listings: pages of a bucket in the order of the keys' bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ozone_client::ClientError;
use ozone_client::objects::{ListRequest, ListedPage};
use ozone_client::wire::om::Status;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::buckets::{owner, timestamp};
use crate::error::answer;
use crate::gateway::{Answer, Gateway};
use crate::names::SNAPSHOTS;

/// Keys and groups in one answer at most.
const MAX_KEYS: i32 = 1000;

fn limit(asked: Option<i32>) -> S3Result<u32> {
    let asked = asked.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    u32::try_from(asked).map_err(|_| s3_error!(InvalidArgument, "max-keys must not be negative"))
}

/// Text as the client wants it: with `encoding-type=url`, what XML cannot hold is escaped.
struct Encoding(bool);

impl Encoding {
    fn new(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some("url") => Ok(Self(true)),
            Some(_) => Err(s3_error!(
                InvalidArgument,
                "Invalid Encoding Method specified in Request"
            )),
        }
    }

    fn text(&self, text: String) -> String {
        match self.0 {
            true => escape(&text),
            false => text,
        }
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                out.push(byte as char);
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What both versions of the operation ask for.
struct Asked<'a> {
    bucket: &'a str,
    prefix: Option<&'a String>,
    delimiter: Option<&'a String>,
    after: String,
    limit: u32,
}

struct Listed {
    contents: ObjectList,
    prefixes: CommonPrefixList,
    /// The last entry, where there are more behind it.
    next: Option<String>,
}

impl Gateway {
    async fn list<T>(
        &self,
        request: &S3Request<T>,
        asked: Asked<'_>,
        (encoding, owners, expected): (&Encoding, bool, Option<&String>),
    ) -> S3Result<Listed> {
        let objects = self.objects_of(request, asked.bucket, expected).await?;
        let list = ListRequest {
            prefix: asked.prefix.cloned().unwrap_or_default(),
            delimiter: asked.delimiter.cloned().unwrap_or_default(),
            after: asked.after,
            limit: asked.limit.max(1),
        };
        let page = objects
            .list_objects(&self.volume, asked.bucket, &list)
            .await;
        let page = match page {
            // There is nothing in a snapshot that there is not.
            Err(error) if list.prefix.starts_with(SNAPSHOTS) && is_missing(&error) => {
                ListedPage::default()
            }
            page => page.map_err(answer)?,
        };
        Ok(match asked.limit {
            0 => Listed {
                contents: Vec::new(),
                prefixes: Vec::new(),
                next: None,
            },
            _ => listed(page, encoding, owners),
        })
    }

    pub(crate) async fn objects_list(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> Answer<ListObjectsOutput> {
        let input = &request.input;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let limit = limit(input.max_keys)?;
        let asked = Asked {
            bucket: &input.bucket,
            prefix: input.prefix.as_ref(),
            delimiter: input.delimiter.as_ref(),
            after: input.marker.clone().unwrap_or_default(),
            limit,
        };
        let expected = input.expected_bucket_owner.as_ref();
        let listed = self
            .list(&request, asked, (&encoding, true, expected))
            .await?;
        let input = request.input;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.text(input.prefix.unwrap_or_default())),
            marker: Some(encoding.text(input.marker.unwrap_or_default())),
            max_keys: i32::try_from(limit).ok(),
            is_truncated: Some(listed.next.is_some()),
            next_marker: listed.next.map(|next| encoding.text(next)),
            contents: Some(listed.contents),
            common_prefixes: Some(listed.prefixes),
            delimiter: input.delimiter.map(|text| encoding.text(text)),
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }

    pub(crate) async fn objects_list_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        let input = &request.input;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let limit = limit(input.max_keys)?;
        let after = match input.continuation_token.as_deref() {
            Some(token) => from_token(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let asked = Asked {
            bucket: &input.bucket,
            prefix: input.prefix.as_ref(),
            delimiter: input.delimiter.as_ref(),
            after,
            limit,
        };
        let owners = input.fetch_owner == Some(true);
        let expected = input.expected_bucket_owner.as_ref();
        let listed = self
            .list(&request, asked, (&encoding, owners, expected))
            .await?;
        let input = request.input;
        let count = listed.contents.len() + listed.prefixes.len();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoding.text(input.prefix.unwrap_or_default())),
            max_keys: i32::try_from(limit).ok(),
            key_count: i32::try_from(count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(listed.next.is_some()),
            next_continuation_token: listed.next.map(|next| URL_SAFE_NO_PAD.encode(next)),
            contents: Some(listed.contents),
            common_prefixes: Some(listed.prefixes),
            delimiter: input.delimiter.map(|text| encoding.text(text)),
            encoding_type: input.encoding_type,
            start_after: input.start_after.map(|text| encoding.text(text)),
            ..Default::default()
        }))
    }
}

fn is_missing(error: &ClientError) -> bool {
    matches!(
        error.om_status(),
        Some(Status::FileNotFound | Status::KeyNotFound)
    )
}

fn from_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "The continuation token provided is incorrect"
            )
        })
}

fn listed(page: ListedPage, encoding: &Encoding, owners: bool) -> Listed {
    let next = page.more().then(|| page.last().to_vec());
    let object = |found: ozone_client::wire::om::ListedObject| Object {
        e_tag: found.etag.clone().map(ETag::Strong),
        last_modified: found.modification_time.map(timestamp),
        owner: owners.then(|| owner(found.owner())),
        size: i64::try_from(found.size()).ok(),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        key: found.key.map(|key| encoding.text(key)),
        ..Default::default()
    };
    let prefix = |prefix: String| CommonPrefix {
        prefix: Some(encoding.text(prefix)),
    };
    Listed {
        contents: page.objects.into_iter().map(object).collect(),
        prefixes: page.common_prefixes.into_iter().map(prefix).collect(),
        next: next.and_then(|next| String::from_utf8(next).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_escaped() {
        assert_eq!(escape("a b+c/ü\u{1}"), "a+b%2Bc/%C3%BC%01");
    }
}
