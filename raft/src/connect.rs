//! How a host reaches the listener of another. The seam exists so that identity (mTLS) and tests
//! (partitions) can be put in without the network code knowing.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::net::Net;
use ozone_rpc::channel::{Channels, ClientIdentity};
use tonic::transport::{Channel, Endpoint};

use crate::config::Peer;

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Makes connections to other members.
pub trait Connect: Send + Sync + fmt::Debug + 'static {
    /// A channel to `peer` that connects when first used and reconnects by itself. It is made once
    /// per address and shared by all groups.
    fn channel(&self, peer: &Peer) -> io::Result<Channel>;
}

/// Connections with the identity of the process.
#[derive(Debug)]
pub struct ChannelConnect(Channels);

impl ChannelConnect {
    /// Over `net`, showing `identity`.
    pub fn new(net: Arc<dyn Net>, identity: ClientIdentity) -> Arc<Self> {
        let channels = Channels::new(net, identity).with_connect_limit(CONNECT_LIMIT);
        Arc::new(Self(channels))
    }
}

impl Connect for ChannelConnect {
    fn channel(&self, peer: &Peer) -> io::Result<Channel> {
        let bad = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        self.0.get(&peer.address).map_err(bad)
    }
}

/// TCP without encryption or identity.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainConnect;

impl Connect for PlainConnect {
    fn channel(&self, peer: &Peer) -> io::Result<Channel> {
        let bad = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let endpoint = Endpoint::from_shared(format!("http://{}", peer.address)).map_err(bad)?;
        Ok(endpoint
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_LIMIT)
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(32 << 20)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .connect_lazy())
    }
}
