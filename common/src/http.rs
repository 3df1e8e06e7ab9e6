//! The small HTTP server of every daemon: `/prom` for Prometheus, `/health` for whoever starts and
//! watches it, and what the daemon adds.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{UnsafeListener, check_listener, listener_hint};
use crate::net::{BoxStream, Net, NetListener};
use crate::telemetry::{self, TelemetryError};

/// Pause after a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a daemon says of itself.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether it can do its work.
    pub healthy: bool,
    /// What an operator wants to know, as a JSON object.
    pub details: serde_json::Value,
}

/// Asked on each `/health`.
pub type HealthCheck =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Health> + Send>> + Send + Sync + 'static>;

/// Wraps an async closure as a [`HealthCheck`].
pub fn health_check<F, R>(check: F) -> HealthCheck
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Health> + Send + 'static,
{
    Arc::new(move || Box::pin(check()))
}

/// Why the HTTP server could not start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// It would serve a network without security.
    #[error(transparent)]
    Unsafe(#[from] UnsafeListener),
    /// The address is taken or not ours.
    #[error("cannot listen on {address} for HTTP: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There are no metrics to serve.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// A running HTTP server. Dropping it stops it.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    gate: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl HttpError {
    /// It, and what to do about it where `key` sets the address.
    pub fn hint(&self, key: &str) -> String {
        match self {
            Self::Unsafe(_) => format!("{key}: {self}"),
            Self::Bind { source, .. } => format!("{self}: {}", listener_hint(key, source)),
            Self::Telemetry(_) => self.to_string(),
        }
    }
}

impl HttpServer {
    /// Binds the address and serves `/prom`, `/health` and `extra` until shut down. Without security
    /// (`secure`) that is done for this machine alone.
    pub async fn start(
        net: &dyn Net,
        (address, secure): (SocketAddr, bool),
        health: HealthCheck,
        extra: Router,
    ) -> Result<Self, HttpError> {
        check_listener(address, secure)?;
        let bind = |source| HttpError::Bind { address, source };
        let metrics = telemetry::metrics_handle()?;
        let listener = net.bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let prom = move || async move {
            let text = telemetry::render_metrics(metrics);
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
        };
        let health = move || async move { answer(health().await) };
        let router = extra
            .route("/prom", get(prom))
            .route("/health", get(health));
        let gate = CancellationToken::new();
        let stop = gate.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            let served = axum::serve(Seam(listener), router).with_graceful_shutdown(stop);
            if let Err(error) = served.await {
                tracing::error!(%error, "HTTP server stopped");
            }
        });
        Ok(Self {
            address,
            gate,
            task: Some(task),
        })
    }

    /// Where it listens, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking requests and waits for those under way.
    pub async fn shutdown(mut self) {
        self.gate.cancel();
        if let Some(task) = self.task.take() {
            // A task that panicked has logged it, and is over.
            let _ = task.await;
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.gate.cancel();
    }
}

fn answer(health: Health) -> impl IntoResponse {
    let status = match health.healthy {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::json!({ "healthy": health.healthy, "details": health.details });
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, body.to_string())
}

/// Lets axum accept from any [`Net`].
struct Seam(Box<dyn NetListener>);

impl axum::serve::Listener for Seam {
    type Io = BoxStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoxStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(%error, "HTTP accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::TcpNet;

    async fn get_path(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpNet.connect(&address.to_string()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn health_follows_the_daemon_and_extras_are_served() {
        let well = Arc::new(AtomicBool::new(true));
        let seen = well.clone();
        let check = health_check(move || {
            let healthy = seen.load(Ordering::SeqCst);
            async move {
                Health {
                    healthy,
                    details: serde_json::json!({ "role": "leader" }),
                }
            }
        });
        let extra = Router::new().route("/hello", get(|| async { "hi" }));
        let any = "127.0.0.1:0".parse().unwrap();
        let server = HttpServer::start(&TcpNet, (any, false), check, extra)
            .await
            .unwrap();
        let good = get_path(server.address(), "/health").await;
        assert!(
            good.starts_with("HTTP/1.1 200") && good.contains("leader"),
            "{good}"
        );
        well.store(false, Ordering::SeqCst);
        let bad = get_path(server.address(), "/health").await;
        assert!(bad.starts_with("HTTP/1.1 503"), "{bad}");
        assert!(get_path(server.address(), "/hello").await.ends_with("hi"));
        metrics::counter!("http_test_total").increment(1);
        let prom = get_path(server.address(), "/prom").await;
        assert!(prom.contains("http_test_total 1"), "{prom}");
        let address = server.address();
        server.shutdown().await;
        assert!(TcpNet.connect(&address.to_string()).await.is_err());
    }

    #[tokio::test]
    async fn a_network_is_served_with_security_alone() {
        let any = "0.0.0.0:0".parse().unwrap();
        let check = || {
            health_check(|| async {
                Health {
                    healthy: true,
                    details: serde_json::Value::Null,
                }
            })
        };
        let refused = HttpServer::start(&TcpNet, (any, false), check(), Router::new()).await;
        let text = refused.unwrap_err().hint("ozone.om.http-address");
        for words in [
            "ozone.om.http-address",
            "0.0.0.0:0",
            "ozone.security.enabled",
        ] {
            assert!(text.contains(words), "{text}");
        }
        let secure = HttpServer::start(&TcpNet, (any, true), check(), Router::new()).await;
        secure.unwrap().shutdown().await;
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let any = "127.0.0.1:0".parse().unwrap();
        let taken = TcpNet.bind(any).await.unwrap();
        let address = taken.local_addr().unwrap();
        let check = health_check(|| async {
            Health {
                healthy: true,
                details: serde_json::Value::Null,
            }
        });
        let error = HttpServer::start(&TcpNet, (address, false), check, Router::new())
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&address.to_string()));
    }
}
