//! A running datanode: listeners, heartbeats and background work around one [`Node`].

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ozone_common::http::{Health, HttpServer, health_check};
use ozone_common::worker::Workers;
use ozone_kv::BlockCache;
use ozone_proto::hdds::datanode::xceiver_client_protocol_service_server::XceiverClientProtocolServiceServer;
use ozone_proto::hdds::{DatanodeDetailsProto, Port};
use ozone_proto::scm::datanode_peer_service_server::DatanodePeerServiceServer;
use ozone_raft::{ChannelConnect, HostConfig, RaftHost};
use ozone_rpc::channel::Channels;
use ozone_rpc::server::{Listener, ServerHandle};
use ozone_security::guard::Guard;
use ozone_security::identity::Role;
use ozone_security::tls::Transport;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use uuid::Uuid;

use crate::container::ContainerSet;
use crate::door;
use crate::error::StartError;
use crate::heartbeat::{Heartbeats, Membership};
use crate::identity;
use crate::join::{Join, JoinSettings};
use crate::node::Node;
use crate::options::{CLIENT_KEY, DatanodeOptions, HTTP_KEY, PEER_KEY, Settings};
use crate::peer::{CLIENT_PORT, PEER_PORT, PeerService, Peers};
use crate::pipeline::{PipelineStore, Pipelines};
use crate::repair::{self, Repairer};
use crate::scanner::Scanner;
use crate::security;
use crate::service::ClientService;
use crate::sweep::Sweeper;
use crate::tokens::Tokens;

/// How long requests under way have at shutdown.
const GRACE: Duration = Duration::from_secs(2);
/// Name of the port of metrics and health.
const HTTP_PORT: &str = "HTTP";

/// Where a datanode listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Blocks, for clients and for chunks that datanodes pass on.
    pub client: SocketAddr,
    /// Raft, and what datanodes ask one another.
    pub peer: SocketAddr,
    /// Metrics and health.
    pub http: SocketAddr,
}

/// A running datanode. Dropping it stops it without ceremony.
pub struct DatanodeServer {
    node: Arc<Node>,
    addresses: Addresses,
    membership: watch::Receiver<Membership>,
    workers: Arc<Workers>,
    serving: Option<Serving>,
}

/// Listeners that answer.
struct Serving {
    client: ServerHandle,
    peer: ServerHandle,
    http: HttpServer,
}

impl Drop for DatanodeServer {
    fn drop(&mut self) {
        self.node.gate.cancel();
        self.workers.gate().cancel();
    }
}

struct Listeners {
    client: Listener,
    peer: Listener,
}

impl DatanodeServer {
    /// Starts a datanode. It answers at once; what it needs its cluster for comes with
    /// [`wait_registered`](Self::wait_registered).
    pub async fn start(options: DatanodeOptions) -> Result<Self, StartError> {
        let reading = options.clone();
        let settings = blocking(move || Settings::read(&reading)).await?;
        let uuid = own_uuid(&options, &settings).await?;
        let (transport, keeper) = security::enrol(&options, &settings, uuid).await?;
        let listeners = Listeners {
            client: listen(&options, &transport, (CLIENT_KEY, settings.client_address)).await?,
            peer: listen(&options, &transport, (PEER_KEY, settings.peer_address)).await?,
        };
        let workers = Arc::new(Workers::new(options.clock.clone()));
        workers.spawn(keeper);
        let cache = BlockCache::new(settings.cache_bytes);
        let node = make_node(&options, &settings, &cache, &workers, (uuid, &transport)).await?;
        let join = Arc::new(make_join(&options, &settings, cache, &workers));
        let (looking, uuid) = (join.clone(), node.uuid.to_string());
        if let Some(owner) = blocking(move || looking.look(&uuid)).await? {
            join.join(&node, &owner.cluster_id, owner.c_time).await?;
        }
        workers.spawn(Repairer { node: node.clone() });
        workers.spawn(Sweeper {
            containers: node.containers.clone(),
        });
        wake_repairer(&node, &workers);

        let membership = watch::Sender::new(Membership::default());
        let http = serve_http(&options, &settings, &node, membership.subscribe()).await?;
        let addresses = Addresses {
            client: listeners.client.address(),
            peer: listeners.peer.address(),
            http: http.address(),
        };
        let (client, peer) = serve(&node, listeners, &transport);
        tokio::spawn(door::serve(node.clone()));
        let seen = membership.subscribe();
        let heartbeats = Heartbeats {
            details: details(node.uuid, &settings, &addresses),
            node: node.clone(),
            join,
            channels: Channels::new(options.net.clone(), transport.client.clone()),
            interval: settings.heartbeat,
            full_report_interval: settings.full_report,
            replication_limit: settings.copies,
            membership,
            term: 0.into(),
        };
        let heartbeats = Arc::new(heartbeats);
        for scm in settings.scm {
            tokio::spawn(heartbeats.clone().run(scm));
        }
        tracing::info!(uuid = %node.uuid, ?addresses, "datanode started");
        let serving = Some(Serving { client, peer, http });
        Ok(Self {
            node,
            addresses,
            membership: seen,
            workers,
            serving,
        })
    }

    /// The datanode's id.
    pub fn uuid(&self) -> Uuid {
        self.node.uuid
    }

    /// Where it listens, with the ports that were picked.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Its containers.
    pub fn containers(&self) -> &Arc<ContainerSet> {
        &self.node.containers
    }

    /// Directories that do not work, and why.
    pub fn volume_failures(&self) -> Vec<(std::path::PathBuf, String)> {
        self.node
            .volumes
            .get()
            .map_or_else(Vec::new, |volumes| volumes.failures())
    }

    /// Pipelines that could not be opened at the start, and why.
    pub fn pipeline_failures(&self) -> Vec<String> {
        self.node.pipelines.failures()
    }

    /// Returns once an SCM has accepted this datanode, or has refused it.
    pub async fn wait_registered(&self) -> Result<(), StartError> {
        let mut membership = self.membership.clone();
        let known = membership
            .wait_for(|m| !matches!(m, Membership::Unknown))
            .await;
        match known.as_deref() {
            Ok(Membership::Refused { scm, reason }) => Err(StartError::Refused {
                scm: scm.clone(),
                reason: reason.clone(),
            }),
            Ok(_) => Ok(()),
            Err(_) => Err(StartError::ShuttingDown),
        }
    }

    /// Takes no more requests, finishes those under way, makes everything durable and stops.
    pub async fn shutdown(mut self) {
        let node = self.node.clone();
        node.gate.cancel();
        if let Some(Serving { client, peer, http }) = self.serving.take() {
            tokio::join!(
                client.shutdown(GRACE),
                peer.shutdown(GRACE),
                http.shutdown()
            );
        }
        self.workers.shutdown().await;
        node.pipelines.shutdown().await;
        tracing::info!(uuid = %node.uuid, "datanode stopped");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let done = ozone_kv::blocking(work).await;
    done.unwrap_or(Err(StartError::ShuttingDown))
}

async fn own_uuid(options: &DatanodeOptions, settings: &Settings) -> Result<Uuid, StartError> {
    let (disk, rng) = (options.disk.clone(), options.rng.clone());
    let (dir, data) = (settings.id_dir.clone(), settings.data_dirs.clone());
    blocking(move || identity::load_or_create(&*disk, &dir, &data, &*rng)).await
}

async fn listen(
    options: &DatanodeOptions,
    transport: &Transport,
    (key, address): (&str, SocketAddr),
) -> Result<Listener, StartError> {
    let listener = Listener::bind(&*options.net, address, transport.listener.clone()).await;
    listener.map_err(|error| StartError::Listen(error.hint(key)))
}

async fn make_node(
    options: &DatanodeOptions,
    settings: &Settings,
    cache: &BlockCache,
    workers: &Workers,
    (uuid, transport): (Uuid, &Transport),
) -> Result<Arc<Node>, StartError> {
    let (path, cache) = (settings.id_dir.join("pipelines.db"), cache.clone());
    let store = blocking(move || PipelineStore::open(&path, &cache)).await?;
    let host = RaftHost::new(HostConfig {
        node_id: uuid,
        connect: ChannelConnect::new(options.net.clone(), transport.client.clone()),
    })?;
    let (store, logs) = (Arc::new(store), settings.log_dir.clone());
    let tokens = Arc::new(Tokens::new(options.clock.clone()));
    Ok(Arc::new(Node {
        uuid,
        containers: Arc::default(),
        volumes: OnceLock::new(),
        pipelines: Pipelines::new(host, store, logs, options.disk.clone(), settings.log_gap),
        peers: Peers::new(
            Channels::new(options.net.clone(), transport.client.clone()),
            options.clock.clone(),
            tokens.clone(),
            uuid.to_string(),
        ),
        tokens,
        container_size: settings.container_size,
        clock: options.clock.clone(),
        rng: options.rng.clone(),
        news: watch::Sender::default(),
        lacking: watch::Sender::default(),
        gate: CancellationToken::clone(workers.gate()).child_token(),
    }))
}

fn make_join(
    options: &DatanodeOptions,
    settings: &Settings,
    cache: BlockCache,
    workers: &Arc<Workers>,
) -> Join {
    let (scan, workers) = (settings.scan, workers.clone());
    let joined = move |node: &Arc<Node>| {
        let (Some(scan), Some(volumes)) = (scan, node.volumes.get()) else {
            return;
        };
        for volume in volumes.iter() {
            workers.spawn(Scanner {
                node: node.clone(),
                volume: volume.clone(),
                rate: scan.rate,
                interval: scan.interval,
            });
        }
    };
    Join::new(JoinSettings {
        disk: options.disk.clone(),
        dirs: settings.data_dirs.clone(),
        min_free: settings.min_free,
        tolerated: settings.tolerated,
        cache,
        joined: Box::new(joined),
    })
}

fn wake_repairer(node: &Arc<Node>, workers: &Arc<Workers>) {
    let (mut lacking, gate) = (node.lacking.subscribe(), node.gate.clone());
    let workers = Arc::downgrade(workers);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = gate.cancelled() => return,
                changed = lacking.changed() => if changed.is_err() { return },
            }
            let Some(workers) = workers.upgrade() else {
                return;
            };
            workers.wake(repair::NAME);
        }
    });
}

/// Who may ask for blocks: users, datanodes that pass chunks on, and OMs that fold small files into blocks.
const BLOCK_CALLERS: &[Role] = &[Role::Client, Role::Datanode, Role::Om];

fn serve(
    node: &Arc<Node>,
    listeners: Listeners,
    transport: &Transport,
) -> (ServerHandle, ServerHandle) {
    let guard = |roles| Guard::new(&transport.cluster_id, roles);
    let commands = XceiverClientProtocolServiceServer::new(ClientService::new(node.clone()))
        .max_decoding_message_size(ozone_rpc::MAX_MESSAGE)
        .max_encoding_message_size(ozone_rpc::MAX_MESSAGE);
    let peers = DatanodePeerServiceServer::new(PeerService::new(node.clone()))
        .max_decoding_message_size(ozone_rpc::MAX_MESSAGE)
        .max_encoding_message_size(ozone_rpc::MAX_MESSAGE);
    let commands = InterceptedService::new(commands, guard(BLOCK_CALLERS));
    let peers = InterceptedService::new(peers, guard(&[Role::Datanode]));
    let raft = node.pipelines.host().service();
    let raft = InterceptedService::new(raft, guard(&[Role::Datanode]));
    (
        listeners.client.serve(Routes::new(commands)),
        listeners.peer.serve(Routes::new(peers).add_service(raft)),
    )
}

async fn serve_http(
    options: &DatanodeOptions,
    settings: &Settings,
    node: &Arc<Node>,
    membership: watch::Receiver<Membership>,
) -> Result<HttpServer, StartError> {
    let (weak, tolerated) = (Arc::downgrade(node), settings.tolerated);
    let check = health_check(move || {
        let health = weak
            .upgrade()
            .map(|node| health(&node, &membership.borrow(), tolerated));
        async move {
            health.unwrap_or(Health {
                healthy: false,
                details: serde_json::Value::Null,
            })
        }
    });
    let started = HttpServer::start(
        &*options.net,
        (settings.http_address, settings.security.tls),
        check,
        axum::Router::new(),
    );
    started
        .await
        .map_err(|error| StartError::Listen(error.hint(HTTP_KEY)))
}

fn health(node: &Node, membership: &Membership, tolerated: u64) -> Health {
    let failures = node
        .volumes
        .get()
        .map_or_else(Vec::new, |volumes| volumes.failures());
    let registered = matches!(membership, Membership::Registered);
    let failed_pipelines = node.pipelines.failures();
    let failed: Vec<_> = failures
        .iter()
        .map(|(dir, why)| serde_json::json!({ "dir": dir.display().to_string(), "reason": why }))
        .collect();
    Health {
        healthy: registered && failures.len() as u64 <= tolerated && failed_pipelines.is_empty(),
        details: serde_json::json!({
            "uuid": node.uuid.to_string(),
            "registered": registered,
            "failedVolumes": failed,
            "containers": node.containers.list().len(),
            "pipelines": node.pipelines.count(),
            "failedPipelines": failed_pipelines,
        }),
    }
}

/// How SCM and others find this datanode.
fn details(uuid: Uuid, settings: &Settings, addresses: &Addresses) -> DatanodeDetailsProto {
    let port = |name: &str, address: SocketAddr| Port {
        name: name.to_owned(),
        value: u32::from(address.port()),
    };
    let ip = addresses.client.ip();
    // A listener on all addresses is reached by its name.
    let reachable = match (ip.is_unspecified(), settings.host_name.is_empty()) {
        (true, false) => settings.host_name.clone(),
        _ => ip.to_string(),
    };
    DatanodeDetailsProto {
        uuid: Some(uuid.to_string()),
        host_name: match settings.host_name.is_empty() {
            true => reachable.clone(),
            false => settings.host_name.clone(),
        },
        ip_address: reachable,
        ports: vec![
            port(CLIENT_PORT, addresses.client),
            port(PEER_PORT, addresses.peer),
            port(HTTP_PORT, addresses.http),
        ],
        network_location: Some("/default-rack".to_owned()),
        ..DatanodeDetailsProto::default()
    }
}
