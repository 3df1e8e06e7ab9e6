//! Keys: read, whole or in part, and described.

use std::ops::Range as Bytes;
use std::time::{SystemTime, UNIX_EPOCH};

use ozone_client::FileReader;
use ozone_client::wire::om::KeyInfo;
use ozone_common::request;
use s3s::dto::*;
use s3s::{Body, S3Error, S3Request, S3Response, S3Result, s3_error};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::attributes::{Headers, from_pairs};
use crate::buckets::timestamp;
use crate::conditions::{Conditions, State};
use crate::error::answer;
use crate::gateway::{Answer, Gateway};
use crate::names;
use crate::objects::refuse_versions;

/// Bytes that are read at a time.
const PIECE: u64 = 1 << 20;
/// Pieces that wait for the client at most.
const WAITING: usize = 2;

/// What a key is, as S3 tells of it.
pub(crate) struct Key {
    pub(crate) info: KeyInfo,
    pub(crate) etag: String,
}

impl Key {
    /// Refuses what is no key: a directory by the name of a file, and the other way round.
    pub(crate) fn new(info: KeyInfo, asked: &str) -> S3Result<Self> {
        let directory = info.key_name.ends_with('/');
        let listed = directory || info.is_file();
        if directory != asked.ends_with('/') || !listed {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
        }
        // A directory has the ETag of no bytes.
        let etag = info.etag.clone();
        Ok(Self {
            etag: etag.unwrap_or_else(|| "d41d8cd98f00b204e9800998ecf8427e".to_owned()),
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
        let range = asked.check(self.size());
        let range =
            range.map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
        Ok(Some(range))
    }
}

/// Takes the conditions of a read out of an input.
macro_rules! conditions {
    ($input:expr) => {
        Conditions {
            if_match: $input.if_match.as_ref(),
            if_none_match: $input.if_none_match.as_ref(),
            if_modified_since: $input.if_modified_since.as_ref(),
            if_unmodified_since: $input.if_unmodified_since.as_ref(),
        }
    };
}

fn length(bytes: u64) -> Option<i64> {
    i64::try_from(bytes).ok()
}

fn content_range(range: Option<&Bytes<u64>>, size: u64) -> Option<String> {
    range.map(|range| format!("bytes {}-{}/{size}", range.start, range.end - 1))
}

fn refuse_parts(part: Option<i32>) -> S3Result<()> {
    match part {
        None => Ok(()),
        Some(_) => Err(s3_error!(
            NotImplemented,
            "reading a part by its number is not implemented"
        )),
    }
}

impl Gateway {
    pub(crate) async fn object_get(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> Answer<GetObjectOutput> {
        let input = &request.input;
        refuse_versions(input.version_id.as_ref())?;
        refuse_parts(input.part_number)?;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let name = names::key(&objects, &self.volume, &input.bucket, &input.key).await?;
        let (info, reader) = objects.read_object(name).await.map_err(answer)?;
        let key = Key::new(info, &input.key)?;
        check(&conditions!(input), &key)?;
        let range = key.range(input.range.as_ref())?;
        let wanted = range.clone().unwrap_or(0..key.size());
        let tags = i32::try_from(key.info.tags.len()).ok();
        let headers = key.headers();
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: length(wanted.end - wanted.start),
            content_range: content_range(range.as_ref(), key.size()),
            content_type: headers.content_type.or_else(default_type),
            cache_control: headers.cache_control,
            content_disposition: headers.content_disposition,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            expires: headers.expires,
            metadata: headers.metadata,
            tag_count: tags.filter(|count| *count > 0),
            e_tag: Some(ETag::Strong(key.etag.clone())),
            last_modified: Some(timestamp(key.info.modification_time)),
            body: Some(content(reader, wanted).await?),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    pub(crate) async fn object_head(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> Answer<HeadObjectOutput> {
        let input = &request.input;
        refuse_versions(input.version_id.as_ref())?;
        refuse_parts(input.part_number)?;
        let owner = input.expected_bucket_owner.as_ref();
        let objects = self.objects_of(&request, &input.bucket, owner).await?;
        let name = names::key(&objects, &self.volume, &input.bucket, &input.key).await?;
        let info = objects.head_object(name).await.map_err(answer)?;
        let key = Key::new(info, &input.key)?;
        check(&conditions!(input), &key)?;
        let range = key.range(input.range.as_ref())?;
        let wanted = range.clone().unwrap_or(0..key.size());
        let headers = key.headers();
        let mut response = S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: length(wanted.end - wanted.start),
            content_range: content_range(range.as_ref(), key.size()),
            content_type: headers.content_type.or_else(default_type),
            cache_control: headers.cache_control,
            content_disposition: headers.content_disposition,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            expires: headers.expires,
            metadata: headers.metadata,
            e_tag: Some(ETag::Strong(key.etag.clone())),
            last_modified: Some(timestamp(key.info.modification_time)),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..Default::default()
        });
        if range.is_some() {
            response.status = Some(http::StatusCode::PARTIAL_CONTENT);
        }
        Ok(response)
    }
}

/// The type of a key of which nobody has said another.
fn default_type() -> Option<String> {
    Some("binary/octet-stream".to_owned())
}

/// Conditions of a read; who has the key already is told which it is.
fn check(conditions: &Conditions<'_>, key: &Key) -> S3Result<()> {
    conditions
        .check(&key.state())
        .map_err(|mut error: S3Error| {
            let mut headers = http::HeaderMap::new();
            if let Ok(etag) = format!("\"{}\"", key.etag).parse() {
                headers.insert(http::header::ETAG, etag);
            }
            error.set_headers(headers);
            error
        })
}

/// The bytes of a range. Few are read before the answer begins, so that what cannot be read is an error and no
/// broken answer; of many a few pieces at a time are in memory.
async fn content(reader: Option<FileReader>, range: Bytes<u64>) -> S3Result<StreamingBlob> {
    let Some(reader) = reader.filter(|_| !range.is_empty()) else {
        return Ok(StreamingBlob::from(Body::empty()));
    };
    let first = piece(&reader, &range).await?;
    let read = first.len() as u64;
    if read == range.end - range.start {
        return Ok(StreamingBlob::from(Body::from(first)));
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    let rest = range.start + read..range.end;
    tokio::spawn(request::carry(async move {
        let mut data = Ok(first);
        let mut rest = rest;
        loop {
            let failed = data.is_err();
            let sent = sender.send(data.map_err(std::io::Error::other)).await;
            // A client that is gone needs no more.
            if sent.is_err() || failed || rest.is_empty() {
                return;
            }
            data = piece(&reader, &rest).await;
            rest.start += data.as_ref().map_or(0, |data| data.len() as u64);
        }
    }));
    Ok(StreamingBlob::wrap(ReceiverStream::new(receiver)))
}

async fn piece(reader: &FileReader, range: &Bytes<u64>) -> S3Result<bytes::Bytes> {
    let length = PIECE.min(range.end - range.start);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let data = reader.read(range.start, length).await.map_err(answer)?;
    match data.is_empty() {
        // It was cut while it was read.
        true => Err(s3_error!(
            InternalError,
            "the key changed while it was read"
        )),
        false => Ok(data),
    }
}
