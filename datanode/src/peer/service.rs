//! What a datanode answers to other datanodes: to whoever shows a token that one of them has signed.

use std::sync::Arc;

use bytes::Bytes;
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::datanode_peer_service_server::DatanodePeerService;
use ozone_proto::scm::{
    FetchBlockRequest, FetchBlockResponse, ImportContainerPart, ImportContainerResponse,
    SyncBlockRequest, SyncBlockResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::TOKEN;
use super::import::import_container;
use crate::chunk::{Chunk, MAX_CHUNK};
use crate::container::{Claim, Held};
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::node::{Node, on_container};
use crate::tokens::Access;

/// Bytes of one part of an answer.
const PART: u64 = 1 << 20;

/// The service on a datanode.
#[derive(Clone)]
pub(crate) struct PeerService {
    node: Arc<Node>,
}

impl PeerService {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Refuses a caller without the token of a datanode for this block.
    // A tonic service has this error.
    #[allow(clippy::result_large_err)]
    fn allow<T>(&self, request: &Request<T>, block: (i64, i64)) -> Result<(), Status> {
        let allowed =
            self.node
                .tokens
                .check_block(token_of(request), block.0, block.1, Access::Copy);
        allowed.map_err(|error| status(&error))
    }

    async fn hold(&self, request: &SyncBlockRequest) -> OpResult<Held> {
        let Some(container) = self.node.containers.find(request.container_id) else {
            return Ok(Held::No("the container is not here".to_owned()));
        };
        let chunks = request.chunks.iter().map(Chunk::from_stored);
        let claim = Claim {
            committed: request.committed,
            chunks: chunks.collect::<OpResult<_>>()?,
        };
        let (local, sync) = (request.local_id, request.sync);
        let lane = if sync { Lane::Sync } else { Lane::Read };
        on_container(&container, lane, move |c| c.hold(local, &claim, sync)).await
    }
}

fn token_of<T>(request: &Request<T>) -> Option<&str> {
    request.metadata().get(TOKEN)?.to_str().ok()
}

fn status(error: &OpError) -> Status {
    match error.code {
        Code::BlockTokenVerificationFailed => Status::permission_denied(error.to_string()),
        _ => Status::failed_precondition(error.to_string()),
    }
}

#[tonic::async_trait]
impl DatanodePeerService for PeerService {
    async fn sync_block(
        &self,
        request: Request<SyncBlockRequest>,
    ) -> Result<Response<SyncBlockResponse>, Status> {
        let asked = request.get_ref();
        self.allow(&request, (asked.container_id, asked.local_id))?;
        let held = self.hold(asked).await;
        let (holds, reason) = match held {
            Ok(Held::Yes) => (true, String::new()),
            Ok(Held::No(reason)) => (false, reason),
            Err(error) => (false, error.to_string()),
        };
        Ok(Response::new(SyncBlockResponse { holds, reason }))
    }

    type FetchBlockStream = ReceiverStream<Result<FetchBlockResponse, Status>>;

    async fn fetch_block(
        &self,
        request: Request<FetchBlockRequest>,
    ) -> Result<Response<Self::FetchBlockStream>, Status> {
        let asked = request.get_ref();
        self.allow(&request, (asked.container_id, asked.local_id))?;
        let request = request.into_inner();
        if request.length > MAX_CHUNK {
            return Err(Status::invalid_argument(format!(
                "at most {MAX_CHUNK} bytes at a time"
            )));
        }
        let container = self
            .node
            .containers
            .get(request.container_id)
            .map_err(|e| status(&e))?;
        let (parts, stream) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut offset = request.offset;
            let end = request.offset.saturating_add(request.length);
            while offset < end {
                let len = PART.min(end - offset);
                let read = on_container(&container, Lane::Read, move |c| {
                    c.raw_bytes(request.local_id, offset, len).map(Bytes::from)
                });
                let part = read.await.map(|data| FetchBlockResponse { data });
                let failed = part.is_err();
                if parts.send(part.map_err(|e| status(&e))).await.is_err() || failed {
                    return;
                }
                offset += len;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn import_container(
        &self,
        request: Request<Streaming<ImportContainerPart>>,
    ) -> Result<Response<ImportContainerResponse>, Status> {
        let token = token_of(&request).map(str::to_owned);
        let done = import_container(&self.node, token, request.into_inner()).await;
        done.map(Response::new).map_err(|error| status(&error))
    }
}
