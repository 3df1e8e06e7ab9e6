//! A running OM: its state, its Raft group, its listeners, its background work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::Clock;
use ozone_common::config::{Config, HostPort, scm_addresses};
use ozone_common::disk::Disk;
use ozone_common::http::HttpServer;
use ozone_common::net::Net;
use ozone_common::rng::Rng;
use ozone_common::version_file::VersionFile;
use ozone_common::worker::Workers;
use ozone_proto::om::ozone_manager_service_server::OzoneManagerServiceServer;
use ozone_raft::{ChannelConnect, HostConfig, RaftHost};
use ozone_rpc::channel::Channels;
use ozone_rpc::server::ServerHandle;
use ozone_security::enrol::Enrolment;
use ozone_security::guard::Guard;
use ozone_security::identity::Role;
use tonic::service::Routes;
use uuid::Uuid;

use crate::admins::Admins;
use crate::background::{
    EmptyTrash, Fold, OpenKeys, Reclaim, ReclaimSnapshots, SessionWatch, Uploads,
};
use crate::block_writer::BlockWriter;
use crate::blocks::{Blocks, BlocksOptions};
use crate::cluster::{self, Cluster, ClusterWatch};
use crate::error::{OmError, Result};
use crate::founder;
use crate::group::{self, Opening};
use crate::layout::{ClusterIdentity, Layout};
use crate::leader::Leader;
use crate::leases::Leases;
use crate::listeners::{listen, serve_http, serve_raft};
use crate::opens::Opens;
use crate::removals::Removals;
use crate::room::RoomWatch;
use crate::runner::Runner;
use crate::saved_metrics::SavedMetrics;
use crate::security::enrolment;
use crate::service::OmService;
use crate::services::Services;
pub use crate::settings::check_config;
use crate::settings::{default_replication, number, snapshot_settings};
use crate::snapshots::jobs::Jobs;
use crate::snapshots::reports::Reports;
use crate::state_machine::OmState;
use crate::tokens::{KeyRefresh, Tokens};

/// Keys of the directories of an OM.
const DIRS: &[&str] = &[
    "ozone.metadata.dirs",
    "ozone.om.db.dirs",
    "ozone.om.ratis.storage.dir",
];
/// How long a stopping listener waits for requests under way.
const GRACE: Duration = Duration::from_secs(5);

/// What an OM is started with.
#[derive(Clone)]
pub struct OmOptions {
    /// The configuration.
    pub config: Config,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// Network.
    pub net: Arc<dyn Net>,
    /// Disk.
    pub disk: Arc<dyn Disk>,
}

/// A running OM.
pub struct OmServer {
    runner: Arc<Runner>,
    host: Arc<RaftHost>,
    workers: Workers,
    client: ServerHandle,
    raft: ServerHandle,
    http: HttpServer,
    cluster: Arc<Cluster>,
    metrics: SavedMetrics,
}

/// Where an OM listens.
#[derive(Debug, Clone, Copy)]
pub struct OmAddresses {
    /// Clients.
    pub client: SocketAddr,
    /// `/prom` and `/health`.
    pub http: SocketAddr,
}

pub(crate) fn start(error: impl std::fmt::Display) -> OmError {
    OmError::Start(error.to_string())
}

/// Initialises the OM's directories for the cluster of its SCM, and gets a certificate there; run
/// again, it keeps what is there.
pub async fn init(options: &OmOptions) -> Result<String> {
    check_config(&options.config)?;
    let layout = Layout::from_config(&options.config)?;
    let (disk, current, config) = (
        options.disk.clone(),
        layout.current(),
        options.config.clone(),
    );
    let known = blocking(move || {
        config.make_dirs(DIRS).map_err(start)?;
        VersionFile::read(&*disk, &current).map_err(start)
    });
    let known = known.await?;
    let uuid = known.map_or_else(|| options.rng.uuid(), |known| known.uuid);
    let enrolment = Arc::new(make_enrolment(options, &layout, uuid).await?);
    let identity = enrolment.identity().await.map_err(start)?;
    let channels = Arc::new(Channels::new(options.net.clone(), identity));
    let tokens = Arc::new(Tokens::new(options.clock.clone()));
    let info = blocks(options, &channels, (tokens, None))?
        .scm_info()
        .await?;
    let cluster = ClusterIdentity {
        cluster_id: info.cluster_id,
        scm_id: info.scm_id,
    };
    let now_ms = options.clock.wall_ms();
    let disk = options.disk.clone();
    let version = blocking(move || layout.init(&*disk, &cluster, now_ms, uuid)).await?;
    enrolment.obtain().await.map_err(start)?;
    Ok(version.cluster_id)
}

async fn make_enrolment(options: &OmOptions, layout: &Layout, uuid: Uuid) -> Result<Enrolment> {
    let (options, layout) = (options.clone(), layout.clone());
    blocking(move || enrolment(&options, &layout, uuid)).await
}

/// Runs on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    ozone_kv::blocking(work).await.map_err(start)?
}

fn scm(config: &Config) -> Result<Vec<String>> {
    scm_addresses(config, "ozone.scm.block.client.address").map_err(start)
}

fn blocks(
    options: &OmOptions,
    channels: &Arc<Channels>,
    (tokens, cluster): (Arc<Tokens>, Option<Arc<Cluster>>),
) -> Result<Blocks> {
    let scm = scm(&options.config)?;
    Ok(Blocks::new(BlocksOptions {
        channels: channels.clone(),
        scm,
        clock: options.clock.clone(),
        rng: options.rng.clone(),
        owner: "om".to_owned(),
        tokens,
        cluster,
    }))
}

fn make_tokens(options: &OmOptions) -> Result<Arc<Tokens>> {
    let lifetime = options.config.get_duration("hdds.block.token.expiry.time");
    let tokens = Tokens::new(options.clock.clone()).lasting(lifetime.map_err(start)?);
    Ok(Arc::new(tokens))
}

impl OmServer {
    /// Starts an OM on directories that were initialised.
    pub async fn start(options: OmOptions) -> Result<Self> {
        let mut host = None;
        let started = Self::start_on(options, &mut host).await;
        if let (Err(_), Some(host)) = (&started, host) {
            // A group that is only dropped ends in the midst of its work.
            host.shutdown().await;
        }
        started
    }

    /// Starts it, and gives its Raft host to be shut down should something fail after that.
    async fn start_on(options: OmOptions, made: &mut Option<Arc<RaftHost>>) -> Result<Self> {
        let started = options.clock.monotonic();
        check_config(&options.config)?;
        let layout = Layout::from_config(&options.config)?;
        let (disk, reading) = (options.disk.clone(), layout.clone());
        let open_snapshots = number(&options.config, "ozone.om.snapshot.cache.max.size")?;
        let opened = blocking(move || {
            let version = reading.version(&*disk)?;
            // Whoever has the database open has the directory to itself.
            let state = OmState::open(&reading.data, open_snapshots)?;
            Ok((version, state, Reports::new(&reading.data)?))
        });
        let (version, state, reports) = opened.await?;
        let (state, disk) = (Arc::new(state), options.disk.clone());
        let enrolment = make_enrolment(&options, &layout, version.uuid).await?;
        let scm_security = enrolment.settings.scm.clone();
        let (transport, keeper) = enrolment.start().await.map_err(start)?;
        let host = RaftHost::new(HostConfig {
            node_id: version.uuid,
            connect: ChannelConnect::new(options.net.clone(), transport.client.clone()),
        });
        let host = host.map_err(start)?;
        *made = Some(host.clone());
        let channels = Arc::new(Channels::new(options.net.clone(), transport.client.clone()));
        let tokens = make_tokens(&options)?;
        let cluster = Cluster::new(&layout.current(), &version, scm(&options.config)?);
        let cluster = Arc::new(cluster);
        let blocks = blocks(&options, &channels, (tokens.clone(), Some(cluster.clone())))?;
        cluster::ask_at_start(&blocks).await?;
        let guard = |roles| Guard::new(&version.cluster_id, roles);
        let place = (&options, &transport);
        let raft = serve_raft(place, &host, guard(&[Role::Om])).await?;
        let opening = Opening {
            layout: &layout,
            cluster_id: &version.cluster_id,
            address: raft.address(),
            disk,
        };
        let group = group::open(opening, &host, state.clone()).await?;

        let refresh = KeyRefresh {
            channels: channels.clone(),
            scm: scm_security,
            tokens,
        };
        let leader = Arc::new(Leader {
            state,
            group: group.clone(),
            blocks,
            opens: Opens::default(),
            removals: Removals::default(),
            leases: Leases::new(options.clock.clone()),
            default_replication: default_replication(&options.config)?,
            room: Arc::default(),
            snapshots: snapshot_settings(&options.config)?,
            diffs: Jobs::new(reports),
            clock: options.clock.clone(),
            rng: options.rng.clone(),
            admins: Admins::from_config(&options.config),
        });
        let address = options
            .config
            .get_address("ozone.om.address")
            .map_err(start)?;
        let listener = listen(place, "ozone.om.address", address.clone()).await?;
        let client_address = HostPort::new(address.host.clone(), listener.address().port());
        let services = Services {
            nodes: [(version.uuid, ("om".to_owned(), client_address))].into(),
        };
        let runner = Arc::new(Runner {
            leader: leader.clone(),
            services,
        });
        let http = serve_http(&options, &group).await?;

        let workers = background(&options, &layout, &runner, channels)?;
        workers.spawn(keeper);
        workers.spawn(refresh);
        workers.spawn(ClusterWatch(leader.clone()));
        let metrics = saved_metrics(&options, &layout, &leader)?;
        workers.spawn(metrics.clone());
        group::lead(&leader, started).await?;
        founder::found(&leader).await?;
        let service = OzoneManagerServiceServer::new(OmService {
            runner: runner.clone(),
            guard: guard(&[Role::Client]),
        });
        let service = service
            .max_decoding_message_size(ozone_rpc::MAX_MESSAGE)
            .max_encoding_message_size(ozone_rpc::MAX_MESSAGE);
        let client = listener.serve(Routes::new(service));
        Ok(Self {
            runner,
            host,
            workers,
            client,
            raft,
            http,
            cluster,
            metrics,
        })
    }

    /// Returns when this OM cannot go on and is to be stopped, with the reason: SCM, which could not be asked at the
    /// start, has turned out to be of another cluster, or the log cannot be written any more.
    pub async fn doomed(&self) -> OmError {
        tokio::select! {
            foreign = self.cluster.foreign() => foreign,
            failed = self.runner.leader.group.failed() => OmError::from(failed),
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> OmAddresses {
        OmAddresses {
            client: self.client.address(),
            http: self.http.address(),
        }
    }

    /// Looks for what was deleted at once, instead of at the next interval.
    pub fn reclaim_now(&self) {
        self.workers.wake("reclaim");
    }

    /// Stops: requests under way are answered, everything applied is flushed.
    pub async fn shutdown(self) {
        self.workers.shutdown().await;
        self.client.shutdown(GRACE).await;
        self.host.shutdown().await;
        self.raft.shutdown(GRACE).await;
        self.http.shutdown().await;
        if let Err(error) = self.metrics.save().await {
            tracing::warn!(%error, "the count of keys is not saved");
        }
        let state = self.runner.leader.state.clone();
        let flushed = ozone_kv::blocking(move || state.store().and_then(|s| s.flush())).await;
        if let Ok(Err(error)) = flushed {
            tracing::error!(%error, "last flush failed: the log will be replayed at the next start");
        }
    }
}

fn saved_metrics(options: &OmOptions, layout: &Layout, leader: &Leader) -> Result<SavedMetrics> {
    let key = "ozone.om.save.metrics.interval";
    let interval = options.config.get_duration(key).map_err(start)?;
    let place = (options.disk.clone(), layout.data.as_path());
    Ok(SavedMetrics::new(leader.state.clone(), place, interval))
}

/// What the leader does on its own.
fn background(
    options: &OmOptions,
    layout: &Layout,
    runner: &Arc<Runner>,
    channels: Arc<Channels>,
) -> Result<Workers> {
    let workers = Workers::new(options.clock.clone());
    let duration = |key| options.config.get_duration(key).map_err(start);
    let interval = duration("ozone.block.deleting.service.interval")?;
    workers.spawn(SessionWatch(runner.clone()));
    workers.spawn(RoomWatch {
        room: runner.leader.room.clone(),
        disk: options.disk.clone(),
        dirs: vec![layout.data.clone(), layout.raft.clone()],
    });
    workers.spawn(Fold::new(runner.clone(), BlockWriter { channels }));
    workers.spawn(Reclaim {
        runner: runner.clone(),
        interval,
        grace: duration("ozone.om.freed.block.grace")?,
    });
    workers.spawn(ReclaimSnapshots {
        runner: runner.clone(),
        interval: duration("ozone.snapshot.deleting.service.interval")?,
    });
    workers.spawn(OpenKeys {
        runner: runner.clone(),
        interval: duration("ozone.om.open.key.cleanup.service.interval")?,
        age: duration("ozone.om.open.key.expire.threshold")?,
    });
    workers.spawn(Uploads {
        runner: runner.clone(),
        interval: duration("ozone.om.open.mpu.cleanup.service.interval")?,
        age: duration("ozone.om.open.mpu.expire.threshold")?,
    });
    if let Some(emptier) = EmptyTrash::from_config(&options.config, runner)? {
        workers.spawn(emptier);
    }
    Ok(workers)
}
