//! Listeners: bind, serve, stop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ozone_common::config::{UnsafeListener, check_listener, listener_hint};
use ozone_common::net::{BoxStream, Net, NetListener};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

pub use crate::stream::PeerInfo;

use crate::stream::{Accepted, FIRST_BYTES, Prefixed};
use crate::trust::turn_away;
use crate::{CONNECTION_WINDOW, MAX_FRAME, STREAM_WINDOW};

/// How long a client may take to prove who it is.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, such as one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a silent connection is asked whether it still lives, and how long it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// The first byte of TLS: a record of a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// Calls under way on one connection: a mount has many.
const MAX_STREAMS: u32 = 4096;

/// How a listener shows who it is, and asks who calls.
#[derive(Clone)]
pub enum ListenerIdentity {
    /// It does not: allowed on loopback alone.
    Plaintext,
    /// With certificates, on both sides if so configured.
    Tls(Arc<rustls::ServerConfig>),
}

impl fmt::Debug for ListenerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plaintext => "Plaintext",
            Self::Tls(_) => "Tls",
        })
    }
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It would serve a network without security.
    #[error(transparent)]
    Unsafe(#[from] UnsafeListener),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl ListenError {
    /// It, and what to do about it where `key` sets the address.
    pub fn hint(&self, key: &str) -> String {
        match self {
            Self::Unsafe(_) => format!("{key}: {self}"),
            Self::Bind { source, .. } => format!("{self}: {}", listener_hint(key, source)),
        }
    }
}

/// A bound address that does not answer yet.
pub struct Listener {
    socket: Box<dyn NetListener>,
    address: SocketAddr,
    identity: ListenerIdentity,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({}, {:?})", self.address, self.identity)
    }
}

impl Listener {
    /// Binds `address`; port 0 picks a free one.
    pub async fn bind(
        net: &dyn Net,
        address: SocketAddr,
        identity: ListenerIdentity,
    ) -> Result<Self, ListenError> {
        check_listener(address, matches!(identity, ListenerIdentity::Tls(_)))?;
        let fail = |source| ListenError::Bind { address, source };
        let socket = net.bind(address).await.map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        Ok(Self {
            socket,
            address,
            identity,
        })
    }

    /// Where it listens, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer.
    pub fn serve(self, routes: Routes) -> ServerHandle {
        let address = self.address;
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let (sender, incoming) = mpsc::channel(64);
        let acceptor = Acceptor {
            identity: self.identity,
            sender,
            cut: cut.clone(),
        };
        let accepting = acceptor.run(self.socket, stop.clone());
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .max_concurrent_streams(MAX_STREAMS)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .add_routes(routes);
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            let incoming = ReceiverStream::new(incoming);
            let serving = server.serve_with_incoming_shutdown(incoming, stopped);
            let (served, ()) = tokio::join!(serving, accepting);
            if let Err(error) = served {
                tracing::error!(%address, %error, "listener stopped");
            }
        });
        ServerHandle {
            address,
            stop,
            cut,
            task: Some(task),
        }
    }
}

/// A listener that answers. Dropping it cuts its connections.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    stop: CancellationToken,
    cut: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more calls, waits up to `grace` for those under way, then cuts the connections.
    pub async fn shutdown(mut self, grace: Duration) {
        self.stop.cancel();
        let Some(mut task) = self.task.take() else {
            return;
        };
        if tokio::time::timeout(grace, &mut task).await.is_err() {
            self.cut.cancel();
            // A task that panicked has logged it, and is over.
            let _ = task.await;
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
    }
}

/// Turns connections into [`Accepted`] streams.
struct Acceptor {
    identity: ListenerIdentity,
    sender: mpsc::Sender<io::Result<Accepted>>,
    cut: CancellationToken,
}

impl Acceptor {
    async fn run(self, socket: Box<dyn NetListener>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, address).await,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn admit(&self, stream: BoxStream, address: SocketAddr) {
        let (sender, cut) = (self.sender.clone(), self.cut.clone());
        match &self.identity {
            ListenerIdentity::Plaintext => {
                let peer = PeerInfo {
                    address,
                    certificates: None,
                };
                // The receiver is gone only when the server has stopped.
                let _ = sender.send(Ok(Accepted::new(stream, peer, cut))).await;
            }
            ListenerIdentity::Tls(config) => {
                let config = config.clone();
                tokio::spawn(async move {
                    match shake_hands(config, stream, address).await {
                        Ok((stream, peer)) => {
                            let _ = sender.send(Ok(Accepted::new(stream, peer, cut))).await;
                        }
                        Err(error) => {
                            tracing::warn!(peer = %address, %error, "refused: no TLS handshake");
                        }
                    }
                });
            }
        }
    }
}

/// Accepts TLS; whoever speaks something else is told.
async fn accept(
    config: Arc<rustls::ServerConfig>,
    mut stream: BoxStream,
) -> io::Result<TlsStream<Prefixed>> {
    let mut first = BytesMut::with_capacity(FIRST_BYTES);
    stream.read_buf(&mut first).await?;
    if first.first().is_some_and(|kind| *kind != TLS_HANDSHAKE) {
        turn_away(stream).await?;
        return Err(io::Error::other("the caller does not speak TLS"));
    }
    let stream = Prefixed::new(first.freeze(), stream);
    TlsAcceptor::from(config).accept(stream).await
}

async fn shake_hands(
    config: Arc<rustls::ServerConfig>,
    stream: BoxStream,
    address: SocketAddr,
) -> io::Result<(BoxStream, PeerInfo)> {
    let stream = tokio::time::timeout(HANDSHAKE_LIMIT, accept(config, stream)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let certificates = certificates.map(|certificates| Arc::new(certificates.to_vec()));
    let peer = PeerInfo {
        address,
        certificates,
    };
    Ok((Box::new(stream), peer))
}
