//! How a host reaches the listener of another. The seam exists so that identity (mTLS) and tests
//! (partitions) can be put in without the network code knowing.

use std::fmt;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::config::Peer;

/// Makes connections to other members.
pub trait Connect: Send + Sync + fmt::Debug + 'static {
    /// A channel to `peer` that connects when first used and reconnects by itself. It is made once
    /// per address and shared by all groups.
    fn channel(&self, peer: &Peer) -> Result<Channel, tonic::transport::Error>;
}

/// TCP without encryption or identity.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainConnect;

/// The endpoint of a Raft listener with everything set that speed needs; connectors with an
/// identity add theirs to it.
pub fn endpoint(scheme: &str, peer: &Peer) -> Result<Endpoint, tonic::transport::Error> {
    Ok(
        Endpoint::from_shared(format!("{scheme}://{}", peer.address))?
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(2))
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(32 << 20)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5)),
    )
}

impl Connect for PlainConnect {
    fn channel(&self, peer: &Peer) -> Result<Channel, tonic::transport::Error> {
        Ok(endpoint("http", peer)?.connect_lazy())
    }
}
