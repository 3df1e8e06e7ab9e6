//! `ScmBlockLocationProtocolService`: what OMs ask about blocks, in Ozone's messages.

use std::sync::Arc;
use std::time::Instant;

use ozone_common::ids::ContainerId;
use ozone_common::request::proceed;
use ozone_proto::hdds::block::scm_block_location_protocol_service_server::ScmBlockLocationProtocolService;
use ozone_proto::hdds::block::{
    AllocateBlockResponse, AllocateScmBlockRequestProto, AllocateScmBlockResponseProto,
    ContainerLocation, DeleteKeyBlocksResultProto, DeleteScmBlockResult,
    DeleteScmKeyBlocksRequestProto, DeleteScmKeyBlocksResponseProto, GetContainerLocationsRequest,
    GetContainerLocationsResponse, GetScmInfoResponseProto, ScmBlockLocationRequest,
    ScmBlockLocationResponse, Status, delete_scm_block_result,
    scm_block_location_request::Body as Request, scm_block_location_response::Body as Response,
};
use ozone_proto::hdds::{self, LifeCycleState, PipelineState, ReplicationType};
use ozone_security::identity::Role;
use tonic::{Request as Call, Response as Answer};

use crate::block::allocate::{AllocatedBlock, BlockRequest};
use crate::block::choose::Excluded;
use crate::container::{Container, id_from_wire, id_to_wire};
use crate::error::ScmError;
use crate::pipeline::{Replication, wire};
use crate::scm::Scm;
use crate::transport::require;

/// The service.
#[derive(Clone)]
pub(crate) struct BlockService(pub(crate) Arc<Scm>);

#[tonic::async_trait]
impl ScmBlockLocationProtocolService for BlockService {
    async fn send(
        &self,
        call: Call<ScmBlockLocationRequest>,
    ) -> Result<Answer<ScmBlockLocationResponse>, tonic::Status> {
        let roles: &[Role] = match call.get_ref().body {
            // An OM that is being initialised has no certificate yet.
            Some(Request::GetScmInfoRequest(_)) => &[Role::Om, Role::Scm, Role::Join],
            _ => &[Role::Om, Role::Scm],
        };
        require(&call, &self.0.identity, roles)?;
        let start = Instant::now();
        let request = call.into_inner();
        let mut response = ScmBlockLocationResponse {
            cmd_type: request.cmd_type,
            trace_id: request.trace_id.clone(),
            status: Status::Ok as i32,
            success: Some(true),
            ..ScmBlockLocationResponse::default()
        };
        let op = name(&request);
        let id = request.trace_id.clone();
        let user = request.user_info.clone().unwrap_or_default();
        let user = user.user_name.unwrap_or_default();
        let work = async {
            let outcome = self.dispatch(request).await;
            match &outcome {
                Ok(_) => tracing::debug!(user, "done"),
                Err(error) => tracing::debug!(user, %error, "refused"),
            }
            outcome
        };
        match proceed(op, id.as_deref(), work).await {
            Ok(body) => response.body = Some(body),
            Err(error) => {
                response.success = Some(false);
                response.status = error.status() as i32;
                response.message = Some(error.to_string());
                if matches!(error, ScmError::NotLeader { .. }) {
                    response.leader_scm_node_id = self.0.leader_hint();
                }
            }
        }
        let labels = [
            ("op", op),
            (
                "ok",
                if response.body.is_some() {
                    "true"
                } else {
                    "false"
                },
            ),
        ];
        metrics::histogram!("scm_request_seconds", &labels).record(start.elapsed());
        Ok(Answer::new(response))
    }
}

fn name(request: &ScmBlockLocationRequest) -> &'static str {
    match request.body {
        Some(Request::AllocateScmBlockRequest(_)) => "AllocateScmBlock",
        Some(Request::DeleteScmKeyBlocksRequest(_)) => "DeleteScmKeyBlocks",
        Some(Request::GetScmInfoRequest(_)) => "GetScmInfo",
        Some(Request::GetContainerLocationsRequest(_)) => "GetContainerLocations",
        None => "none",
    }
}

impl BlockService {
    async fn dispatch(&self, request: ScmBlockLocationRequest) -> Result<Response, ScmError> {
        match request.body {
            Some(Request::AllocateScmBlockRequest(body)) => self
                .allocate(body)
                .await
                .map(Response::AllocateScmBlockResponse),
            Some(Request::DeleteScmKeyBlocksRequest(body)) => self
                .delete(body)
                .await
                .map(Response::DeleteScmKeyBlocksResponse),
            Some(Request::GetScmInfoRequest(_)) => Ok(Response::GetScmInfoResponse(self.info())),
            Some(Request::GetContainerLocationsRequest(body)) => self
                .locations(&body)
                .await
                .map(Response::GetContainerLocationsResponse),
            None => Err(ScmError::BadRequest(format!(
                "no body for command {}",
                request.cmd_type
            ))),
        }
    }

    async fn allocate(
        &self,
        body: AllocateScmBlockRequestProto,
    ) -> Result<AllocateScmBlockResponseProto, ScmError> {
        let factor = body.factor.unwrap_or_default();
        let replication = Replication::from_proto(body.r#type, factor);
        let replication = replication.ok_or_else(|| ScmError::Unsupported {
            asked: format!("type {} factor {factor}", body.r#type),
        })?;
        let excluded = body.exclude_list.as_ref().map(Excluded::from_proto);
        let request = BlockRequest {
            size: body.size,
            count: u64::from(body.num_blocks),
            replication,
            owner: body.owner,
            excluded: excluded.unwrap_or_default(),
        };
        let blocks = self.0.allocate(&request).await?;
        let blocks = blocks.iter().map(|block| self.block_to_wire(block));
        Ok(AllocateScmBlockResponseProto {
            blocks: blocks.collect(),
        })
    }

    fn block_to_wire(&self, block: &AllocatedBlock) -> AllocateBlockResponse {
        AllocateBlockResponse {
            container_block_id: Some(hdds::ContainerBlockId {
                container_id: id_to_wire(block.id.container),
                local_id: block.id.local.get().cast_signed(),
            }),
            pipeline: Some(self.0.pipeline_to_wire(&block.pipeline)),
        }
    }

    async fn delete(
        &self,
        body: DeleteScmKeyBlocksRequestProto,
    ) -> Result<DeleteScmKeyBlocksResponseProto, ScmError> {
        let blocks = body.key_blocks.iter().flat_map(|key| &key.blocks);
        self.0.delete_blocks(blocks).await?;
        let success = delete_scm_block_result::Result::Success as i32;
        let results = body
            .key_blocks
            .into_iter()
            .map(|key| DeleteKeyBlocksResultProto {
                object_key: key.key,
                block_results: key
                    .blocks
                    .into_iter()
                    .map(|block_id| DeleteScmBlockResult {
                        result: success,
                        block_id,
                    })
                    .collect(),
            });
        Ok(DeleteScmKeyBlocksResponseProto {
            results: results.collect(),
        })
    }

    fn info(&self) -> GetScmInfoResponseProto {
        let scm = &self.0;
        let status = scm.log.group().status();
        let leader = status.leadership.leader.map(|peer| peer.id);
        let role = |peer: &ozone_raft::Peer| {
            let role = if leader == Some(peer.id) {
                "LEADER"
            } else {
                "FOLLOWER"
            };
            format!("{}:{role}:{}", peer.address, peer.id)
        };
        GetScmInfoResponseProto {
            cluster_id: scm.identity.cluster_id.clone(),
            scm_id: scm.identity.scm_id.to_string(),
            peer_roles: status.members.iter().map(role).collect(),
            c_time: Some(scm.identity.c_time_wire()),
            safe_mode: Some(scm.safemode.is_on()),
        }
    }

    async fn locations(
        &self,
        body: &GetContainerLocationsRequest,
    ) -> Result<GetContainerLocationsResponse, ScmError> {
        self.0.log.require_leader()?;
        let space = self.0.nodes.space();
        let locations = body.container_i_ds.iter().map(|id| ContainerLocation {
            container_id: *id,
            pipeline: id_from_wire(*id).and_then(|id| self.location(id)),
        });
        Ok(GetContainerLocationsResponse {
            locations: locations.collect(),
            capacity: Some(space.capacity),
            used: Some(space.used),
            remaining: Some(space.remaining),
        })
    }

    /// Where a container is: its pipeline while that takes blocks, else the datanodes that report a
    /// replica. None if it is unknown, or nobody reports one.
    fn location(&self, id: ContainerId) -> Option<hdds::Pipeline> {
        let (container, pipeline) = {
            let model = self.0.store.model();
            let container = model.container(id)?.clone();
            let pipeline = model.pipeline(container.pipeline).cloned();
            (container, pipeline)
        };
        let writable = container.state == LifeCycleState::Open;
        if let Some(pipeline) = pipeline.filter(|pipeline| writable && pipeline.is_open()) {
            return Some(self.0.pipeline_to_wire(&pipeline));
        }
        self.replica_pipeline(&container)
    }

    /// The datanodes that hold a container, the best replica first, as a pipeline to read from.
    fn replica_pipeline(&self, container: &Container) -> Option<hdds::Pipeline> {
        let mut replicas = self.0.replicas.of(container.id);
        let is_healthy = |id| self.0.nodes.view(id).is_some_and(|node| node.is_usable());
        replicas.sort_by_key(|replica| {
            let behind = replica.sequence_id < container.sequence_id;
            (!is_healthy(replica.node), behind, replica.node)
        });
        let members: Vec<_> = replicas
            .iter()
            .filter_map(|r| self.0.details(r.node))
            .collect();
        if members.is_empty() {
            return None;
        }
        Some(hdds::Pipeline {
            member_orders: (0..).take(members.len()).collect(),
            members,
            state: Some(PipelineState::PipelineClosed as i32),
            r#type: Some(ReplicationType::StandAlone as i32),
            factor: Some(container.replication.factor() as i32),
            id: wire::pipeline_id(container.pipeline),
            ..hdds::Pipeline::default()
        })
    }
}
