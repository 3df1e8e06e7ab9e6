//! `ozone mount`: the namespace of a cluster as a directory.

use std::path::PathBuf;

use clap::Args;
use ozone_client::{Client, ClientConfig};
use ozone_common::config::{Config, HostPort};
use ozone_fs::MountOptions;

use crate::daemon::announced;
use crate::signals;

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
    let mounted = ozone_fs::mount(client.clone(), &args.mountpoint, options)
        .await
        .map_err(|e| e.to_string())?;
    let ended = tokio::select! {
        () = mounted.wait() => Ok(()),
        () = signals.told() => signals::unmount(&mounted, &mut signals).await,
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
