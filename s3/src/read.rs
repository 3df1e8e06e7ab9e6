//! Keys: read, whole or in part, and described.
//!
//! `s3s` verifies the signature of such a request and hands it over as it came. Taken apart by `s3s`, a range or a
//! condition that makes no sense would be an error, a list of ETags one, too, and HEAD would tell of no range.

use std::ops::Range as Bytes;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use ozone_client::FileReader;
use ozone_client::objects::KeyName;
use ozone_client::proto::InodeKind;
use ozone_client::wire::om::KeyInfo;
use ozone_client::{ClientError, Objects};
use s3s::dto::Range;
use s3s::route::S3Route;
use s3s::{Body, S3Error, S3Request, S3Response, S3Result, s3_error};

use crate::asked::Asked;
use crate::attributes::{Headers, from_pairs, http_date};
use crate::buckets::timestamp;
use crate::conditions::{Conditions, State};
use crate::content::content;
use crate::error::answer;
use crate::front::{key_of, parameters};
use crate::gateway::Gateway;
use crate::{names, told, understood};

/// The ETag of no bytes, which a directory has.
const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";
/// Where all keys are, as S3 names it.
const STANDARD: HeaderValue = HeaderValue::from_static("STANDARD");
/// Parameters that ask for something else than the key.
const OTHERS: [&str; 7] = [
    "acl",
    "attributes",
    "legal-hold",
    "retention",
    "tagging",
    "torrent",
    "uploadId",
];

/// What a key is, as S3 tells of it.
pub(crate) struct Key {
    pub(crate) info: KeyInfo,
    pub(crate) etag: String,
}

/// Whether the name of a key has a slash at its end: that of a directory, and in an object store any name that was
/// given so. Other things than files and directories are no keys.
fn has_slash(info: &KeyInfo) -> Option<bool> {
    let inode = info.inode.as_ref()?;
    match inode.row.as_ref()?.kind() {
        InodeKind::Directory => Some(true),
        InodeKind::File => Some(inode.r#ref.as_ref()?.name.ends_with(b"/")),
        _ => None,
    }
}

impl Key {
    /// Refuses what is no key: a directory by the name of a file, and the other way round.
    pub(crate) fn new(info: KeyInfo, asked: &str) -> S3Result<Self> {
        if has_slash(&info) != Some(asked.ends_with('/')) {
            return Err(no_such_key());
        }
        let etag = info.etag.clone();
        Ok(Self {
            etag: etag.unwrap_or_else(|| EMPTY.to_owned()),
            info,
        })
    }

    pub(crate) fn size(&self) -> u64 {
        match self.info.is_file() {
            true => self.info.data_size,
            false => 0,
        }
    }

    /// What was stored beside its bytes.
    fn headers(&self) -> Headers {
        let pairs = self.info.metadata.iter();
        from_pairs(pairs.map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default())))
    }

    pub(crate) fn state(&self) -> State<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        State {
            etag: &self.etag,
            modified_ms: self.info.modification_time,
            now_ms: now.map_or(u64::MAX, |now| {
                u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
            }),
        }
    }

    /// Which bytes a range means.
    fn range(&self, asked: Option<&Range>) -> S3Result<Option<Bytes<u64>>> {
        let Some(asked) = asked else { return Ok(None) };
        // Of no bytes there are no last ones, either.
        match asked.check(self.size()) {
            Ok(range) if !range.is_empty() => Ok(Some(range)),
            _ => Err(s3_error!(
                InvalidRange,
                "The requested range is not satisfiable"
            )),
        }
    }

    /// The head of an answer with these bytes.
    fn told(&self, (range, modified): (Option<&Bytes<u64>>, String)) -> S3Result<HeaderMap> {
        let mut headers = told::stored(self.headers())?;
        let size = self.size();
        let length = range.map_or(size, |range| range.end - range.start);
        let mut set = |name, value| told::add(&mut headers, name, value);
        set(ACCEPT_RANGES, "bytes".to_owned())?;
        set(CONTENT_LENGTH, length.to_string())?;
        set(ETAG, format!("\"{}\"", self.etag))?;
        set(LAST_MODIFIED, modified)?;
        if let Some(range) = range {
            let last = range.end - 1;
            set(
                CONTENT_RANGE,
                format!("bytes {}-{last}/{size}", range.start),
            )?;
        }
        if !self.info.tags.is_empty() {
            let name = HeaderName::from_static("x-amz-tagging-count");
            set(name, self.info.tags.len().to_string())?;
        }
        Ok(headers)
    }
}

fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

/// Takes GET and HEAD of keys.
pub(crate) struct Reads(pub(crate) Gateway);

#[async_trait::async_trait]
impl S3Route for Reads {
    fn is_match(&self, method: &Method, uri: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        let query = parameters(uri.query().unwrap_or_default());
        let other = || {
            query
                .iter()
                .any(|(name, _)| OTHERS.contains(&name.as_str()))
        };
        let reads = *method == Method::HEAD || (*method == Method::GET && !other());
        reads && key_of(uri.path()).is_some()
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let operation = match request.method == Method::HEAD {
            true => "HeadObject",
            false => "GetObject",
        };
        understood::check(operation, &request.uri)?;
        self.0.object_read(&request).await
    }
}

/// A key and what reads it. A snapshot itself is described as the directory that it is.
async fn find(
    objects: &Objects,
    name: KeyName<'_>,
    head: bool,
) -> Result<(KeyInfo, Option<FileReader>), ClientError> {
    match head || names::is_snapshot(name.key) {
        true => Ok((objects.head_object(name).await?, None)),
        false => objects.read_object(name).await,
    }
}

impl Gateway {
    async fn object_read(&self, request: &S3Request<Body>) -> S3Result<S3Response<Body>> {
        let asked = Asked::new(request)?;
        let owner = asked.owner.as_ref();
        let objects = self.objects_of(request, &asked.bucket, owner).await?;
        let name = names::key(&objects, &self.volume, &asked.bucket, &asked.key).await?;
        let found = find(&objects, name, asked.head).await;
        let (info, reader) = found.map_err(answer)?;
        let key = Key::new(info, &asked.key)?;
        check(&asked.conditions, &key)?;
        let modified = http_date(&timestamp(key.info.modification_time))?;
        let range = key.range(asked.range(&key.etag, &modified))?;
        let mut headers = key.told((range.as_ref(), modified))?;
        headers.extend(asked.replaced);
        if asked.head {
            headers.insert("x-amz-storage-class", STANDARD);
        }
        let status = match range.is_some() {
            true => StatusCode::PARTIAL_CONTENT,
            false => StatusCode::OK,
        };
        let body = match asked.head {
            true => Body::empty(),
            false => content(reader, range.unwrap_or(0..key.size())).await?,
        };
        let mut response = S3Response::with_status(body, status);
        response.headers = headers;
        Ok(response)
    }
}

/// Conditions of a read; who has the key already is told which it is.
fn check(conditions: &Conditions, key: &Key) -> S3Result<()> {
    conditions
        .check(&key.state())
        .map_err(|mut error: S3Error| {
            let mut headers = HeaderMap::new();
            if let Ok(etag) = format!("\"{}\"", key.etag).parse() {
                headers.insert(ETAG, etag);
            }
            error.set_headers(headers);
            error
        })
}
