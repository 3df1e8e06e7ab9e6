//! `ScmDatanodeService`: registrations and heartbeats.

use std::sync::Arc;

use ozone_proto::scm::scm_datanode_service_server::ScmDatanodeService;
use ozone_proto::scm::{HeartbeatRequest, HeartbeatResponse, RegisterRequest, RegisterResponse};
use ozone_security::identity::Role;
use tonic::{Request, Response, Status};

use super::status;
use crate::scm::Scm;
use crate::transport::require;

/// The service.
#[derive(Clone)]
pub(crate) struct DatanodeService(pub(crate) Arc<Scm>);

#[tonic::async_trait]
impl ScmDatanodeService for DatanodeService {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let claimed = request
            .get_ref()
            .datanode
            .as_ref()
            .and_then(|d| d.uuid.clone());
        self.admit(&request, claimed.unwrap_or_default())?;
        let answer = self.0.register(request.into_inner()).await;
        answer
            .map(Response::new)
            .map_err(|error| status(&self.0, &error))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        self.admit(&request, request.get_ref().datanode_uuid.clone())?;
        metrics::counter!("scm_heartbeats_total").increment(1);
        let answer = self.0.heartbeat(request.into_inner()).await;
        answer
            .map(Response::new)
            .map_err(|error| status(&self.0, &error))
    }
}

impl DatanodeService {
    /// A datanode may speak for itself alone.
    fn admit<T>(&self, request: &Request<T>, claimed: String) -> Result<(), Status> {
        match require(request, &self.0.identity, &[Role::Datanode])? {
            Some(caller) if caller.id != claimed => Err(Status::permission_denied(format!(
                "{caller} reports as datanode {claimed}"
            ))),
            _ => Ok(()),
        }
    }
}
