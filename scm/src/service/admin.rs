//! `ScmAdminService`: what operators ask.

use std::sync::Arc;

use ozone_common::ids::ContainerId;
use ozone_proto::scm::scm_admin_service_server::ScmAdminService;
use ozone_proto::scm::{
    CloseContainerRequest, CloseContainerResponse, DatanodeUsage, ListContainersRequest,
    ListContainersResponse, StatusRequest, StatusResponse,
};
use ozone_security::identity::Role;
use tonic::{Request, Response, Status};

use super::status;
use crate::container::{Container, LifeCycleState, id_from_wire};
use crate::error::ScmError;
use crate::scm::Scm;
use crate::transport::require;

/// Most containers in one answer.
const PAGE: usize = 10_000;

/// The service.
#[derive(Clone)]
pub(crate) struct AdminService(pub(crate) Arc<Scm>);

#[tonic::async_trait]
impl ScmAdminService for AdminService {
    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        self.admit(&request)?;
        Ok(Response::new(self.summary()))
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        self.admit(&request)?;
        let request = request.into_inner();
        let start = ContainerId(u64::try_from(request.start).unwrap_or(0));
        let count = usize::try_from(request.count).map_or(PAGE, |count| count.min(PAGE));
        let containers: Vec<Arc<Container>> = {
            let model = self.0.store.model();
            model.containers_from(start).take(count).cloned().collect()
        };
        let containers = containers.iter().map(|container| {
            let mut info = container.to_proto();
            info.used_bytes = info
                .used_bytes
                .max(self.0.replicas.used_bytes(container.id));
            info
        });
        Ok(Response::new(ListContainersResponse {
            containers: containers.collect(),
        }))
    }

    async fn close_container(
        &self,
        request: Request<CloseContainerRequest>,
    ) -> Result<Response<CloseContainerResponse>, Status> {
        self.admit(&request)?;
        let closed = self.close(request.into_inner().container_id).await;
        closed.map_err(|error| status(&self.0, &error))?;
        Ok(Response::new(CloseContainerResponse {}))
    }
}

impl AdminService {
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        const ROLES: &[Role] = &[Role::Client, Role::Om, Role::Scm];
        require(request, &self.0.identity, ROLES).map(|_| ())
    }

    async fn close(&self, id: i64) -> Result<(), ScmError> {
        self.0.log.require_leader()?;
        let unknown = || ScmError::NotFound(format!("container {id} does not exist"));
        let id = id_from_wire(id).ok_or_else(unknown)?;
        if self.0.store.model().container(id).is_none() {
            return Err(unknown());
        }
        self.0.attention.ask_to_close(id);
        self.0.look_and_wait().await;
        Ok(())
    }

    fn summary(&self) -> StatusResponse {
        let scm = &self.0;
        let (mut open, mut closed) = (0, 0);
        let (pipelines, pending): (Vec<_>, _) = {
            let model = scm.store.model();
            for container in model.containers_from(ContainerId(0)) {
                match container.state {
                    LifeCycleState::Open => open += 1,
                    LifeCycleState::Closed | LifeCycleState::QuasiClosed => closed += 1,
                    _ => {}
                }
            }
            (model.pipelines().cloned().collect(), model.deleted().blocks)
        };
        let datanodes = scm
            .nodes
            .status()
            .into_iter()
            .map(|(id, node)| DatanodeUsage {
                datanode: Some(node.details.as_ref().clone()),
                health: node.health.to_string(),
                storage: node.storage,
                container_count: u32::try_from(scm.replicas.count_of(id)).unwrap_or(u32::MAX),
            });
        StatusResponse {
            leader: scm.log.serving_term().is_some(),
            safe_mode: scm.safemode.is_on(),
            safe_mode_reason: scm.safemode.reason(),
            cluster_id: scm.identity.cluster_id.clone(),
            datanodes: datanodes.collect(),
            pipelines: pipelines.iter().map(|p| scm.pipeline_to_wire(p)).collect(),
            pending_deleted_blocks: pending,
            open_containers: open,
            closed_containers: closed,
        }
    }
}
