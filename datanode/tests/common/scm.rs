//! An SCM that accepts every datanode, hands out commands and remembers what it was told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::{Clock, SystemClock};
use ozone_common::rng::OsRng;
use ozone_proto::hdds::{self, DatanodeDetailsProto, Pipeline, PipelineId};
use ozone_proto::scm::command::Body;
use ozone_proto::scm::scm_datanode_service_server::{ScmDatanodeService, ScmDatanodeServiceServer};
use ozone_proto::scm::{
    Command, CommandStatus, ContainerReplica, CreatePipeline, HeartbeatRequest, HeartbeatResponse,
    PipelineAction, PipelineReport, RegisterRequest, RegisterResponse, StorageReport,
};
use ozone_security::secret_keys::SecretKey;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub const CLUSTER: &str = "CID-5a3f36e8-506f-40eb-986e-bb79d188fd55";

#[derive(Default)]
struct State {
    datanodes: HashMap<String, DatanodeDetailsProto>,
    commands: HashMap<String, Vec<Command>>,
    statuses: HashMap<i64, CommandStatus>,
    replicas: HashMap<(String, i64), ContainerReplica>,
    pipelines: HashMap<(String, String), PipelineReport>,
    storage: HashMap<String, Vec<StorageReport>>,
    actions: HashMap<String, Vec<PipelineAction>>,
    next_command: i64,
}

/// The fake.
#[derive(Clone)]
pub struct FakeScm {
    address: SocketAddr,
    cluster: String,
    key: SecretKey,
    state: Arc<Mutex<State>>,
    heard: watch::Sender<u64>,
}

impl FakeScm {
    pub async fn start() -> Self {
        Self::of_cluster(CLUSTER).await
    }

    pub async fn of_cluster(cluster: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let now = SystemClock::new().wall_ms();
        let scm = Self {
            address: listener.local_addr().unwrap(),
            cluster: cluster.to_owned(),
            key: SecretKey::generate(&OsRng, now, Duration::from_secs(3600)),
            state: Arc::default(),
            heard: watch::Sender::new(0),
        };
        let service = ScmDatanodeServiceServer::new(scm.clone());
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        scm
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The key that signs tokens.
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    pub fn details(&self, uuid: Uuid) -> DatanodeDetailsProto {
        self.state.lock().datanodes[&uuid.to_string()].clone()
    }

    /// Gives a command to a datanode with its next heartbeat.
    pub fn command(&self, to: Uuid, body: Body) -> i64 {
        let mut state = self.state.lock();
        state.next_command += 1;
        let id = state.next_command;
        let command = Command {
            id,
            body: Some(body),
        };
        state
            .commands
            .entry(to.to_string())
            .or_default()
            .push(command);
        id
    }

    /// Gives a command and waits for its outcome.
    pub async fn execute(&self, to: Uuid, body: Body) -> CommandStatus {
        let id = self.command(to, body);
        self.wait("the command", |state| state.statuses.get(&id).cloned())
            .await
    }

    /// Makes a pipeline of these datanodes and waits until all see a leader; gives its id and the
    /// leader.
    pub async fn pipeline(&self, members: &[Uuid]) -> (String, Uuid) {
        let id = Uuid::new_v4().to_string();
        self.tell_pipeline(&id, members);
        let leader = self.leader(&id, members).await;
        (id, leader)
    }

    /// Tells all members of a pipeline where they are by now.
    pub fn tell_pipeline(&self, id: &str, members: &[Uuid]) {
        let pipeline = Pipeline {
            members: members.iter().map(|m| self.details(*m)).collect(),
            id: PipelineId {
                id: Some(id.to_owned()),
                uuid128: None,
            },
            r#type: Some(hdds::ReplicationType::Ratis.into()),
            ..Pipeline::default()
        };
        for member in members {
            let pipeline = Some(pipeline.clone());
            self.command(*member, Body::CreatePipeline(CreatePipeline { pipeline }));
        }
    }

    /// Waits until a datanode wants something of SCM about its pipelines.
    pub async fn action(&self, datanode: Uuid) -> PipelineAction {
        self.wait("an action", |state| {
            state.actions.get(&datanode.to_string())?.first().cloned()
        })
        .await
    }

    /// Waits until all of `members` agree on one of them as leader.
    pub async fn leader(&self, pipeline: &str, members: &[Uuid]) -> Uuid {
        let names: Vec<String> = members.iter().map(Uuid::to_string).collect();
        let leader = self
            .wait("a leader", |state| {
                let seen: Vec<&str> = names
                    .iter()
                    .map(|member| {
                        let key = (member.clone(), pipeline.to_owned());
                        state
                            .pipelines
                            .get(&key)
                            .map_or("", |report| &report.leader_uuid)
                    })
                    .collect();
                let first = seen[0];
                let agreed = names.iter().any(|n| n == first) && seen.iter().all(|s| *s == first);
                agreed.then(|| first.to_owned())
            })
            .await;
        Uuid::parse_str(&leader).unwrap()
    }

    /// Waits until what a datanode says of a container satisfies `check`.
    pub async fn replica(
        &self,
        datanode: Uuid,
        container: i64,
        check: impl Fn(&ContainerReplica) -> bool,
    ) -> ContainerReplica {
        let key = (datanode.to_string(), container);
        self.wait("the state of a replica", |state| {
            state
                .replicas
                .get(&key)
                .filter(|replica| check(replica))
                .cloned()
        })
        .await
    }

    /// What a datanode says of its disks.
    pub fn storage(&self, datanode: Uuid) -> Vec<StorageReport> {
        self.state.lock().storage[&datanode.to_string()].clone()
    }

    async fn wait<T>(&self, what: &str, check: impl Fn(&State) -> Option<T>) -> T {
        let mut heard = self.heard.subscribe();
        let waiting = async {
            loop {
                heard.borrow_and_update();
                let found = check(&self.state.lock());
                if let Some(found) = found {
                    return found;
                }
                heard.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(super::LIMIT, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("SCM never heard of {what}"),
        }
    }

    fn keys(&self) -> Vec<ozone_proto::scm::SecretKey> {
        vec![ozone_proto::scm::SecretKey {
            id: self.key.id.as_bytes().to_vec().into(),
            created_ms: self.key.created_ms as i64,
            expires_ms: self.key.expires_ms as i64,
            key: self.key.bytes.clone().into(),
        }]
    }
}

#[tonic::async_trait]
impl ScmDatanodeService for FakeScm {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let request = request.into_inner();
        let datanode = request.datanode.unwrap();
        if !request.cluster_id.is_empty() && request.cluster_id != self.cluster {
            let refusal = format!("{} is not of {}", request.cluster_id, self.cluster);
            return Ok(Response::new(RegisterResponse {
                refusal,
                ..Default::default()
            }));
        }
        let mut state = self.state.lock();
        let uuid = datanode.uuid().to_owned();
        // What it said before it was restarted is void.
        state.pipelines.retain(|(member, _), _| *member != uuid);
        state.datanodes.insert(uuid, datanode);
        drop(state);
        Ok(Response::new(RegisterResponse {
            accepted: true,
            cluster_id: self.cluster.clone(),
            c_time: 1_771_013_425_196,
            secret_keys: self.keys(),
            ..Default::default()
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let request = request.into_inner();
        let uuid = request.datanode_uuid;
        let commands = {
            let mut state = self.state.lock();
            for status in request.command_status {
                state.statuses.insert(status.id, status);
            }
            if request.full_report {
                state.replicas.retain(|(datanode, _), _| *datanode != uuid);
            }
            for replica in request.containers {
                state
                    .replicas
                    .insert((uuid.clone(), replica.container_id), replica);
            }
            for report in request.pipelines {
                state
                    .pipelines
                    .insert((uuid.clone(), report.pipeline_id.clone()), report);
            }
            state.storage.insert(uuid.clone(), request.storage);
            state.actions.insert(uuid.clone(), request.pipeline_actions);
            state.commands.remove(&uuid).unwrap_or_default()
        };
        self.heard.send_modify(|count| *count += 1);
        Ok(Response::new(HeartbeatResponse {
            term: 1,
            commands,
            next_heartbeat_ms: 50,
            ..Default::default()
        }))
    }
}
