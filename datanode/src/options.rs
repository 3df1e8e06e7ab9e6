//! What a datanode is told: its configuration, and the seams through which it reaches the world.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::{Clock, SystemClock};
use ozone_common::config::{Config, HostPort, check_listener, scm_addresses};
use ozone_common::disk::{Disk, RealDisk};
use ozone_common::net::{Net, TcpNet};
use ozone_common::rng::{OsRng, Rng};
use ozone_rpc::channel::ClientIdentity;
use ozone_rpc::server::ListenerIdentity;

use crate::error::StartError;

/// Everything that a datanode is started with.
#[derive(Clone)]
pub struct DatanodeOptions {
    /// Settings.
    pub config: Config,
    /// Disks of data and logs.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// Network.
    pub net: Arc<dyn Net>,
    /// What listeners show and ask for.
    pub listener: ListenerIdentity,
    /// What outgoing connections show and ask for.
    pub client: ClientIdentity,
    /// `host:port` of the datanode services of the SCMs, and of whoever else wants the heartbeats;
    /// from the configuration when empty.
    pub scm: Vec<String>,
}

impl DatanodeOptions {
    /// A datanode on this machine, without encryption.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            disk: Arc::new(RealDisk),
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(OsRng),
            net: TcpNet::shared(),
            listener: ListenerIdentity::Plaintext,
            client: ClientIdentity::Plaintext,
            scm: Vec::new(),
        }
    }
}

/// The settings of a datanode, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_dirs: Vec<PathBuf>,
    pub(crate) id_dir: PathBuf,
    pub(crate) log_dir: PathBuf,
    pub(crate) client_address: SocketAddr,
    pub(crate) peer_address: SocketAddr,
    pub(crate) http_address: SocketAddr,
    /// Name under which others reach this datanode; its address when empty.
    pub(crate) host_name: String,
    pub(crate) scm: Vec<String>,
    pub(crate) min_free: u64,
    pub(crate) tolerated: u64,
    pub(crate) cache_bytes: usize,
    pub(crate) container_size: u64,
    pub(crate) tokens: bool,
    pub(crate) heartbeat: Duration,
    pub(crate) full_report: Duration,
    pub(crate) copies: usize,
    pub(crate) scan: Option<ScanSettings>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanSettings {
    pub(crate) interval: Duration,
    pub(crate) rate: u64,
}

impl Settings {
    /// Reads and checks what a datanode needs. Asks the resolver: blocks.
    pub(crate) fn read(options: &DatanodeOptions) -> Result<Self, StartError> {
        let config = &options.config;
        let host = config.get_str("hdds.datanode.client.address")?.to_owned();
        let at = |port: &str| resolve(&HostPort::new(host.clone(), config.get_port(port)?));
        let http_address = resolve(&config.get_address("hdds.datanode.http-address")?)?;
        let secure = matches!(options.listener, ListenerIdentity::Tls(_));
        check_listener(http_address, secure).map_err(|e| StartError::Address(e.to_string()))?;
        let size = |key| config.get_size(key);
        let cache = size("hdds.datanode.metadata.rocksdb.cache.size")?;
        let scan = ScanSettings {
            interval: config.get_duration("hdds.container.scrub.data.scan.interval")?,
            rate: size("hdds.container.scrub.volume.bytes.per.second")?,
        };
        Ok(Self {
            data_dirs: config.get_dirs("hdds.datanode.dir")?,
            id_dir: config.get_dir("hdds.datanode.id.dir")?,
            log_dir: config.get_dir("hdds.container.ratis.datanode.storage.dir")?,
            client_address: at("hdds.container.ipc.port")?,
            peer_address: at("hdds.container.ratis.server.port")?,
            http_address,
            host_name: config.get_str("hdds.datanode.hostname")?.to_owned(),
            scm: match options.scm.is_empty() {
                true => scm_addresses(config, "ozone.scm.datanode.address")?,
                false => options.scm.clone(),
            },
            min_free: size("hdds.datanode.volume.min.free.space")?,
            tolerated: config.get_int("hdds.datanode.failed.data.volumes.tolerated")?,
            cache_bytes: usize::try_from(cache).unwrap_or(64 << 20),
            container_size: size("ozone.scm.container.size")?,
            tokens: config.get_bool("hdds.block.token.enabled")?,
            heartbeat: config.get_duration("hdds.heartbeat.interval")?,
            full_report: config.get_duration("hdds.container.report.interval")?,
            copies: usize::try_from(config.get_int("hdds.datanode.replication.streams.limit")?)
                .unwrap_or(1),
            scan: config
                .get_bool("hdds.container.scrub.enabled")?
                .then_some(scan),
        })
    }
}

fn resolve(address: &HostPort) -> Result<SocketAddr, StartError> {
    address
        .resolve()
        .map_err(|error| StartError::Address(format!("{address}: {error}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_datanode_without_directories_says_which_key_is_missing() {
        let options = DatanodeOptions::new(Config::default());
        let text = Settings::read(&options).unwrap_err().to_string();
        assert!(text.contains("hdds.datanode.dir"), "{text}");
    }
}
