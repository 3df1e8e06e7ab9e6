//! Requests whose body is a document. `s3s` reads all of it before it hands the request on, and verifies none of the
//! digests that the client has sent of it: they are made here while it is read, and compared before anything is done.

use std::sync::Arc;

use futures::StreamExt;
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body_util::{BodyDataStream, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use s3s::{Body, S3Request, S3Result};

use crate::body::{Digests, Promised};
use crate::front::{key_of, parameters};

/// The digests of a document, with the request that it came with.
#[derive(Clone)]
struct Made(Arc<Mutex<Option<(Promised, Digests)>>>);

/// Whether the body is a document: that of every POST, and of every PUT that is no upload.
fn is_document(request: &Parts) -> bool {
    let query = parameters(request.uri.query().unwrap_or_default());
    request.method == Method::POST
        || key_of(request.uri.path()).is_none()
        || query.iter().any(|(name, _)| name == "tagging")
}

/// What the headers promise of a document, if they promise anything.
fn promised(headers: &HeaderMap) -> Option<Promised> {
    let mut promised = Promised::of_headers(headers);
    let any = promised.md5.is_some() || promised.sums();
    any.then_some(promised)
}

/// Lets the digests of a document be made while it passes.
pub(crate) fn watch(request: &mut Parts, body: Body) -> Body {
    let promised = promised(&request.headers).filter(|_| is_document(request));
    let Some(mut promised) = promised else {
        return body;
    };
    let digests = Digests::new(&mut promised);
    let made = Made(Arc::new(Mutex::new(Some((promised, digests)))));
    request.extensions.insert(made.clone());
    let stream = BodyDataStream::new(body).map(move |data| {
        if let (Ok(data), Some((_, digests))) = (&data, made.0.lock().as_mut()) {
            digests.update(data);
        }
        data.map(Frame::data)
    });
    Body::http_body_unsync(StreamBody::new(stream))
}

/// Refuses a document that is not the one whose digests the client has sent.
pub(crate) fn verify<T>(request: &S3Request<T>) -> S3Result<()> {
    let made = request.extensions.get::<Made>();
    match made.and_then(|made| made.0.lock().take()) {
        None => Ok(()),
        Some((mut promised, digests)) => digests.verify(&mut promised).map(drop),
    }
}
