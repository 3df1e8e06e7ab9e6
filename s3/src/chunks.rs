//! Bodies that come in chunks of Amazon's own. `s3s` holds each chunk in memory as a whole, whatever size the client
//! gives it; before it sees them, chunks that carry no signature are cut small here, and signed ones, which cannot
//! be cut, are refused when they are too large.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::HeaderMap;
use http_body_util::{BodyDataStream, StreamBody};
use hyper::body::{Frame, Incoming};
use s3s::Body;

/// The largest chunk that is passed on.
const PIECE: u64 = 256 << 10;
/// The largest signed chunk that is taken.
const MAX_SIGNED: u64 = 16 << 20;
/// The longest line before a chunk.
const MAX_HEAD: usize = 1024;

/// Where in a body the next byte is.
enum Place {
    /// In the line that tells a chunk's size.
    Head(Vec<u8>),
    /// In a chunk, with so many bytes to come.
    Data(u64),
    /// In the line break behind a chunk, with so many bytes to come.
    Break(usize),
    /// Behind the last chunk.
    Trailers,
}

struct Chunks {
    signed: bool,
    place: Place,
}

/// The body of a request, with its chunks bounded if it has any.
pub(crate) fn bounded(headers: &HeaderMap, body: Incoming) -> Body {
    let mode = headers
        .get("x-amz-content-sha256")
        .map(|mode| mode.as_bytes());
    let Some(mode) = mode.filter(|mode| mode.starts_with(b"STREAMING-")) else {
        return Body::from(body);
    };
    let mut chunks = Chunks {
        signed: !mode.starts_with(b"STREAMING-UNSIGNED-"),
        place: Place::Head(Vec::new()),
    };
    let stream = BodyDataStream::new(body).map(move |data| {
        let data = data.map_err(io::Error::other)?;
        chunks.pass(data).map(Frame::data)
    });
    Body::http_body_unsync(StreamBody::new(stream))
}

fn malformed(what: String) -> io::Error {
    io::Error::other(format!("FormatError: {what}"))
}

impl Chunks {
    /// What is passed on for the next bytes of the body.
    fn pass(&mut self, data: Bytes) -> io::Result<Bytes> {
        let mut cut = BytesMut::new();
        let mut rest = data.clone();
        while !rest.is_empty() {
            self.step(&mut rest, &mut cut)?;
        }
        Ok(if self.signed { data } else { cut.freeze() })
    }

    fn step(&mut self, rest: &mut Bytes, cut: &mut BytesMut) -> io::Result<()> {
        match &mut self.place {
            Place::Head(head) => {
                let end = rest.iter().position(|byte| *byte == b'\n');
                let line = rest.split_to(end.map_or(rest.len(), |end| end + 1));
                head.extend_from_slice(&line);
                if head.len() > MAX_HEAD {
                    return Err(malformed("the line before a chunk is too long".to_owned()));
                }
                if end.is_some() {
                    let head = std::mem::take(head);
                    self.begin(&head, cut)?;
                }
            }
            Place::Data(left) => {
                let length = (*left).min(PIECE).min(rest.len() as u64);
                let piece = rest.split_to(usize::try_from(length).unwrap_or(rest.len()));
                cut.extend_from_slice(format!("{length:x}\r\n").as_bytes());
                cut.extend_from_slice(&piece);
                cut.extend_from_slice(b"\r\n");
                *left -= length;
                if *left == 0 {
                    self.place = Place::Break(2);
                }
            }
            Place::Break(left) => {
                let wanted = &b"\r\n"[2 - *left..];
                let found = rest.split_to(wanted.len().min(rest.len()));
                if !wanted.starts_with(&found) {
                    return Err(malformed("a chunk is longer than it says".to_owned()));
                }
                *left -= found.len();
                if *left == 0 {
                    self.place = Place::Head(Vec::new());
                }
            }
            Place::Trailers => cut.extend_from_slice(&rest.split_off(0)),
        }
        Ok(())
    }

    /// A chunk begins.
    fn begin(&mut self, head: &[u8], cut: &mut BytesMut) -> io::Result<()> {
        let line = String::from_utf8_lossy(head);
        let line = line.trim_end();
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| malformed("no size before a chunk".to_owned()))?;
        if self.signed && size > MAX_SIGNED {
            let message = format!("a signed chunk of {size} bytes: at most {MAX_SIGNED} are taken");
            return Err(malformed(message));
        }
        if !self.signed && !extension.is_empty() {
            return Err(malformed("a signature where none is promised".to_owned()));
        }
        self.place = match size {
            0 => Place::Trailers,
            size => Place::Data(size),
        };
        if size == 0 {
            cut.extend_from_slice(head);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pass(signed: bool, body: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let place = Place::Head(Vec::new());
        let mut chunks = Chunks { signed, place };
        let mut out = Vec::new();
        for data in body.chunks(step) {
            out.extend(chunks.pass(Bytes::copy_from_slice(data))?);
        }
        Ok(out)
    }

    /// The bytes of a body in chunks, none of which is too large, and what is behind them.
    fn read(mut body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut data = Vec::new();
        loop {
            let end = body.windows(2).position(|w| w == b"\r\n").unwrap();
            let size =
                usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
            assert!(size as u64 <= PIECE);
            body = &body[end + 2..];
            if size == 0 {
                return (data, body.to_vec());
            }
            data.extend_from_slice(&body[..size]);
            assert_eq!(&body[size..size + 2], b"\r\n");
            body = &body[size + 2..];
        }
    }

    #[test]
    fn unsigned_chunks_of_any_size_are_passed_on_in_small_ones() {
        let content: Vec<u8> = (0..3 * PIECE as usize + 7).map(|n| n as u8).collect();
        let mut body = format!("{:X}\r\n", content.len()).into_bytes();
        body.extend(&content);
        body.extend(b"\r\n3\r\nend\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        for step in [1, 7, 100_000, body.len()] {
            let (data, behind) = read(&pass(false, &body, step).unwrap());
            assert_eq!(data, [&content[..], b"end"].concat());
            assert_eq!(behind, b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        }
    }

    #[test]
    fn signed_chunks_are_passed_on_as_they_are_unless_they_are_too_large() {
        let body = b"5;chunk-signature=0\r\nhello\r\n0;chunk-signature=0\r\n\r\n";
        assert_eq!(pass(true, body, 3).unwrap(), body);
        let large = format!("{:x};chunk-signature=0\r\n", MAX_SIGNED + 1);
        pass(true, large.as_bytes(), 100).unwrap_err();
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in [
            &b"x\r\n"[..],
            b"\r\n",
            b"3\r\nlonger\r\n",
            b"3;chunk-signature=0\r\nabc\r\n",
        ] {
            pass(false, bad, 2).unwrap_err();
        }
        pass(false, &[b'1'; 2 * MAX_HEAD], 100).unwrap_err();
    }
}
