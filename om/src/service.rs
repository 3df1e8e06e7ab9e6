//! `OzoneManagerService/submitRequest`: every request of a client comes in here.

use std::sync::Arc;

use ozone_proto::om::ozone_manager_service_server::OzoneManagerService;
use ozone_proto::om::{OmRequest, OmResponse};
use tonic::{Request, Response, Status};

use crate::runner::Runner;

/// The service.
pub struct OmService(pub Arc<Runner>);

#[tonic::async_trait]
impl OzoneManagerService for OmService {
    async fn submit_request(
        &self,
        request: Request<OmRequest>,
    ) -> Result<Response<OmResponse>, Status> {
        let runner = self.0.clone();
        // In a task of its own: a client that goes away must not cut a change short half-way.
        let answer = tokio::spawn(async move { runner.run(request.into_inner()).await }).await;
        answer
            .map(Response::new)
            .map_err(|e| Status::internal(format!("the request ended badly: {e}")))
    }
}
