//! A running SCM and datanodes that only pretend: they keep what they are told in memory.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ozone_common::clock::{Clock, SystemClock};
use ozone_common::config::Config;
use ozone_proto::hdds::block::scm_block_location_protocol_service_client::ScmBlockLocationProtocolServiceClient;
use ozone_proto::hdds::block::{
    AllocateBlockResponse, AllocateScmBlockRequestProto, DeleteScmKeyBlocksRequestProto, KeyBlocks,
    ScmBlockLocationRequest, ScmBlockLocationResponse, Status, Type,
    scm_block_location_request::Body as Ask, scm_block_location_response::Body as Told,
};
use ozone_proto::hdds::{
    BlockId, ContainerBlockId, DatanodeDetailsProto, ExcludeListProto, ReplicationFactor,
    ReplicationType,
};
use ozone_proto::scm::command::Body;
use ozone_proto::scm::scm_admin_service_client::ScmAdminServiceClient;
use ozone_proto::scm::scm_datanode_service_client::ScmDatanodeServiceClient;
use ozone_proto::scm::{
    Command, CommandStatus, ContainerReplica, HeartbeatRequest, HeartbeatResponse, PipelineAction,
    PipelineReport, RegisterRequest, RegisterResponse, ReplicaState, SecretKey, StatusRequest,
    StatusResponse, StorageReport,
};
use ozone_scm::{LAYOUT_VERSION, ScmOptions, ScmServer};
use tonic::transport::Channel;
use uuid::Uuid;

/// Bytes of a block that tests ask for.
pub(crate) const BLOCK: u64 = 1 << 20;
/// Bytes of a container.
pub(crate) const CONTAINER: u64 = 100 << 20;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn config(dir: &Path) -> Config {
    let any = "127.0.0.1:0";
    Config::from_pairs([
        ("ozone.metadata.dirs", dir.to_str().unwrap()),
        ("ozone.scm.client.address", any),
        ("ozone.scm.block.client.address", any),
        ("ozone.scm.datanode.address", any),
        ("ozone.scm.security.service.address", any),
        ("ozone.scm.http-address", any),
        ("ozone.scm.ratis.port", "0"),
        ("hdds.heartbeat.interval", "5s"),
        ("ozone.scm.container.size", "100MB"),
        ("ozone.scm.datanode.pipeline.limit", "1"),
    ])
    .unwrap()
}

/// Formats if needed and starts.
pub(crate) async fn start(config: &Config) -> ScmServer {
    start_with(config, Arc::new(SystemClock::new())).await
}

/// The same, with this clock.
pub(crate) async fn start_with(config: &Config, clock: Arc<dyn Clock>) -> ScmServer {
    let formatting = config.clone();
    let format = move || ozone_scm::init(&formatting, None).unwrap();
    tokio::task::spawn_blocking(format).await.unwrap();
    let options = ScmOptions {
        clock,
        ..ScmOptions::new(config.clone())
    };
    let server = ScmServer::start(options).await.unwrap();
    server.wait_ready().await.unwrap();
    server
}

/// Repeats `attempt` until it gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let found = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("no {what} in time"))
}

async fn channel(address: std::net::SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

/// What an OM does.
#[derive(Clone)]
pub(crate) struct Om {
    block: ScmBlockLocationProtocolServiceClient<Channel>,
    admin: ScmAdminServiceClient<Channel>,
}

impl Om {
    pub(crate) async fn connect(server: &ScmServer) -> Self {
        let addresses = server.addresses();
        Self {
            block: ScmBlockLocationProtocolServiceClient::new(channel(addresses.block).await),
            admin: ScmAdminServiceClient::new(channel(addresses.client).await),
        }
    }

    pub(crate) async fn ask(&self, cmd_type: Type, body: Ask) -> ScmBlockLocationResponse {
        let request = ScmBlockLocationRequest {
            cmd_type: cmd_type as i32,
            body: Some(body),
            ..ScmBlockLocationRequest::default()
        };
        self.block.clone().send(request).await.unwrap().into_inner()
    }

    pub(crate) async fn allocate(
        &self,
        factor: ReplicationFactor,
        count: u32,
        exclude: Option<ExcludeListProto>,
    ) -> Result<Vec<AllocateBlockResponse>, (Status, String)> {
        let body = AllocateScmBlockRequestProto {
            size: BLOCK,
            num_blocks: count,
            r#type: ReplicationType::Ratis as i32,
            factor: Some(factor as i32),
            owner: "om".to_owned(),
            exclude_list: exclude,
            ..AllocateScmBlockRequestProto::default()
        };
        let answer = self
            .ask(Type::AllocateScmBlock, Ask::AllocateScmBlockRequest(body))
            .await;
        match answer.body {
            Some(Told::AllocateScmBlockResponse(told)) => Ok(told.blocks),
            _ => Err((answer.status(), answer.message.clone().unwrap_or_default())),
        }
    }

    /// Where an SCM that does not lead sends those who ask for a block.
    pub(crate) async fn hint(&self) -> Option<String> {
        let body = AllocateScmBlockRequestProto {
            size: BLOCK,
            num_blocks: 1,
            r#type: ReplicationType::Ratis as i32,
            factor: Some(ReplicationFactor::One as i32),
            owner: "om".to_owned(),
            ..AllocateScmBlockRequestProto::default()
        };
        let answer = self
            .ask(Type::AllocateScmBlock, Ask::AllocateScmBlockRequest(body))
            .await;
        answer.leader_scm_node_id
    }

    pub(crate) async fn delete(&self, blocks: &[ContainerBlockId]) {
        let blocks = blocks.iter().map(|id| BlockId {
            container_block_id: *id,
            block_commit_sequence_id: None,
        });
        let key = KeyBlocks {
            key: "k".to_owned(),
            blocks: blocks.collect(),
            ..KeyBlocks::default()
        };
        let body = DeleteScmKeyBlocksRequestProto {
            key_blocks: vec![key],
        };
        let answer = self
            .ask(
                Type::DeleteScmKeyBlocks,
                Ask::DeleteScmKeyBlocksRequest(body),
            )
            .await;
        assert_eq!(answer.status(), Status::Ok, "{answer:?}");
    }

    pub(crate) async fn status(&self) -> StatusResponse {
        self.admin
            .clone()
            .status(StatusRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) fn admin(&self) -> ScmAdminServiceClient<Channel> {
        self.admin.clone()
    }
}

/// The id of an allocated block.
pub(crate) fn id(block: &AllocateBlockResponse) -> ContainerBlockId {
    block.container_block_id.unwrap()
}

/// A datanode without disks.
pub(crate) struct FakeDatanode {
    pub(crate) uuid: Uuid,
    pub(crate) containers: BTreeMap<i64, ContainerReplica>,
    pub(crate) pipelines: BTreeMap<String, PipelineReport>,
    pub(crate) deleted: BTreeSet<(i64, i64)>,
    pub(crate) keys: Vec<SecretKey>,
    /// Commands not acknowledged because the datanode is to be slow.
    pub(crate) withhold: bool,
    /// Its pipelines have no majority any more: nothing closes through them.
    pub(crate) cut_off: bool,
    /// Every command that was received.
    pub(crate) told: Vec<Body>,
    cluster: (String, i64),
    keys_version: u64,
    answers: Vec<CommandStatus>,
    actions: Vec<PipelineAction>,
    client: ScmDatanodeServiceClient<Channel>,
}

impl FakeDatanode {
    pub(crate) async fn new(server: &ScmServer, n: u128) -> Self {
        Self::over(channel(server.addresses().datanode).await, n)
    }

    pub(crate) fn over(channel: Channel, n: u128) -> Self {
        Self {
            uuid: Uuid::from_u128(n),
            containers: BTreeMap::new(),
            pipelines: BTreeMap::new(),
            deleted: BTreeSet::new(),
            keys: Vec::new(),
            withhold: false,
            cut_off: false,
            told: Vec::new(),
            cluster: (String::new(), 0),
            keys_version: 0,
            answers: Vec::new(),
            actions: Vec::new(),
            client: ScmDatanodeServiceClient::new(channel),
        }
    }

    /// The same datanode, at an SCM that was started again.
    pub(crate) async fn reconnect(&mut self, server: &ScmServer) {
        self.client = ScmDatanodeServiceClient::new(channel(server.addresses().datanode).await);
        self.answers.clear();
        self.register().await;
    }

    pub(crate) fn registration(&self) -> RegisterRequest {
        RegisterRequest {
            datanode: Some(DatanodeDetailsProto {
                uuid: Some(self.uuid.to_string()),
                ip_address: "127.0.0.1".to_owned(),
                host_name: "localhost".to_owned(),
                ..DatanodeDetailsProto::default()
            }),
            cluster_id: self.cluster.0.clone(),
            c_time: self.cluster.1,
            layout_version: LAYOUT_VERSION,
            max_layout_version: LAYOUT_VERSION,
            storage: vec![StorageReport {
                storage_uuid: self.uuid.to_string(),
                capacity: 10 << 30,
                remaining: 10 << 30,
                ..StorageReport::default()
            }],
            containers: self.containers.values().cloned().collect(),
            pipelines: self.pipelines.values().cloned().collect(),
        }
    }

    pub(crate) async fn send(&self, request: RegisterRequest) -> RegisterResponse {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        request: RegisterRequest,
    ) -> Result<RegisterResponse, tonic::Status> {
        self.client
            .clone()
            .register(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn register(&mut self) -> RegisterResponse {
        let answer = self.send(self.registration()).await;
        assert!(answer.accepted, "{}", answer.refusal);
        self.cluster = (answer.cluster_id.clone(), answer.c_time);
        self.keys = answer.secret_keys.clone();
        answer
    }

    /// One heartbeat; does what the answer says.
    pub(crate) async fn beat(&mut self) -> HeartbeatResponse {
        let request = HeartbeatRequest {
            datanode_uuid: self.uuid.to_string(),
            cluster_id: self.cluster.0.clone(),
            storage: Vec::new(),
            full_report: true,
            containers: self.containers.values().cloned().collect(),
            pipelines: self.pipelines.values().cloned().collect(),
            command_status: std::mem::take(&mut self.answers),
            pipeline_actions: std::mem::take(&mut self.actions),
            close_containers: Vec::new(),
            known_secret_keys_version: self.keys_version,
        };
        let answer = self.client.heartbeat(request).await.unwrap().into_inner();
        assert!(!answer.reregister, "SCM has forgotten {}", self.uuid);
        if answer.secret_keys_version != self.keys_version {
            self.keys_version = answer.secret_keys_version;
            self.keys = answer.secret_keys.clone();
        }
        for command in answer.commands.clone() {
            self.obey(command);
        }
        answer
    }

    pub(crate) fn complain(&mut self, pipeline: &str) {
        self.actions.push(PipelineAction {
            pipeline_id: pipeline.to_owned(),
            reason: "log disk failed".to_owned(),
            can_wait: false,
        });
    }

    /// Pretends that a client wrote blocks to a container.
    pub(crate) fn write(&mut self, container: i64, blocks: u64, used_bytes: u64) {
        self.containers.insert(
            container,
            ContainerReplica {
                container_id: container,
                state: ReplicaState::ReplicaOpen as i32,
                used_bytes,
                block_count: blocks,
                bcsid: blocks,
                ..ContainerReplica::default()
            },
        );
    }

    fn obey(&mut self, command: Command) {
        let body = command.body.unwrap();
        self.told.push(body.clone());
        if self.withhold {
            return;
        }
        let mut done = CommandStatus {
            id: command.id,
            success: true,
            ..CommandStatus::default()
        };
        match body {
            Body::CreatePipeline(create) => {
                let pipeline = create.pipeline.unwrap();
                let leader = pipeline.members[0].uuid.clone().unwrap();
                let places = pipeline.places();
                let id = pipeline.id.id.unwrap();
                let report = PipelineReport {
                    pipeline_id: id.clone(),
                    is_leader: leader == self.uuid.to_string(),
                    has_leader: true,
                    leader_uuid: leader,
                    places,
                };
                self.pipelines.insert(id, report);
            }
            Body::ClosePipeline(close) => {
                self.pipelines.remove(&close.pipeline_id);
            }
            Body::CloseContainer(close) => {
                let led = self.pipelines.contains_key(&close.pipeline_id) && !self.cut_off;
                let replica = self.containers.get_mut(&close.container_id).unwrap();
                replica.state = match close.force || led {
                    true => ReplicaState::ReplicaClosed as i32,
                    false => ReplicaState::ReplicaQuasiClosed as i32,
                };
            }
            Body::DeleteBlocks(delete) => {
                for tx in delete.transactions {
                    let blocks = tx.local_ids.iter().map(|local| (tx.container_id, *local));
                    self.deleted.extend(blocks);
                    done.deleted_transactions.push(tx.tx_id);
                }
            }
            Body::DeleteContainer(delete) => {
                self.containers.remove(&delete.container_id);
            }
            // Who plays the cluster carries it out: this one knows no other.
            Body::ReplicateContainer(_) => {}
        }
        self.answers.push(done);
    }
}

/// Heartbeats of all datanodes until `attempt` gives something.
pub(crate) async fn beat_until<T, F: Future<Output = Option<T>>>(
    what: &str,
    datanodes: &mut [FakeDatanode],
    mut attempt: impl FnMut() -> F,
) -> T {
    let found = async {
        loop {
            for datanode in datanodes.iter_mut() {
                datanode.beat().await;
            }
            if let Some(found) = attempt().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("no {what} in time"))
}

/// Copies a directory tree as a crash would leave it: nothing is flushed for it. Copying takes longer
/// than a moment, so it is done again until nothing was written meanwhile.
pub(crate) fn crash_image(from: &Path, to: &Path) {
    loop {
        let before = listing(from);
        if to.exists() {
            std::fs::remove_dir_all(to).unwrap();
        }
        std::fs::create_dir_all(to).unwrap();
        let copied = before.iter().all(|(name, (is_dir, ..))| match is_dir {
            true => std::fs::create_dir(to.join(name)).is_ok(),
            false => std::fs::copy(from.join(name), to.join(name)).is_ok(),
        });
        if copied && listing(from) == before {
            return;
        }
    }
}

/// What is in a tree, but for RocksDB's own log: whether it is a directory, its length, and when it
/// was written to. Directories come before what is in them.
fn listing(root: &Path) -> BTreeMap<PathBuf, (bool, u64, Option<SystemTime>)> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        // Whatever goes meanwhile makes the listings differ.
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.metadata()) else {
                continue;
            };
            let name = path.strip_prefix(root).unwrap().to_owned();
            if kind.is_dir() {
                found.insert(name, (true, 0, None));
                dirs.push(path);
            } else if !entry.file_name().as_encoded_bytes().starts_with(b"LOG") {
                found.insert(name, (false, kind.len(), kind.modified().ok()));
            }
        }
    }
    found
}
