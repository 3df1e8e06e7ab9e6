//! The servers as processes of their own: `ozone scm`, `ozone om`, `ozone datanode`, `ozone s3g`.

use clap::Args;
use ozone_client::{Client, ClientConfig};
use ozone_common::clock::SystemClock;
use ozone_common::config::{Config, scm_addresses};
use ozone_common::disk::RealDisk;
use ozone_common::net::TcpNet;
use ozone_common::rng::OsRng;
use ozone_datanode::{DatanodeOptions, DatanodeServer};
use ozone_om::{OmError, OmOptions, OmServer};
use ozone_s3::S3Server;
use ozone_scm::{ScmOptions, ScmServer};
use std::sync::Arc;
use std::time::Duration;

use crate::{output, signals};

/// Arguments of `ozone scm`.
#[derive(Args)]
pub(crate) struct ScmArgs {
    /// Makes the directories, the cluster id and the certificate authority, and ends.
    #[arg(long)]
    init: bool,
    /// With --init: the id of the cluster, instead of a new one.
    #[arg(long, requires = "init", value_name = "CID")]
    clusterid: Option<String>,
}

/// Arguments of `ozone om`.
#[derive(Args)]
pub(crate) struct OmArgs {
    /// Makes the directories for the cluster of the running SCM, and ends.
    #[arg(long)]
    init: bool,
}

/// What an OM is started with on this machine.
pub(crate) fn om_options(config: Config) -> OmOptions {
    OmOptions {
        config,
        clock: Arc::new(SystemClock::new()),
        rng: Arc::new(OsRng),
        net: TcpNet::shared(),
        disk: Arc::new(RealDisk),
    }
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Where an OM finds SCM.
const SCM_KEY: &str = "ozone.scm.block.client.address";
/// After this long without an answer a command says what it waits for.
const SILENCE: Duration = Duration::from_secs(2);

/// Waits for `work`; calls `announce` when that takes a while.
pub(crate) async fn announced<T>(work: impl Future<Output = T>, announce: impl FnOnce()) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(SILENCE) => announce(),
    }
    work.await
}

/// Runs on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(text)
}

/// `ozone scm`.
pub(crate) async fn scm(args: ScmArgs, config: Config) -> Result<(), String> {
    if args.init {
        let made = blocking(move || ozone_scm::init(&config, args.clusterid.as_deref())).await?;
        return output::line(format_args!(
            "SCM initialization succeeded. Current cluster id: {}",
            made.map_err(text)?.cluster_id
        ));
    }
    let server = ScmServer::start(ScmOptions::new(config))
        .await
        .map_err(text)?;
    server.wait_ready().await.map_err(text)?;
    let told = tokio::select! {
        told = signals::stop() => told,
        doomed = server.doomed() => Err(text(doomed)),
    };
    server.shutdown().await;
    told
}

/// `ozone om`.
pub(crate) async fn om(args: OmArgs, config: Config) -> Result<(), String> {
    let options = om_options(config);
    if args.init {
        let cluster = init_om(&options).await?;
        return output::line(format_args!(
            "OM initialization succeeded. Current cluster id: {cluster}"
        ));
    }
    let server = OmServer::start(options).await.map_err(text)?;
    let told = tokio::select! {
        told = signals::stop() => told,
        doomed = server.doomed() => Err(text(doomed)),
    };
    server.shutdown().await;
    told
}

/// Initialises an OM, and says so when it has to wait for SCM.
async fn init_om(options: &OmOptions) -> Result<String, String> {
    let scm = scm_addresses(&options.config, SCM_KEY).map_err(text)?;
    let announce = || {
        let scm = scm.join(", ");
        eprintln!("ozone: waiting for SCM at {scm} ({SCM_KEY}): is it running there?");
    };
    let cluster = announced(ozone_om::server::init(options), announce).await;
    cluster.map_err(|error| match error {
        OmError::Scm(_) => format!(
            "{error}: an OM is initialised while SCM runs: start `ozone scm`, or correct {SCM_KEY}"
        ),
        other => other.to_string(),
    })
}

/// `ozone datanode`.
pub(crate) async fn datanode(config: Config) -> Result<(), String> {
    let server = DatanodeServer::start(DatanodeOptions::new(config))
        .await
        .map_err(text)?;
    let registered = server.wait_registered();
    tokio::select! {
        registered = registered => registered.map_err(text)?,
        stopped = signals::stop() => {
            stopped?;
            server.shutdown().await;
            return Ok(());
        }
    }
    signals::stop().await?;
    server.shutdown().await;
    Ok(())
}

/// `ozone s3g`.
pub(crate) async fn s3g(config: Config) -> Result<(), String> {
    let client = ClientConfig::from_config(&config).map_err(text)?;
    let client = Client::connect(client).await.map_err(text)?;
    let started = S3Server::start(&config, &*TcpNet::shared(), client.clone()).await;
    let server = started.map_err(text)?;
    tracing::info!(address = %server.address(), "the S3 gateway answers");
    signals::stop().await?;
    server.shutdown().await;
    client.close().await;
    Ok(())
}
