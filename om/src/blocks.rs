//! The OM's side of the block space: blocks to write, where blocks are, blocks to delete, all of it
//! asked from SCM; and the tokens without which no datanode answers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::Clock;
use ozone_common::request::current_id;
use ozone_common::rng::Rng;
use ozone_proto::hdds::block::scm_block_location_protocol_service_client::ScmBlockLocationProtocolServiceClient;
use ozone_proto::hdds::block::scm_block_location_request::Body;
use ozone_proto::hdds::block::scm_block_location_response::Body as Reply;
use ozone_proto::hdds::block::{
    AllocateScmBlockRequestProto, DeleteScmKeyBlocksRequestProto, GetContainerLocationsRequest,
    GetContainerLocationsResponse, GetScmInfoRequestProto, GetScmInfoResponseProto, KeyBlocks,
    ScmBlockLocationRequest, ScmBlockLocationResponse, Status, Type, UserInfo,
};
use ozone_proto::hdds::{BlockId, ContainerBlockId, ExcludeListProto, Pipeline};
use ozone_proto::namespace::{BlockLocation, Extent, Replication, StatFsResponse, extent::Source};
use ozone_proto::om::KeyLocation;
use ozone_rpc::channel::{ChannelError, Channels};
use ozone_rpc::failover::{Classify, Failover, FailoverError, FailoverPolicy, Verdict};
use ozone_rpc::trust::describe;
use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::error::{OmError, Result};
use crate::tokens::Tokens;

/// How long a container's location is believed without asking again.
const LOCATION_TTL: Duration = Duration::from_secs(30);
/// How long the sums behind statfs are believed.
const SPACE_TTL: Duration = Duration::from_secs(1);
/// Version of the protocol, as Ozone's clients send it.
const VERSION: u32 = 3;

/// What can go wrong on the way to SCM.
#[derive(Debug, thiserror::Error)]
enum ScmError {
    #[error(transparent)]
    Address(#[from] ChannelError),
    #[error("{}", describe(.0))]
    Transport(#[from] tonic::Status),
    #[error("{}: {message}", .status.as_str_name())]
    Refused {
        status: Status,
        message: String,
        leader: Option<String>,
    },
}

impl Classify for ScmError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Address(_) => Verdict::Fatal,
            Self::Transport(status) => status.verdict(),
            Self::Refused {
                status: Status::ScmNotLeader,
                leader,
                ..
            } => Verdict::NotLeader(leader.clone()),
            Self::Refused { .. } => Verdict::Fatal,
        }
    }
}

/// The block space, as the OM sees it.
pub struct Blocks {
    channels: Arc<Channels>,
    failover: Failover,
    clock: Arc<dyn Clock>,
    owner: String,
    tokens: Arc<Tokens>,
    cluster: Option<Arc<Cluster>>,
    locations: Mutex<HashMap<u64, (Duration, Pipeline)>>,
    space: Mutex<Option<(Duration, StatFsResponse)>>,
}

/// What [`Blocks`] is made of.
pub struct BlocksOptions {
    /// Connections.
    pub channels: Arc<Channels>,
    /// `host:port` of SCM's block service.
    pub scm: Vec<String>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// The name under which blocks are allocated.
    pub owner: String,
    /// Makes tokens.
    pub tokens: Arc<Tokens>,
    /// The cluster that SCM has to be of; none for an OM that has none yet, and only asks for it.
    pub cluster: Option<Arc<Cluster>>,
}

impl Blocks {
    /// Talks to SCM when first needed.
    pub fn new(options: BlocksOptions) -> Self {
        let policy = FailoverPolicy {
            deadline: Duration::from_secs(30),
            ..FailoverPolicy::default()
        };
        let BlocksOptions {
            channels,
            scm,
            clock,
            rng,
            owner,
            tokens,
            cluster,
        } = options;
        let failover = Failover::new(scm, clock.clone(), rng, policy);
        Self {
            channels,
            failover,
            clock,
            owner,
            tokens,
            cluster,
            locations: Mutex::default(),
            space: Mutex::default(),
        }
    }

    /// Sends a request to an SCM that has proved to be of the own cluster.
    async fn send(&self, kind: Type, body: Body) -> Result<Reply> {
        self.check_cluster().await?;
        self.send_unchecked(kind, body).await
    }

    /// Whether SCM is of the own cluster: asked until it has answered once.
    pub async fn check_cluster(&self) -> Result<()> {
        let Some(cluster) = &self.cluster else {
            return Ok(());
        };
        match cluster.known() {
            Some(known) => known,
            None => cluster.judge(&self.scm_info().await?),
        }
    }

    async fn send_unchecked(&self, kind: Type, body: Body) -> Result<Reply> {
        let attempt = |address: String| self.send_to(address, kind, body.clone());
        self.failover
            .call(attempt)
            .await
            .map_err(|error| match error {
                FailoverError::Refused(ScmError::Refused {
                    status: Status::SafeModeException,
                    message,
                    ..
                }) => OmError::refused(ozone_proto::om::Status::ScmInSafeMode, message),
                other => OmError::Scm(other.to_string()),
            })
    }

    async fn send_to(&self, address: String, kind: Type, body: Body) -> Result<Reply, ScmError> {
        let channel = self.channels.get(&address)?;
        let mut client = ScmBlockLocationProtocolServiceClient::new(channel)
            .max_decoding_message_size(ozone_rpc::MAX_MESSAGE);
        let request = ScmBlockLocationRequest {
            cmd_type: kind.into(),
            trace_id: current_id(),
            user_info: Some(UserInfo {
                user_name: Some(self.owner.clone()),
                remote_address: None,
            }),
            version: Some(VERSION),
            body: Some(body),
        };
        let response: ScmBlockLocationResponse = client.send(request).await?.into_inner();
        let status = response.status();
        match (status, response.body) {
            (Status::Ok, Some(reply)) => Ok(reply),
            _ => Err(ScmError::Refused {
                status,
                message: response.message.unwrap_or_default(),
                leader: response.leader_scm_node_id,
            }),
        }
    }

    /// Which cluster SCM is of.
    pub async fn scm_info(&self) -> Result<GetScmInfoResponseProto> {
        let body = Body::GetScmInfoRequest(GetScmInfoRequestProto::default());
        match self.send_unchecked(Type::GetScmInfo, body).await? {
            Reply::GetScmInfoResponse(info) => Ok(info),
            _ => Err(unexpected()),
        }
    }

    /// Blocks to write, with tokens to do so: room for `size` bytes of each, which may become `longest`.
    pub async fn allocate(
        &self,
        count: u32,
        (size, longest): (u64, u64),
        replication: Replication,
        exclude: Option<ExcludeListProto>,
    ) -> Result<Vec<BlockLocation>> {
        let request = AllocateScmBlockRequestProto {
            size,
            num_blocks: count,
            r#type: replication.r#type,
            factor: Some(replication.factor),
            owner: self.owner.clone(),
            exclude_list: exclude,
            ec_replication_config: None,
            client: None,
        };
        let reply = self
            .send(
                Type::AllocateScmBlock,
                Body::AllocateScmBlockRequest(request),
            )
            .await?;
        let Reply::AllocateScmBlockResponse(found) = reply else {
            return Err(unexpected());
        };
        let mut blocks = Vec::with_capacity(found.blocks.len());
        for block in found.blocks {
            let (Some(id), Some(pipeline)) = (block.container_block_id, block.pipeline) else {
                continue;
            };
            let (container, local) = (id.container_id as u64, id.local_id as u64);
            self.remember(container, pipeline.clone());
            let token = self.tokens.write(container, local, longest.max(size))?;
            blocks.push(BlockLocation {
                container,
                local,
                pipeline: Some(pipeline),
                token,
            });
        }
        if blocks.is_empty() {
            return Err(OmError::Scm("no block could be allocated".into()));
        }
        Ok(blocks)
    }

    fn remember(&self, container: u64, pipeline: Pipeline) {
        self.locations
            .lock()
            .insert(container, (self.clock.monotonic(), pipeline));
    }

    /// Where the blocks of `extents` are, with tokens to read them. `fresh`: what was found before is
    /// not believed.
    pub async fn locate(&self, extents: &[Extent], fresh: bool) -> Result<Vec<BlockLocation>> {
        let blocks: BTreeSet<(u64, u64)> = extents
            .iter()
            .filter_map(|e| match &e.source {
                Some(Source::Block(b)) => Some((b.container, b.local)),
                _ => None,
            })
            .collect();
        let containers: BTreeSet<u64> = blocks.iter().map(|b| b.0).collect();
        if fresh {
            let mut cache = self.locations.lock();
            containers.iter().for_each(|id| drop(cache.remove(id)));
        }
        let pipelines = self.pipelines(containers).await?;
        blocks
            .into_iter()
            .map(|(container, local)| {
                let token = self.tokens.read(container, local)?;
                Ok(BlockLocation {
                    container,
                    local,
                    pipeline: pipelines.get(&container).cloned(),
                    token,
                })
            })
            .collect()
    }

    /// Puts pipelines and tokens into the locations of a key.
    pub async fn complete(&self, keys: &mut [KeyLocation]) -> Result<()> {
        let container = |k: &KeyLocation| k.block_id.container_block_id.container_id as u64;
        let pipelines = self.pipelines(keys.iter().map(container).collect()).await?;
        for key in keys {
            key.pipeline = pipelines.get(&container(key)).cloned();
        }
        Ok(())
    }

    async fn pipelines(&self, containers: BTreeSet<u64>) -> Result<HashMap<u64, Pipeline>> {
        let now = self.clock.monotonic();
        let mut known = HashMap::new();
        let mut unknown = Vec::new();
        {
            let cache = self.locations.lock();
            for container in containers {
                match cache.get(&container) {
                    Some((at, pipeline)) if now.saturating_sub(*at) < LOCATION_TTL => {
                        known.insert(container, pipeline.clone());
                    }
                    _ => unknown.push(container as i64),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(known);
        }
        for location in self.locations_of(unknown).await?.locations {
            let Some(pipeline) = location.pipeline else {
                continue;
            };
            self.remember(location.container_id as u64, pipeline.clone());
            known.insert(location.container_id as u64, pipeline);
        }
        Ok(known)
    }

    async fn locations_of(
        &self,
        container_i_ds: Vec<i64>,
    ) -> Result<GetContainerLocationsResponse> {
        let request = GetContainerLocationsRequest { container_i_ds };
        match self
            .send(
                Type::GetContainerLocations,
                Body::GetContainerLocationsRequest(request),
            )
            .await?
        {
            Reply::GetContainerLocationsResponse(found) => Ok(found),
            _ => Err(unexpected()),
        }
    }

    /// Space on the disks of the cluster.
    pub async fn stat_fs(&self) -> Result<StatFsResponse> {
        let now = self.clock.monotonic();
        if let Some((at, space)) = self.space.lock().as_ref()
            && now.saturating_sub(*at) < SPACE_TTL
        {
            return Ok(*space);
        }
        let found = self.locations_of(Vec::new()).await?;
        let space = StatFsResponse {
            capacity: found.capacity(),
            used: found.used(),
            available: found.remaining(),
            files: 0,
        };
        *self.space.lock() = Some((now, space));
        Ok(space)
    }

    /// Hands blocks over to be deleted.
    pub async fn delete(&self, blocks: &[[u64; 2]]) -> Result<()> {
        let ids = blocks
            .iter()
            .map(|[container, local]| BlockId {
                container_block_id: ContainerBlockId {
                    container_id: *container as i64,
                    local_id: *local as i64,
                },
                block_commit_sequence_id: None,
            })
            .collect();
        let key = KeyBlocks {
            key: self.owner.clone(),
            blocks: ids,
            ..Default::default()
        };
        let request = DeleteScmKeyBlocksRequestProto {
            key_blocks: vec![key],
        };
        self.send(
            Type::DeleteScmKeyBlocks,
            Body::DeleteScmKeyBlocksRequest(request),
        )
        .await?;
        Ok(())
    }
}

fn unexpected() -> OmError {
    OmError::Scm("the answer is not of the kind that was asked for".into())
}
