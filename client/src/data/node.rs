//! Streams to datanodes: many requests in flight on each, answers matched by call id.
//!
//! A datanode has one connection and on it one stream for each kind of traffic, so that neither an
//! fsync nor a long read holds up chunks on their way. Starting a request never waits; memory is
//! bounded by the windows of those who start them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use ozone_common::request::current_id;
use ozone_proto::hdds::datanode::xceiver_client_protocol_service_client::XceiverClientProtocolServiceClient;
use ozone_proto::hdds::datanode::{
    ContainerCommandRequestProto as Request, ContainerCommandResponseProto as Response,
    Result as Code,
};
use ozone_rpc::MAX_MESSAGE;
use ozone_rpc::channel::{ChannelError, Channels};
use ozone_rpc::trust::describe;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;

use super::place::Member;
use crate::{ClientError, Result};

type Stub = XceiverClientProtocolServiceClient<Channel>;
type Answers = UnboundedSender<Result<Response, String>>;

/// What a stream carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    /// Chunks to store.
    Write = 0,
    /// Commands without data.
    Commit = 1,
    /// Data to fetch.
    Read = 2,
}

/// All datanodes that were ever talked to.
#[derive(Debug)]
pub(super) struct Datanodes {
    nodes: DashMap<Arc<str>, Arc<Node>>,
    last_call: AtomicU64,
    client_id: Bytes,
    channels: Arc<Channels>,
}

#[derive(Debug)]
struct Node {
    stub: Stub,
    streams: [Mutex<Option<Stream>>; 3],
}

/// The sending half of a stream. When it is dropped, the stream ends.
#[derive(Debug, Clone)]
struct Stream {
    requests: UnboundedSender<Request>,
    waiting: Arc<Waiting>,
}

/// Who waits for answers on a stream; none when it is broken.
#[derive(Debug)]
struct Waiting(Mutex<Option<HashMap<u64, Answers>>>);

/// A request that was sent, until it is dropped.
#[derive(Debug)]
pub(super) struct Pending {
    answers: UnboundedReceiver<Result<Response, String>>,
    waiting: Option<(Arc<Waiting>, u64)>,
    address: Arc<str>,
    deadline: Instant,
    patience: Duration,
}

impl Datanodes {
    pub(super) fn new(channels: Arc<Channels>) -> Self {
        Self {
            nodes: DashMap::new(),
            last_call: AtomicU64::new(0),
            client_id: Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes()),
            channels,
        }
    }

    /// Sends a request. Failures, those of the connection included, come out of the answer.
    pub(super) fn start(
        &self,
        to: &Member,
        lane: Lane,
        mut request: Request,
        patience: Duration,
    ) -> Pending {
        let call = self.last_call.fetch_add(1, Ordering::Relaxed) + 1;
        request.call_id = Some(call);
        request.trace_id = current_id();
        request.client_id = Some(self.client_id.clone());
        request.datanode_uuid.clone_from(&to.uuid);
        let (sender, answers) = unbounded_channel();
        let mut pending = Pending {
            answers,
            waiting: None,
            address: to.address.clone(),
            deadline: Instant::now() + patience,
            patience,
        };
        match self.node(&to.address) {
            Ok(node) => {
                let waiting = node.send(lane, call, request, sender);
                pending.waiting = Some((waiting, call));
            }
            Err(error) => drop(sender.send(Err(error.to_string()))),
        }
        pending
    }

    fn node(&self, address: &Arc<str>) -> Result<Arc<Node>> {
        if let Some(node) = self.nodes.get(address) {
            return Ok(node.clone());
        }
        let bad =
            |error: ChannelError| ClientError::unavailable(address.to_string(), error.to_string());
        let channel = self.channels.get(address).map_err(bad)?;
        let stub = Stub::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let fresh = Arc::new(Node {
            stub,
            streams: Default::default(),
        });
        Ok(self.nodes.entry(address.clone()).or_insert(fresh).clone())
    }
}

impl Node {
    fn send(&self, lane: Lane, call: u64, request: Request, answers: Answers) -> Arc<Waiting> {
        let mut slot = self.streams[lane as usize].lock();
        let stream = match slot.take().filter(|stream| stream.waiting.is_open()) {
            Some(stream) => stream,
            None => self.open(),
        };
        // Registered before it is sent, so that no answer finds nobody waiting. A stream that breaks
        // in between answers everyone who waits.
        stream.waiting.add(call, answers);
        if stream.requests.send(request).is_err() {
            stream
                .waiting
                .answer(call, Err("the stream is closed".into()));
        }
        let waiting = stream.waiting.clone();
        *slot = Some(stream);
        waiting
    }

    fn open(&self) -> Stream {
        let (requests, queue) = unbounded_channel();
        let waiting = Arc::new(Waiting(Mutex::new(Some(HashMap::new()))));
        tokio::spawn(run(self.stub.clone(), queue, waiting.clone()));
        Stream { requests, waiting }
    }
}

/// Carries a stream until it ends, then fails who still waits.
async fn run(mut stub: Stub, queue: UnboundedReceiver<Request>, waiting: Arc<Waiting>) {
    let reason = match stub.send(UnboundedReceiverStream::new(queue)).await {
        Err(status) => describe(&status),
        Ok(answers) => {
            let mut answers = answers.into_inner();
            loop {
                match answers.message().await {
                    Ok(Some(answer)) => waiting.answer(answer.call_id(), Ok(answer)),
                    Ok(None) => break "the stream was closed".to_owned(),
                    Err(status) => break status.to_string(),
                }
            }
        }
    };
    waiting.fail(&reason);
}

impl Waiting {
    fn is_open(&self) -> bool {
        self.0.lock().is_some()
    }

    fn add(&self, call: u64, answers: Answers) {
        match &mut *self.0.lock() {
            Some(waiting) => drop(waiting.insert(call, answers)),
            None => drop(answers.send(Err("the stream was closed".into()))),
        }
    }

    fn answer(&self, call: u64, answer: Result<Response, String>) {
        if let Some(answers) = self.0.lock().as_ref().and_then(|w| w.get(&call)) {
            // Nobody may be waiting any more.
            let _ = answers.send(answer);
        }
    }

    fn fail(&self, reason: &str) {
        for answers in self.0.lock().take().unwrap_or_default().into_values() {
            let _ = answers.send(Err(reason.to_owned()));
        }
    }
}

impl Pending {
    /// The next answer, whatever it says. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Response> {
        match tokio::time::timeout_at(self.deadline, self.answers.recv()).await {
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(reason))) => Err(self.broken(reason)),
            Ok(None) => Err(self.broken("the stream was closed".into())),
            Err(_) => Err(ClientError::Timeout {
                what: format!("datanode {}", self.address),
                after_ms: u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX),
                reason: "no answer".into(),
            }),
        }
    }

    /// The next answer, if it is one of success.
    pub(super) async fn next_good(&mut self) -> Result<Response> {
        let answer = self.next().await?;
        self.good(answer)
    }

    /// Tells success from refusal.
    pub(super) fn good(&self, answer: Response) -> Result<Response> {
        match answer.result() {
            Code::Success => Ok(answer),
            result => Err(ClientError::Datanode {
                result,
                message: answer.message.unwrap_or_default(),
                node: self.address.to_string(),
            }),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn broken(&self, reason: String) -> ClientError {
        ClientError::unavailable(format!("datanode {}", self.address), reason)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some((waiting, call)) = self.waiting.take() else {
            return;
        };
        if let Some(waiting) = waiting.0.lock().as_mut() {
            waiting.remove(&call);
        }
    }
}
