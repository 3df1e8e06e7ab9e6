//! What a client has to know before its first call.

use std::sync::Arc;
use std::time::Duration;

use ozone_common::caller::Caller;
use ozone_common::clock::{Clock, SystemClock};
use ozone_common::config::{Config, om_nodes};
use ozone_common::net::{Net, TcpNet};
use ozone_common::rng::{OsRng, Rng};
use ozone_rpc::channel::ClientIdentity;
use ozone_security::settings::client_identity;

use crate::{ClientError, Result};

/// What a block may grow to, as a multiple of the size for which it is allocated.
const GROWTH: u64 = 4;

/// Addresses, identity, sizes and patience of a client.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The OMs, `host:port` each; any of them may lead.
    pub om: Vec<String>,
    /// On whose behalf calls are made, unless one says otherwise.
    pub caller: Caller,
    /// A flush of up to this many bytes rides in the OM's log.
    pub inline_limit: usize,
    /// Bytes for which a block has to find room.
    pub block_size: u64,
    /// Bytes of a full block: what is written in one go stays together, as far as this.
    pub longest_block: u64,
    /// Most bytes in one chunk.
    pub chunk_size: usize,
    /// Bytes that one checksum covers.
    pub bytes_per_checksum: u32,
    /// Bytes of one writer that may be on their way or not yet proven durable.
    pub write_window: usize,
    /// Most bytes that one reader fetches ahead.
    pub read_ahead: usize,
    /// How long an OM call is tried, over all OMs.
    pub om_deadline: Duration,
    /// How long the first call is tried when no OM is reached at all. A person waits for less than a
    /// mount does.
    pub first_deadline: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a replica may take to answer a read.
    pub read_timeout: Duration,
    /// After this long without an answer a second replica is asked as well.
    pub hedge_after: Duration,
    /// How long a datanode may take to acknowledge written data.
    pub write_timeout: Duration,
    /// How often, in a row and without progress, lost data is written again before a flush fails.
    pub write_attempts: u32,
    /// How long a datanode that failed is asked last.
    pub avoid_failed_for: Duration,
    /// How servers are reached.
    pub net: Arc<dyn Net>,
    /// How this client proves who it is, and servers who they are.
    pub identity: ClientIdentity,
    /// The clock for pauses between attempts.
    pub clock: Arc<dyn Clock>,
    /// Where ids and jitter come from.
    pub rng: Arc<dyn Rng>,
}

impl ClientConfig {
    /// The defaults, for the user of this process.
    pub fn new(om: Vec<String>) -> Self {
        Self {
            om,
            caller: Caller::of_process(),
            inline_limit: 16 << 10,
            block_size: 256 << 20,
            longest_block: GROWTH * (256 << 20),
            chunk_size: 4 << 20,
            bytes_per_checksum: 16 << 10,
            write_window: 32 << 20,
            read_ahead: 16 << 20,
            om_deadline: Duration::from_secs(60),
            first_deadline: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            hedge_after: Duration::from_secs(1),
            write_timeout: Duration::from_secs(30),
            write_attempts: 8,
            avoid_failed_for: Duration::from_secs(30),
            net: TcpNet::shared(),
            identity: ClientIdentity::Plaintext,
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(OsRng),
        }
    }

    /// What the configuration says, over the defaults. With security on it names the file that proves
    /// who this client is, which is read here.
    pub fn from_config(config: &Config) -> Result<Self> {
        let om = om_nodes(config)?;
        let mut client = Self::new(om.iter().map(|node| node.address.to_string()).collect());
        client.block_size = config.get_size("ozone.scm.block.size")?;
        client.longest_block = GROWTH.saturating_mul(client.block_size);
        client.chunk_size = as_usize(config.get_size("ozone.scm.chunk.size")?);
        let window = config.get_size("ozone.client.bytes.per.checksum")?;
        client.bytes_per_checksum = u32::try_from(window).unwrap_or(u32::MAX);
        client.connect_timeout = config.get_duration("ozone.client.connection.timeout")?;
        client.read_timeout = config.get_duration("ozone.client.read.timeout")?;
        client.write_timeout = config.get_duration("ozone.client.write.timeout")?;
        client.identity =
            client_identity(config).map_err(|e| ClientError::Config(e.to_string()))?;
        Ok(client)
    }
}

fn as_usize(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_om_of_the_service_is_known() {
        let config = Config::from_pairs([
            ("ozone.om.service.ids", "s1"),
            ("ozone.om.nodes.s1", "om1,om2"),
            ("ozone.om.address.s1.om1", "h1:9862"),
            ("ozone.om.address.s1.om2", "h2:9999"),
            ("ozone.scm.block.size", "64MB"),
        ])
        .unwrap();
        let client = ClientConfig::from_config(&config).unwrap();
        assert_eq!(client.om, ["h1:9862", "h2:9999"]);
        assert_eq!(client.block_size, 64 << 20);
        assert_eq!(client.bytes_per_checksum, 16 << 10);
    }
}
