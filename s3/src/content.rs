//! The bytes of a range of a key, on their way to the client.

use std::ops::Range;

use ozone_client::FileReader;
use ozone_common::request;
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Result, s3_error};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::answer;

/// Bytes that are read at a time.
const PIECE: u64 = 1 << 20;
/// Pieces that wait for the client at most.
const WAITING: usize = 2;

/// The bytes of a range. Few are read before the answer begins, so that what cannot be read is an error and no
/// broken answer; of many a few pieces at a time are in memory.
pub(crate) async fn content(reader: Option<FileReader>, range: Range<u64>) -> S3Result<Body> {
    let Some(reader) = reader.filter(|_| !range.is_empty()) else {
        return Ok(Body::empty());
    };
    let first = piece(&reader, &range).await?;
    let read = first.len() as u64;
    if read == range.end - range.start {
        return Ok(Body::from(first));
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
    let rest = StreamingBlob::wrap(ReceiverStream::new(receiver));
    Ok(Body::from(rest))
}

async fn piece(reader: &FileReader, range: &Range<u64>) -> S3Result<bytes::Bytes> {
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
