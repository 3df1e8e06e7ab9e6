//! One stream of commands to another datanode, shared by everything that is passed on to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ozone_proto::hdds::datanode::xceiver_client_protocol_service_client::XceiverClientProtocolServiceClient;
use ozone_proto::hdds::datanode::{ContainerCommandRequestProto, ContainerCommandResponseProto};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Commands that wait for the network.
const QUEUE: usize = 8;

type Waiting = HashMap<u64, oneshot::Sender<ContainerCommandResponseProto>>;

/// Answers that are still to come; none once the stream is over.
type Pending = Arc<Mutex<Option<Waiting>>>;

/// A stream to one datanode.
#[derive(Debug)]
pub(super) struct Link {
    requests: mpsc::Sender<ContainerCommandRequestProto>,
    pending: Pending,
    next: AtomicU64,
}

/// An answer that is still to come. An error when the stream breaks first.
pub(super) type Reply = oneshot::Receiver<ContainerCommandResponseProto>;

impl Link {
    /// Opens a stream; what is sent waits until it is connected.
    pub(super) fn open(channel: Channel) -> Arc<Self> {
        let (requests, outgoing) = mpsc::channel(QUEUE);
        let pending: Pending = Arc::new(Mutex::new(Some(Waiting::new())));
        tokio::spawn(run(channel, outgoing, pending.clone()));
        Arc::new(Self {
            requests,
            pending,
            next: AtomicU64::new(1),
        })
    }

    /// Whether the stream can still be used.
    pub(super) fn is_alive(&self) -> bool {
        self.pending.lock().is_some()
    }

    /// Hands over a request. Requests arrive in the order of these calls. None when the stream is
    /// broken.
    pub(super) async fn send(&self, mut request: ContainerCommandRequestProto) -> Option<Reply> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        request.call_id = Some(id);
        let (answer, reply) = oneshot::channel();
        self.pending.lock().as_mut()?.insert(id, answer);
        match self.requests.send(request).await {
            Ok(()) => Some(reply),
            Err(_) => None,
        }
    }
}

async fn run(
    channel: Channel,
    outgoing: mpsc::Receiver<ContainerCommandRequestProto>,
    pending: Pending,
) {
    let mut client = XceiverClientProtocolServiceClient::new(channel)
        .max_decoding_message_size(ozone_rpc::MAX_MESSAGE)
        .max_encoding_message_size(ozone_rpc::MAX_MESSAGE);
    match client.send(ReceiverStream::new(outgoing)).await {
        Ok(answers) => {
            let mut answers = answers.into_inner();
            while let Ok(Some(answer)) = answers.message().await {
                let id = answer.call_id.unwrap_or_default();
                let waiting = pending
                    .lock()
                    .as_mut()
                    .and_then(|waiting| waiting.remove(&id));
                if let Some(waiting) = waiting {
                    // Whoever waited may have given up.
                    let _ = waiting.send(answer);
                }
            }
        }
        Err(status) => tracing::debug!(%status, "cannot open a stream to a datanode"),
    }
    // Those who wait learn that no answer comes.
    pending.lock().take();
}
