//! `OzoneManagerService/submitRequest`: every request of a client comes in here.

use std::sync::Arc;

use ozone_proto::om::ozone_manager_service_server::OzoneManagerService;
use ozone_proto::om::{OmRequest, OmResponse};
use ozone_security::guard::Guard;
use tonic::{Request, Response, Status};

use crate::reads;
use crate::runner::Runner;
use crate::security;
use crate::state_machine::response;

/// The service.
pub struct OmService {
    /// Answers.
    pub runner: Arc<Runner>,
    /// Whom.
    pub guard: Guard,
}

#[tonic::async_trait]
impl OzoneManagerService for OmService {
    async fn submit_request(
        &self,
        request: Request<OmRequest>,
    ) -> Result<Response<OmResponse>, Status> {
        let caller = self.guard.admit(&request)?;
        let request = request.into_inner();
        if let Err(error) = security::check_user(caller.as_ref(), &request) {
            return Ok(Response::new(response(&request, Err(error))));
        }
        // A look at a few rows may be cut short, and is not worth a task.
        if request.body.as_ref().is_some_and(reads::is_look) {
            return Ok(Response::new(Box::pin(self.runner.run(request)).await));
        }
        let runner = self.runner.clone();
        // In a task of its own: a client that goes away must not cut a change short half-way.
        let answer = tokio::spawn(async move { runner.run(request).await }).await;
        answer
            .map(Response::new)
            .map_err(|e| Status::internal(format!("the request ended badly: {e}")))
    }
}
