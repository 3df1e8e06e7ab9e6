//! `ozone mount`: the namespace of a cluster as a directory.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use ozone_client::{Client, ClientConfig};
use ozone_common::config::{Config, HostPort};
use ozone_fs::MountOptions;
use tokio::time::timeout;

use crate::daemon::announced;
use crate::signals;

/// How long it goes on with mounting when it is told to stop.
const MOUNTING: Duration = Duration::from_secs(2);

/// Port of an OM where none is given.
const OM_PORT: u16 = 9862;

/// Arguments of `ozone mount`.
#[derive(Args)]
pub(crate) struct MountArgs {
    /// The OMs: host[:port], separated by commas.
    om: String,
    /// An empty directory.
    mountpoint: PathBuf,
    /// Mount options, as mount(8) takes them.
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
}

/// Mounts, and stays until told to stop or unmounted.
pub(crate) async fn run(args: MountArgs, config: Config) -> Result<(), String> {
    let mut client = ClientConfig::from_config(&config).map_err(|e| e.to_string())?;
    client.om = args
        .om
        .split(',')
        .map(|om| {
            HostPort::parse_with(om, OM_PORT)
                .map(|a| a.to_string())
                .map_err(|e| e.to_string())
        })
        .collect::<Result<_, _>>()?;
    let mut options = MountOptions {
        source: args.om.clone(),
        guard: std::env::current_exe().ok(),
        ..MountOptions::default()
    };
    for list in &args.options {
        options.apply(list).map_err(|e| e.to_string())?;
    }
    let client = connect(client).await?;
    // Whoever sees that it is mounted may stop it in the same moment.
    let mut signals = signals::Stop::watch()?;
    let mut mounting = pin!(ozone_fs::mount(client.clone(), &args.mountpoint, options));
    let (mounted, told) = tokio::select! {
        mounted = &mut mounting => (mounted, false),
        () = signals.told() => match timeout(MOUNTING, mounting).await {
            Ok(mounted) => (mounted, true),
            Err(_) => return Err("told to stop before it was mounted".to_owned()),
        },
    };
    let mounted = mounted.map_err(|e| e.to_string())?;
    let told = async {
        if !told {
            signals.told().await;
        }
    };
    let ended = tokio::select! {
        ended = mounted.wait() => ended.map_err(|e| e.to_string()),
        () = told => signals::unmount(&mounted, &mut signals).await,
    };
    client.close().await;
    ended
}

/// Connects, and says so when it has to wait for that: an OM may be started later than its mounts.
async fn connect(config: ClientConfig) -> Result<Client, String> {
    let (servers, limit) = (config.om.join(", "), config.om_deadline);
    let announce = || {
        eprintln!(
            "ozone: waiting for an OM at {servers}, for {} s at most: is it running there?",
            limit.as_secs()
        );
    };
    let connected = announced(Client::connect(config), announce).await;
    connected.map_err(|e| e.to_string())
}
