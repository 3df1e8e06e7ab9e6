//! The door for clients, and for datanodes that pass chunks on: one stream of commands, many in
//! flight.
//!
//! Commands of one stream run at the same time, except that those which write one block keep the
//! order in which they came. Answers carry the call id of their request and may overtake one
//! another.

use std::sync::Arc;

use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::xceiver_client_protocol_service_server::XceiverClientProtocolService;
use ozone_proto::hdds::datanode::{ContainerCommandRequestProto, ContainerCommandResponseProto};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use crate::node::Node;
use crate::ops;
use crate::sequence::{Sequencer, Turn};

/// Commands of one stream that run at the same time; more wait in the network.
const IN_FLIGHT: usize = 32;
/// Answers that wait for a slow reader before work for it stops.
const ANSWERS: usize = 8;
/// Commands after which the order of finished blocks is forgotten.
const TIDY: u64 = 1024;

/// The service on a datanode.
#[derive(Clone)]
pub(crate) struct ClientService {
    node: Arc<Node>,
}

impl ClientService {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

#[tonic::async_trait]
impl XceiverClientProtocolService for ClientService {
    type sendStream = ReceiverStream<Result<ContainerCommandResponseProto, Status>>;

    async fn send(
        &self,
        request: tonic::Request<Streaming<ContainerCommandRequestProto>>,
    ) -> Result<Response<Self::sendStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS);
        tokio::spawn(serve(self.node.clone(), request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn serve(
    node: Arc<Node>,
    mut requests: Streaming<ContainerCommandRequestProto>,
    answers: ops::Answers,
) {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut sequencer = Sequencer::default();
    let mut count = 0u64;
    loop {
        let next = tokio::select! {
            () = node.gate.cancelled() => return,
            next = requests.message() => next,
        };
        let request = match next {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(%status, "command stream broke");
                return;
            }
        };
        let turn = enter(&mut sequencer, &request);
        count += 1;
        if count.is_multiple_of(TIDY) {
            sequencer.tidy();
        }
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let (node, answers) = (node.clone(), answers.clone());
        tokio::spawn(async move {
            ops::handle(node, request, turn, answers).await;
            drop(permit);
        });
    }
}

fn enter(sequencer: &mut Sequencer, request: &ContainerCommandRequestProto) -> Turn {
    let (local, barrier) = match &request.body {
        Some(Request::WriteChunk(write)) => (write.block_id.local_id, write.block.is_some()),
        Some(Request::PutBlock(put)) => (put.block_data.block_id.local_id, true),
        _ => return Turn::default(),
    };
    sequencer.enter(request.container_id, local, barrier)
}
