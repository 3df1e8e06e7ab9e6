//! The other datanodes: passing chunks on to them, asking what they have, fetching from them, and
//! the service that answers when they ask.

mod export;
mod forward;
mod import;
mod link;
mod service;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use ozone_common::clock::Clock;
use ozone_proto::hdds::DatanodeDetailsProto;
use ozone_proto::scm::datanode_peer_service_client::DatanodePeerServiceClient;
use ozone_rpc::channel::Channels;
use tonic::Request;
use tonic::transport::Channel;

pub(crate) use export::export_container;
pub(crate) use forward::Forward;
pub(crate) use service::PeerService;

pub(crate) use ozone_proto::place::{CLIENT_PORT, PEER_PORT};

use self::link::Link;
use crate::chunk::Chunk;
use crate::container::{Claim, Held};
use crate::error::{OpError, OpResult};
use crate::tokens::{Tokens, block_of};

/// How long another datanode has for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// For how long one that did not answer is left out.
const SUSPICION: Duration = Duration::from_secs(5);

/// Where a call to another datanode carries its token.
const TOKEN: &str = "ozone-block-token";

/// `host:port` of a datanode's port of that name.
pub(crate) fn address(member: &DatanodeDetailsProto, port: &str) -> OpResult<String> {
    member.address(port).ok_or_else(|| {
        OpError::malformed(format!("datanode {} names no port {port}", member.uuid()))
    })
}

/// Connections to other datanodes.
pub(crate) struct Peers {
    channels: Channels,
    links: DashMap<String, Arc<Link>>,
    /// Address → until when it is left out, in monotonic time.
    suspects: DashMap<String, Duration>,
    clock: Arc<dyn Clock>,
    tokens: Arc<Tokens>,
    /// This datanode, as its tokens name it.
    own: String,
}

impl Peers {
    pub(crate) fn new(
        channels: Channels,
        clock: Arc<dyn Clock>,
        tokens: Arc<Tokens>,
        own: String,
    ) -> Self {
        Self {
            tokens,
            own,
            channels,
            links: DashMap::new(),
            suspects: DashMap::new(),
            clock,
        }
    }

    /// A client of the peer service at `address`.
    pub(crate) fn client(&self, address: &str) -> OpResult<DatanodePeerServiceClient<Channel>> {
        let channel = self
            .channels
            .get(address)
            .map_err(|e| OpError::malformed(e.to_string()))?;
        Ok(DatanodePeerServiceClient::new(channel)
            .max_decoding_message_size(ozone_rpc::MAX_MESSAGE)
            .max_encoding_message_size(ozone_rpc::MAX_MESSAGE))
    }

    /// A call about a block (local id 0: a container) that shows the other datanode who asks.
    pub(crate) fn request<T>(&self, block: (i64, i64), message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = self.tokens.for_peer(&self.own, block_of(block.0, block.1));
        // Its text form is one that metadata can hold.
        if let Some(token) = token.and_then(|token| token.parse().ok()) {
            request.metadata_mut().insert(TOKEN, token);
        }
        request
    }

    /// Whether the datanode at `address` has the bytes of this claim.
    pub(crate) async fn holds(
        &self,
        address: &str,
        block: (i64, i64),
        claim: &Claim,
        sync: bool,
    ) -> OpResult<Held> {
        let request = ozone_proto::scm::SyncBlockRequest {
            container_id: block.0,
            local_id: block.1,
            chunks: claim.chunks.iter().map(Chunk::to_stored).collect(),
            sync,
            committed: claim.committed,
        };
        let mut client = self.client(address)?;
        let answer = tokio::time::timeout(
            ANSWER_LIMIT,
            client.sync_block(self.request(block, request)),
        )
        .await;
        match answer {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                Ok(if answer.holds {
                    Held::Yes
                } else {
                    Held::No(answer.reason)
                })
            }
            Ok(Err(status)) => Ok(Held::No(status.to_string())),
            Err(_) => Ok(Held::No(format!("no answer within {ANSWER_LIMIT:?}"))),
        }
    }

    /// The bytes of one chunk, as the datanode at `address` has them; not verified.
    pub(crate) async fn fetch(
        &self,
        address: &str,
        block: (i64, i64),
        chunk: &Chunk,
    ) -> OpResult<Vec<u8>> {
        let request = ozone_proto::scm::FetchBlockRequest {
            container_id: block.0,
            local_id: block.1,
            offset: chunk.offset,
            length: u64::from(chunk.len),
        };
        let failed = |status: tonic::Status| OpError::internal(format!("{address}: {status}"));
        let mut client = self.client(address)?;
        let fetching = async {
            let mut parts = client
                .fetch_block(self.request(block, request))
                .await
                .map_err(failed)?
                .into_inner();
            let mut data = Vec::with_capacity(chunk.len as usize);
            while let Some(part) = parts.message().await.map_err(failed)? {
                if data.len() + part.data.len() > chunk.len as usize {
                    return Err(OpError::internal(format!(
                        "{address} sent more than was asked for"
                    )));
                }
                data.extend_from_slice(&part.data);
            }
            Ok(data)
        };
        let late = |_| OpError::internal(format!("{address}: no answer within {ANSWER_LIMIT:?}"));
        tokio::time::timeout(ANSWER_LIMIT, fetching)
            .await
            .map_err(late)?
    }

    /// Leaves `address` out for a while.
    fn suspect(&self, address: &str, why: &str) {
        tracing::warn!(
            address,
            why,
            "datanode does not take chunks, leaving it out for a while"
        );
        metrics::counter!("datanode_forward_failures_total").increment(1);
        self.suspects
            .insert(address.to_owned(), self.clock.monotonic() + SUSPICION);
        self.links.remove(address);
    }

    fn is_suspect(&self, address: &str) -> bool {
        let now = self.clock.monotonic();
        self.suspects.get(address).is_some_and(|until| now < *until)
    }

    /// Whether chunks may be on their way by several roads, and so out of order.
    fn any_suspect(&self) -> bool {
        let now = self.clock.monotonic();
        self.suspects.iter().any(|entry| now < *entry.value())
    }
}
