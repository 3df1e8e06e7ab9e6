//! The listener: HTTP/1.1 connections, so many at a time, each of which gets its answers from `s3s`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ozone_client::Client;
use ozone_client::wire::om::BucketLayoutProto;
use ozone_common::config::{Config, check_listener, listener_hint};
use ozone_common::net::{BoxStream, Net, NetListener};
use ozone_common::request;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, StdError};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Users;
use crate::chunks;
use crate::documents;
use crate::error::explain;
use crate::front;
use crate::gateway::Gateway;
use crate::names::AnyName;
use crate::read::Reads;
use crate::region;
use crate::understood::Understood;

/// Which key says where to listen.
const ADDRESS: &str = "ozone.s3g.http-address";
/// Connections at a time.
const CONNECTIONS: usize = 4096;
/// How long a client may take to send the head of a request, the wait for a next one included.
const HEAD: Duration = Duration::from_secs(30);
/// Pause after a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a stopping gateway waits for requests under way.
const GRACE: Duration = Duration::from_secs(5);

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct S3Error(String);

fn start(error: impl std::fmt::Display) -> S3Error {
    S3Error(error.to_string())
}

/// A running gateway.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
    accepting: JoinHandle<()>,
}

impl S3Server {
    /// Listens where the configuration says. What is asked goes to the cluster of `client`, whose user has to be an
    /// administrator of S3.
    pub async fn start(config: &Config, net: &dyn Net, client: Client) -> Result<Self, S3Error> {
        let wanted = config.get_address(ADDRESS).map_err(start)?;
        let resolving = wanted.clone();
        let resolved = tokio::task::spawn_blocking(move || resolving.resolve()).await;
        let address = resolved.map_err(start)?;
        let address = address.map_err(|e| S3Error(format!("{ADDRESS}: {wanted}: {e}")))?;
        let secure = config.get_bool("ozone.security.enabled").map_err(start)?;
        check_listener(address, secure).map_err(|e| S3Error(format!("{ADDRESS}: {e}")))?;
        let fail = |e: std::io::Error| {
            let hint = listener_hint(ADDRESS, &e);
            S3Error(format!("cannot listen on {address} for S3: {e}: {hint}"))
        };
        let listener = net.bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let volume = config.get_str("ozone.s3g.volume.name").map_err(start)?;
        let layout = config.get_str("ozone.s3g.default.bucket.layout");
        let layout = BucketLayoutProto::from_str_name(layout.map_err(start)?);
        let layout = layout.unwrap_or(BucketLayoutProto::FileSystemOptimized);
        let service = service(client, (volume.to_owned(), layout));
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let connections = TaskTracker::new();
        let acceptor = Acceptor {
            service,
            stop: stop.clone(),
            cut: cut.clone(),
            connections: connections.clone(),
        };
        Ok(Self {
            address,
            stop,
            cut,
            connections,
            accepting: tokio::spawn(acceptor.run(listener)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops; requests under way are answered, as far as that takes no longer than a moment.
    pub async fn shutdown(self) {
        self.stop.cancel();
        // It ends by itself.
        let _ = self.accepting.await;
        self.connections.close();
        if tokio::time::timeout(GRACE, self.connections.wait())
            .await
            .is_err()
        {
            self.cut.cancel();
            self.connections.wait().await;
        }
    }
}

fn service(client: Client, (volume, layout): (String, BucketLayoutProto)) -> S3Service {
    let users = Users::new(client);
    let gateway = Gateway {
        users: users.clone(),
        volume,
        layout,
    };
    let mut builder = S3ServiceBuilder::new(gateway.clone());
    builder.set_auth(users);
    builder.set_access(Understood);
    builder.set_route(Reads(gateway));
    builder.set_validation(AnyName);
    builder.build()
}

struct Acceptor {
    service: S3Service,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

impl Acceptor {
    async fn run(self, listener: Box<dyn NetListener>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = async {
                let place = room.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let serving = self.serve(stream);
                    self.connections.spawn(async move {
                        let _place = place;
                        serving.await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "S3 accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: BoxStream) -> impl Future<Output = ()> + use<> {
        let service = self.service.clone();
        let (stop, cut) = (self.stop.clone(), self.cut.clone());
        async move {
            let answering = service_fn(move |request| answer(service.clone(), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), answering);
            tokio::pin!(connection);
            let served = tokio::select! {
                served = &mut connection => served,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        served = &mut connection => served,
                        () = cut.cancelled() => return,
                    }
                }
            };
            if let Err(error) = served {
                tracing::debug!(%error, "S3 connection ended");
            }
        }
    }
}

async fn answer(
    service: S3Service,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let started = Instant::now();
    let (method, target) = (request.method().clone(), request.uri().path().to_owned());
    let work = async {
        let (mut parts, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let expects = parts.headers.contains_key(http::header::EXPECT);
        let refusal = front::inspect(&parts).and_then(|()| front::take_in(&mut parts));
        let answer = match (region::refuse(&parts), refusal) {
            (Some(refused), _) => Ok(refused),
            (None, Ok(())) => {
                let body = chunks::bounded(&parts.headers, body);
                let body = documents::watch(&mut parts, body);
                let request = Request::from_parts(parts, body);
                service.call(request).await.map_err(text)
            }
            (None, Err(refusal)) => refusal
                .to_http_response()
                .map_err(|error| error.to_string()),
        };
        let mut answer = answer.unwrap_or_else(|error| {
            tracing::error!(error, "an S3 request ended without an answer");
            let mut broken = Response::new(Body::empty());
            *broken.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            broken
        });
        explain(&mut answer);
        // What is left of the body of a refused request may never come: a client that was not told to go on keeps
        // it. And one that waits to be told so before it sends nothing takes the next answer for this one (boto3).
        if (has_body && !answer.status().is_success()) || (expects && !has_body) {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(http::header::CONNECTION, close);
        }
        sign(&mut answer);
        let status = answer.status().as_u16();
        match answer.status() == http::StatusCode::INTERNAL_SERVER_ERROR {
            true => tracing::warn!(%method, target, status, "S3"),
            false => tracing::debug!(%method, target, status, "S3"),
        }
        answer
    };
    let answer = request::begin("s3", work).await;
    let status = answer.status().as_u16().to_string();
    metrics::counter!("s3_requests_total", "status" => status).increment(1);
    metrics::histogram!("s3_request_seconds").record(started.elapsed().as_secs_f64());
    Ok(answer)
}

/// Headers of every answer.
fn sign(answer: &mut Response<Body>) {
    let headers = answer.headers_mut();
    headers.insert(http::header::SERVER, HeaderValue::from_static("Ozone"));
    let id = request::current_id().unwrap_or_default();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-amz-request-id", id.clone());
        headers.insert("x-amz-id-2", id);
    }
}

fn text(error: HttpError) -> String {
    StdError::from(error).to_string()
}
