//! Channels: one connection per address, made when first used and made again when it broke.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::Uri;
use hyper_util::rt::TokioIo;
use ozone_common::net::{BoxStream, Net};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::stream::{FIRST_BYTES, Prefixed};
use crate::trust::TrustError;
use crate::{CONNECTION_WINDOW, MAX_FRAME, STREAM_WINDOW};

/// How long a connection may take to come about, unless said otherwise.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it still lives, and how long it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How a client shows who it is, and asks who answers.
#[derive(Clone)]
pub enum ClientIdentity {
    /// It does neither.
    Plaintext,
    /// With certificates.
    Tls(Arc<rustls::ClientConfig>),
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plaintext => "Plaintext",
            Self::Tls(_) => "Tls",
        })
    }
}

/// An address that no channel can be made to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad server address {address:?}: expected host:port")]
pub struct ChannelError {
    /// The address.
    pub address: String,
}

/// Channels by address.
#[derive(Debug)]
pub struct Channels {
    net: Arc<dyn Net>,
    identity: ClientIdentity,
    connect_limit: Duration,
    open: Mutex<HashMap<String, Channel>>,
}

impl Channels {
    /// No channels yet.
    pub fn new(net: Arc<dyn Net>, identity: ClientIdentity) -> Self {
        Self {
            net,
            identity,
            connect_limit: CONNECT_LIMIT,
            open: Mutex::default(),
        }
    }

    /// The same with another limit on how long a connection may take to come about.
    pub fn with_connect_limit(mut self, limit: Duration) -> Self {
        self.connect_limit = limit;
        self
    }

    /// The channel to `host:port`. It connects when first used; a call fails with `Unavailable`
    /// when it cannot.
    pub fn get(&self, address: &str) -> Result<Channel, ChannelError> {
        if let Some(channel) = self.open.lock().get(address) {
            return Ok(channel.clone());
        }
        let channel = self.make(address)?;
        let mut open = self.open.lock();
        Ok(open.entry(address.to_owned()).or_insert(channel).clone())
    }

    /// Forgets the channel to an address; calls under way on it go on.
    pub fn forget(&self, address: &str) {
        self.open.lock().remove(address);
    }

    fn make(&self, address: &str) -> Result<Channel, ChannelError> {
        let bad = || ChannelError {
            address: address.to_owned(),
        };
        let uri: Uri = format!("http://{address}").parse().map_err(|_| bad())?;
        if uri.port_u16().is_none() || uri.path() != "/" {
            return Err(bad());
        }
        let endpoint = Endpoint::from(uri)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let connector = Connector {
            net: self.net.clone(),
            identity: self.identity.clone(),
            limit: self.connect_limit,
        };
        let connect = tower::service_fn(move |uri: Uri| {
            let connector = connector.clone();
            async move { connector.connect(&uri).await.map(TokioIo::new) }
        });
        Ok(endpoint.connect_with_connector_lazy(connect))
    }
}

#[derive(Clone)]
struct Connector {
    net: Arc<dyn Net>,
    identity: ClientIdentity,
    limit: Duration,
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> io::Result<BoxStream> {
        tokio::time::timeout(self.limit, self.connect_unlimited(uri)).await?
    }

    async fn connect_unlimited(&self, uri: &Uri) -> io::Result<BoxStream> {
        let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let address = format!("{host}:{port}");
        let stream = self.net.connect(&address).await?;
        let ClientIdentity::Tls(config) = &self.identity else {
            return Ok(stream);
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(config.clone());
        let admitted = async {
            let mut stream = connector.connect(name, stream).await?;
            // A server that does not accept our certificate says so only now. One that does speaks
            // first in HTTP/2.
            let mut first = BytesMut::with_capacity(FIRST_BYTES);
            match stream.read_buf(&mut first).await? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(Prefixed::new(first.freeze(), Box::new(stream))),
            }
        };
        let admitted: io::Result<Prefixed> = admitted.await;
        match admitted {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(TrustError::of_handshake(&address, error)),
        }
    }
}
