//! What a datanode is told: its configuration, and the seams through which it reaches the world.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::{Clock, SystemClock};
use ozone_common::config::{Config, HostPort, check_listener, scm_addresses};
use ozone_common::disk::{Disk, RealDisk};
use ozone_common::net::{Net, TcpNet};
use ozone_common::rng::{OsRng, Rng};
use ozone_security::settings::{SecuritySettings, machine_name};

use crate::error::StartError;
use crate::layout::make_private;

/// Port of the listener for blocks.
pub(crate) const CLIENT_KEY: &str = "hdds.container.ipc.port";
/// Port of the listener for other datanodes.
pub(crate) const PEER_KEY: &str = "hdds.container.ratis.server.port";
/// Address of metrics and health.
pub(crate) const HTTP_KEY: &str = "hdds.datanode.http-address";

/// Directories of what is no data.
const OWN_DIRS: [&str; 2] = [
    "hdds.datanode.id.dir",
    "hdds.container.ratis.datanode.storage.dir",
];

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
    /// `host:port` of the datanode services of the SCMs, and of whoever else wants the heartbeats;
    /// from the configuration when empty.
    pub scm: Vec<String>,
}

impl DatanodeOptions {
    /// A datanode on this machine.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            disk: Arc::new(RealDisk),
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(OsRng),
            net: TcpNet::shared(),
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
    pub(crate) security: SecuritySettings,
    /// Holds the datanode's keys and certificates.
    pub(crate) security_dir: PathBuf,
    pub(crate) client_address: SocketAddr,
    pub(crate) peer_address: SocketAddr,
    pub(crate) http_address: SocketAddr,
    /// Name under which others reach this datanode; its address when empty, which it never is for a
    /// listener on all addresses.
    pub(crate) host_name: String,
    pub(crate) scm: Vec<String>,
    pub(crate) min_free: u64,
    pub(crate) tolerated: u64,
    pub(crate) cache_bytes: usize,
    pub(crate) container_size: u64,
    /// Entries that a member of a pipeline may lack.
    pub(crate) log_gap: u64,
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
        let own_dirs = OWN_DIRS.map(|key| config.get_dir(key));
        let [id_dir, log_dir] = own_dirs;
        let (id_dir, log_dir) = (id_dir?, log_dir?);
        let host = config.get_str("hdds.datanode.client.address")?.to_owned();
        let at = |port: &str| resolve(&HostPort::new(host.clone(), config.get_port(port)?));
        let http_address = resolve(&config.get_address(HTTP_KEY)?)?;
        let security = SecuritySettings::from_config(config)?;
        check_listener(http_address, security.tls)
            .map_err(|e| StartError::Address(format!("{HTTP_KEY}: {e}")))?;
        let size = |key| config.get_size(key);
        let cache = size("hdds.datanode.metadata.rocksdb.cache.size")?;
        let scan = ScanSettings {
            interval: config.get_duration("hdds.container.scrub.data.scan.interval")?,
            rate: size("hdds.container.scrub.volume.bytes.per.second")?,
        };
        let settings = Self {
            data_dirs: config.get_dirs("hdds.datanode.dir")?,
            id_dir,
            log_dir,
            security,
            security_dir: security_dir(config)?,
            client_address: at(CLIENT_KEY)?,
            peer_address: at(PEER_KEY)?,
            http_address,
            host_name: host_name(config, &host)?,
            scm: match options.scm.is_empty() {
                true => scm_addresses(config, "ozone.scm.datanode.address")?,
                false => options.scm.clone(),
            },
            min_free: size("hdds.datanode.volume.min.free.space")?,
            tolerated: config.get_int("hdds.datanode.failed.data.volumes.tolerated")?,
            cache_bytes: usize::try_from(cache).unwrap_or(64 << 20),
            container_size: size("ozone.scm.container.size")?,
            log_gap: config.get_int("hdds.container.ratis.log.purge.gap")?,
            heartbeat: config.get_duration("hdds.heartbeat.interval")?,
            full_report: config.get_duration("hdds.container.report.interval")?,
            copies: usize::try_from(config.get_int("hdds.datanode.replication.streams.limit")?)
                .unwrap_or(1),
            scan: config
                .get_bool("hdds.container.scrub.enabled")?
                .then_some(scan),
        };
        // Only once nothing else is wrong: who is refused leaves nothing behind.
        settings.make_dirs(config)?;
        Ok(settings)
    }

    fn make_dirs(&self, config: &Config) -> Result<(), StartError> {
        let new = [&self.id_dir, &self.log_dir].map(|dir| (dir, !dir.exists()));
        config.make_dirs(&OWN_DIRS)?;
        for (dir, _) in new.into_iter().filter(|(_, new)| *new) {
            make_private(dir).map_err(StartError::io("take the rights of others off", dir))?;
        }
        Ok(())
    }
}

/// The name that is configured; for a listener on all addresses, which is none to reach it under,
/// that of the machine.
fn host_name(config: &Config, listener: &str) -> Result<String, StartError> {
    let named = config.get_str("hdds.datanode.hostname")?;
    let everywhere = listener.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    match named.is_empty() && everywhere {
        true => Ok(machine_name()),
        false => Ok(named.to_owned()),
    }
}

/// `dn` among the general metadata; beside the datanode's identity where there is no such place.
fn security_dir(config: &Config) -> Result<PathBuf, StartError> {
    let base = match config.is_set("ozone.metadata.dirs") {
        true => config.get_dir("ozone.metadata.dirs")?,
        false => config.get_dir("hdds.datanode.id.dir")?,
    };
    Ok(base.join("dn"))
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
    fn a_listener_on_all_addresses_is_reached_under_the_name_of_the_machine() {
        let name = |pairs: &[(&str, &str)], listener| {
            host_name(
                &Config::from_pairs(pairs.iter().copied()).unwrap(),
                listener,
            )
            .unwrap()
        };
        assert_eq!(name(&[], "0.0.0.0"), machine_name());
        assert_eq!(name(&[("hdds.datanode.hostname", "dn1")], "0.0.0.0"), "dn1");
        assert_eq!(name(&[], "127.0.0.1"), "");
    }

    #[test]
    fn a_datanode_without_directories_says_which_key_is_missing() {
        let options = DatanodeOptions::new(Config::default());
        let text = Settings::read(&options).unwrap_err().to_string();
        assert!(text.contains("ozone.metadata.dirs"), "{text}");
    }

    #[test]
    fn a_datanode_that_is_refused_makes_no_directory_and_its_own_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join("meta");
        let config = Config::from_pairs([("ozone.metadata.dirs", meta.display().to_string())]);
        let config = config.unwrap();
        let read = |config: &Config| Settings::read(&DatanodeOptions::new(config.clone()));
        let text = read(&config).unwrap_err().to_string();
        assert!(text.contains("hdds.datanode.dir"), "{text}");
        assert!(!meta.exists());
        let data = dir.path().join("data").display().to_string();
        let settings = read(&config.with([("hdds.datanode.dir", data)]).unwrap()).unwrap();
        let mode = std::fs::metadata(&settings.id_dir).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
    }
}
