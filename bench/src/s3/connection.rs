//! A client of S3 that costs little: a connection that stays, requests signed by hand. All stores are measured by it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use ozone_tests::s3::{Request, S3};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::net::TcpStream;

use crate::error::{BenchError, Result};

/// Bytes to send, with the digest that signatures cover: made once, so that the client is not what is measured.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    digest: String,
}

impl Content {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes);
        let digest = digest.iter().map(|byte| format!("{byte:02x}"));
        Self {
            digest: digest.collect(),
            bytes: bytes.into(),
        }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Vec::new())
    }
}

/// An answer whose body was read.
pub(crate) struct Answer {
    /// The ETag, with its quotes.
    pub(crate) etag: String,
    pub(crate) body: Bytes,
}

impl Answer {
    /// What is between the tags of an element, the first of its name.
    pub(crate) fn element(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.body);
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (inside, _) = rest.split_once("</")?;
        Some(inside.to_owned())
    }

    /// How many elements of a name there are.
    pub(crate) fn count(&self, name: &str) -> usize {
        let text = String::from_utf8_lossy(&self.body);
        text.matches(&format!("<{name}>")).count()
    }
}

/// A connection to a store, for one request after the other.
pub(crate) struct Connection {
    s3: S3,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) async fn open(s3: &S3) -> Result<Self> {
        let stream = TcpStream::connect(&s3.endpoint).await;
        let stream = stream.map_err(|error| failed(s3, error))?;
        stream
            .set_nodelay(true)
            .map_err(|error| failed(s3, error))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(s3, error))?;
        // Its end is seen by the next request.
        tokio::spawn(connection);
        Ok(Self {
            s3: s3.clone(),
            sender,
        })
    }

    /// Signs and sends a request; the answer's head.
    pub(crate) async fn begin(
        &mut self,
        mut request: Request,
        content: &Content,
    ) -> Result<Response<Incoming>> {
        let now = OffsetDateTime::now_utc();
        self.s3.sign_at(&mut request, &content.digest, now);
        let mut head = hyper::Request::builder()
            .method(request.method)
            .uri(request.target());
        for (name, value) in &request.headers {
            head = head.header(name, value);
        }
        let what = format!("{} {}", request.method, request.path);
        let sent = head
            .body(Full::new(content.bytes.clone()))
            .map_err(|error| failed(&self.s3, error))?;
        let answer = self.sender.send_request(sent).await;
        let answer = answer.map_err(|error| failed(&self.s3, error))?;
        if answer.status() < StatusCode::MULTIPLE_CHOICES {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
        let text = String::from_utf8_lossy(&body);
        Err(failed(&self.s3, format!("{what}: {status}: {text}")))
    }

    /// Signs and sends a request; the whole answer.
    pub(crate) async fn ask(&mut self, request: Request, content: &Content) -> Result<Answer> {
        let answer = self.begin(request, content).await?;
        let etag = answer.headers().get(hyper::header::ETAG);
        let etag = etag.and_then(|etag| etag.to_str().ok());
        let etag = etag.unwrap_or_default().to_owned();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| failed(&self.s3, error))?.to_bytes();
        Ok(Answer { etag, body })
    }

    /// The store did something else than was asked of it.
    pub(crate) fn wrong(&self, problem: impl std::fmt::Display) -> BenchError {
        failed(&self.s3, problem)
    }
}

fn failed(s3: &S3, problem: impl std::fmt::Display) -> BenchError {
    BenchError::S3 {
        endpoint: s3.endpoint.clone(),
        problem: problem.to_string(),
    }
}
