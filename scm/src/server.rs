//! Running an SCM: format, start, stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::{Clock, SystemClock};
use ozone_common::config::{Config, HostPort};
use ozone_common::disk::{Disk, RealDisk};
use ozone_common::http::{Health, HttpServer, health_check};
use ozone_common::net::{Net, TcpNet};
use ozone_common::rng::{OsRng, Rng};
use ozone_common::version_file::VersionFile;
use ozone_common::worker::Workers;
use ozone_kv::blocking;
use ozone_raft::{ChannelConnect, GroupConfig, HostConfig, RaftError, RaftHost, RaftOptions};
use ozone_rpc::server::ServerHandle;
use ozone_security::guard::Guard;
use ozone_security::identity::Role;
use ozone_security::live::Live;
use ozone_security::settings::{host_names, tls_wanted};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;

use crate::authority::{Authority, Terms};
use crate::block::{Allocator, LocalIds};
use crate::container::replicas::Replicas;
use crate::coordinator::Coordinator;
use crate::deleted_blocks::{self, BlockDeletion, Deletions};
use crate::error::StartError;
use crate::layout::{Cluster, Identity, Layout, Machine, format};
use crate::listeners::{Listeners, Place, bind, configured};
use crate::log::Log;
use crate::members::Members;
use crate::node::Nodes;
use crate::pipeline::reports::PipelineReports;
use crate::replication::{self, Replicator};
use crate::safemode::SafeMode;
use crate::scm::{Attention, Scm};
use crate::settings::Settings;
use crate::state_machine::Store;
use crate::transport::{CertificateRenewal, OwnCertificate, transport};

/// How long calls under way may take at shutdown.
const GRACE: Duration = Duration::from_secs(2);
/// Longest wait for a leader.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// What an SCM is started with.
#[derive(Debug, Clone)]
pub struct ScmOptions {
    /// The configuration.
    pub config: Config,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// The disk of logs and identity.
    pub disk: Arc<dyn Disk>,
    /// The network.
    pub net: Arc<dyn Net>,
}

impl ScmOptions {
    /// With the machine's clock, chance, disk and network.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(OsRng),
            disk: Arc::new(RealDisk),
            net: TcpNet::shared(),
        }
    }
}

/// Where an SCM listens, with the ports that were picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// OMs ask for blocks here.
    pub block: SocketAddr,
    /// Datanodes register and heartbeat here.
    pub datanode: SocketAddr,
    /// Administrators ask here.
    pub client: SocketAddr,
    /// Keys and certificates are given out here.
    pub security: SocketAddr,
    /// SCMs replicate here.
    pub ratis: SocketAddr,
    /// Metrics and health.
    pub http: SocketAddr,
}

/// Formats the directories of a new SCM of the cluster `cluster_id` (`CID-<uuid>`), or of a new
/// cluster. What is formatted already is kept, and refused if it is of another cluster. Blocks.
pub fn init(config: &Config, cluster_id: Option<&str>) -> Result<Identity, StartError> {
    let cluster = cluster_id.map(|id| Cluster {
        cluster_id: id.to_owned(),
        c_time: None,
    });
    let (layout, identity) = format_here(config, cluster.as_ref())?;
    let terms = Terms::from_config(config)?;
    let now_ms = SystemClock::new().wall_ms();
    Authority::create(&layout.authority, &identity, terms, now_ms)?;
    if let Some(authority) = Authority::load(&layout.authority, terms)? {
        let serial = authority.serial()?;
        VersionFile::set_extra(&RealDisk, &layout.version, "scmCertSerialId", &serial)?;
    }
    Ok(identity)
}

/// Formats the directories of a further SCM of a cluster that another SCM has told about. Blocks.
pub fn bootstrap(config: &Config, cluster: &Cluster) -> Result<Identity, StartError> {
    Ok(format_here(config, Some(cluster))?.1)
}

/// Formats with the machine's clock, chance and disk.
fn format_here(
    config: &Config,
    cluster: Option<&Cluster>,
) -> Result<(Layout, Identity), StartError> {
    let machine = Machine {
        disk: &RealDisk,
        clock: &SystemClock::new(),
        rng: &OsRng,
    };
    format(config, cluster, &machine)
}

/// A running SCM. To be stopped with [`ScmServer::shutdown`]; dropping it only cuts it off.
pub struct ScmServer {
    scm: Arc<Scm>,
    host: Arc<RaftHost>,
    addresses: Addresses,
    listeners: Vec<ServerHandle>,
    http: HttpServer,
    leadership: JoinHandle<()>,
}

/// What is read from disk before anything runs.
struct Opened {
    settings: Settings,
    members: Members,
    layout: Layout,
    identity: Identity,
    store: Arc<Store>,
    authority: Option<Authority>,
    /// With TLS: what the own certificate is made of, and what is in use.
    own: Option<(OwnCertificate, Arc<Live>)>,
    ratis: SocketAddr,
}

fn open(options: &ScmOptions) -> Result<Opened, StartError> {
    let config = &options.config;
    let members = Members::find(config)?;
    let layout = Layout::new(config, &members)?;
    let identity = layout.identity(options.disk.as_ref())?;
    layout.make_dirs(options.disk.as_ref())?;
    let authority = Authority::load(&layout.authority, Terms::from_config(config)?)?;
    let mut listeners = configured(config, &members)?;
    listeners.push(members.ratis().clone());
    let own = OwnCertificate {
        hosts: host_names(&listeners),
        clock: options.clock.clone(),
        rng: options.rng.clone(),
    };
    let own = match tls_wanted(config)? {
        true => {
            let live = own.live(authority.as_ref(), &identity)?;
            Some((own, live))
        }
        false => None,
    };
    Ok(Opened {
        authority,
        own,
        settings: Settings::from_config(config)?,
        ratis: resolve("the Raft listener", members.ratis())?,
        store: Arc::new(Store::open(&layout.db)?),
        members,
        layout,
        identity,
    })
}

/// The address to bind. Blocks while the resolver is asked.
pub(crate) fn resolve(what: &'static str, address: &HostPort) -> Result<SocketAddr, StartError> {
    address.resolve().map_err(|error| StartError::Listen {
        what,
        address: address.to_string(),
        reason: error.to_string(),
    })
}

impl ScmServer {
    /// Starts the SCM that the configuration describes; it has to be formatted. Returns when it
    /// listens; [`ScmServer::wait_ready`] tells when it can be used.
    pub async fn start(options: ScmOptions) -> Result<Self, StartError> {
        let mut host = None;
        let started = Self::start_on(options, &mut host).await;
        if let (Err(_), Some(host)) = (&started, host) {
            // A group that is only dropped ends in the midst of its work.
            host.shutdown().await;
        }
        started
    }

    /// Starts it, and gives its Raft host to be shut down should something fail after that.
    async fn start_on(
        options: ScmOptions,
        made: &mut Option<Arc<RaftHost>>,
    ) -> Result<Self, StartError> {
        let reading = options.clone();
        let opened = blocking(move || open(&reading)).await;
        let mut opened = opened.map_err(|e| StartError::Members(e.to_string()))??;
        let place = Place {
            net: options.net.clone(),
            transport: transport(opened.own.as_ref().map(|(_, live)| live))?,
        };
        let host = RaftHost::new(HostConfig {
            node_id: opened.identity.scm_id,
            connect: ChannelConnect::new(options.net.clone(), place.transport.client.clone()),
        })?;
        *made = Some(host.clone());
        let name = ("the Raft listener", "ozone.scm.ratis.port");
        let ratis = bind(&place, name, opened.ratis).await?;
        let ratis_address = ratis.address();
        // The other members must be able to answer before the group asks them for votes.
        let guard = Guard::new(&opened.identity.cluster_id, &[Role::Scm]);
        let replication = InterceptedService::new(host.service(), guard);
        let ratis = ratis.serve(Routes::new(replication));
        let renewal = opened.own.take();
        let scm = Self::assemble(&options, opened, &host, ratis_address).await?;
        let listeners = Listeners::bind(&place, &options.config, &scm.members).await?;
        let http = start_http(&options, &scm).await?;
        let addresses = listeners.addresses(ratis_address, http.address());
        let mut serving = listeners.serve(&scm);
        serving.push(ratis);
        let leadership = tokio::spawn(lead(scm.clone()));
        start_workers(&scm);
        if let Some((own, live)) = renewal {
            let grace = options
                .config
                .get_duration("hdds.x509.renew.grace.duration")?;
            let scm = scm.clone();
            scm.clone().workers.spawn(CertificateRenewal {
                scm,
                own,
                live,
                grace,
            });
        }
        tracing::info!(scm = %scm.identity.scm_id, cluster = scm.identity.cluster_id, ?addresses, "SCM started");
        Ok(Self {
            scm,
            host,
            addresses,
            listeners: serving,
            http,
            leadership,
        })
    }

    async fn assemble(
        options: &ScmOptions,
        opened: Opened,
        host: &Arc<RaftHost>,
        ratis: SocketAddr,
    ) -> Result<Arc<Scm>, StartError> {
        let Opened {
            settings,
            members,
            layout,
            identity,
            store,
            authority,
            ..
        } = opened;
        let own_address = match members.is_replicated() {
            true => members.ratis().to_string(),
            false => ratis.to_string(),
        };
        let group = GroupConfig {
            group_id: identity.group,
            storage_dir: layout.ratis,
            members: members.peers(identity.group, identity.scm_id, own_address),
            options: RaftOptions {
                disk: options.disk.clone(),
                ..RaftOptions::default()
            },
        };
        let group = host.open_group(group, store.clone()).await;
        let group = group.map_err(|error| match error {
            source @ RaftError::LogLost { .. } => StartError::Log {
                key: members.key(&options.config, "ozone.scm.ratis.storage.dir"),
                source,
            },
            other => other.into(),
        })?;
        let clock = options.clock.clone();
        // Ids of commands are greater than those of any earlier run.
        let first_command = i64::try_from(clock.wall_ms()).unwrap_or(0) << 16;
        let scm = Arc::new(Scm {
            config: options.config.clone(),
            members,
            started: clock.monotonic(),
            rng: options.rng.clone(),
            log: Log::new(group),
            nodes: Nodes::new(settings.patience, first_command),
            replicas: Replicas::default(),
            reports: PipelineReports::default(),
            safemode: SafeMode::new(settings.safemode),
            ids: LocalIds::default(),
            allocator: Allocator::default(),
            deletions: Deletions::default(),
            workers: Workers::new(clock.clone()),
            attention: Attention::new(),
            replication_due: replication::Due::default(),
            authority,
            identity,
            settings,
            clock,
            store,
        });
        Ok(scm)
    }

    /// Who this SCM is.
    pub fn identity(&self) -> &Identity {
        &self.scm.identity
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits until a leader is known; if that is this SCM, until it serves.
    pub async fn wait_ready(&self) -> Result<(), StartError> {
        let mut looks = self.scm.attention.watch();
        let mut changes = self.scm.log.group().watch_leadership();
        let ready = async {
            loop {
                let leadership = changes.borrow_and_update().clone();
                let led_by_other = leadership.leader.is_some() && !leadership.is_leader;
                if led_by_other || self.scm.log.serving_term().is_some() {
                    return;
                }
                // Each change of leadership makes the coordinator look.
                tokio::select! {
                    changed = looks.changed() => if changed.is_err() { return },
                    changed = changes.changed() => if changed.is_err() { return },
                }
            }
        };
        let waited = tokio::time::timeout(READY_LIMIT, ready).await;
        waited.map_err(|_| StartError::NoLeader(READY_LIMIT))?;
        // The first look makes what everybody needs, such as the first signing key.
        self.scm.look_and_wait().await;
        Ok(())
    }

    /// Returns when this SCM cannot go on and is to be stopped, with the reason: its log cannot be written any more.
    pub async fn doomed(&self) -> RaftError {
        self.scm.log.group().failed().await
    }

    /// Stops taking calls, ends those under way and everything in the background, and closes the
    /// log and the database.
    pub async fn shutdown(self) {
        let stopping = self
            .listeners
            .into_iter()
            .map(|listener| listener.shutdown(GRACE));
        futures::future::join_all(stopping).await;
        self.scm.workers.shutdown().await;
        self.leadership.abort();
        // Aborted on purpose: there is nothing to learn from how it ended.
        let _ = self.leadership.await;
        self.host.shutdown().await;
        self.http.shutdown().await;
    }
}

/// Follows leadership, and starts everything anew when this SCM begins to lead.
async fn lead(scm: Arc<Scm>) {
    let follower = scm.clone();
    let follow = scm.log.follow_leadership(move |term| {
        match term {
            Some(term) => {
                tracing::info!(term, "leading");
                follower.deletions.reset();
                let warm = follower.clone();
                // The first block must not wait for this.
                tokio::spawn(async move {
                    if let Err(error) = warm.refill_ids().await {
                        tracing::debug!(%error, "no local ids yet");
                    }
                });
            }
            None => tracing::info!("no longer leading"),
        }
        follower.look();
        follower.workers.wake(deleted_blocks::NAME);
        follower.workers.wake(replication::NAME);
    });
    follow.await;
}

fn start_workers(scm: &Arc<Scm>) {
    scm.workers.spawn(Coordinator::new(scm.clone()));
    scm.workers.spawn(BlockDeletion::new(scm.clone()));
    scm.workers.spawn(Replicator::new(scm.clone()));
}

async fn start_http(options: &ScmOptions, scm: &Arc<Scm>) -> Result<HttpServer, StartError> {
    const WHAT: &str = "the HTTP server";
    let key = scm.members.key(&options.config, "ozone.scm.http-address");
    let address = options.config.get_address(&key)?;
    let resolved = blocking(move || resolve(WHAT, &address)).await;
    let resolved = resolved.map_err(|e| StartError::Members(e.to_string()))??;
    let secure = tls_wanted(&options.config)?;
    let scm = scm.clone();
    let health = health_check(move || {
        let leadership = scm.log.group().watch_leadership().borrow().clone();
        let health = Health {
            healthy: leadership.leader.is_some(),
            details: serde_json::json!({
                "leader": scm.log.serving_term().is_some(),
                "fault": scm.log.group().fault(),
                "term": leadership.term,
                "safeMode": scm.safemode.is_on(),
                "safeModeReason": scm.safemode.reason(),
                "datanodes": scm.nodes.registered(),
            }),
        };
        async move { health }
    });
    let started = HttpServer::start(
        options.net.as_ref(),
        (resolved, secure),
        health,
        axum::Router::new(),
    );
    started.await.map_err(|error| StartError::Bind {
        what: WHAT,
        reason: error.hint(&key),
    })
}
