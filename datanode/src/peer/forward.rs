//! Passing a chunk on: each member hands it to the next while it writes it itself.
//!
//! A member that is out of reach is skipped, so that the chunk still gets to those behind it. What
//! counts in the end is the list of those that have it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ozone_common::request::current_id;
use ozone_proto::hdds::DatanodeDetailsProto;
use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{
    ChunkInfo, ContainerCommandRequestProto, ContainerCommandResponseProto, DatanodeBlockId,
    Result as Code, Type, WriteChunkRequestProto,
};

use super::link::{Link, Reply};
use super::{ANSWER_LIMIT, CLIENT_PORT, address};
use crate::node::Node;

/// Pause before a chunk that came too early is sent again.
const TOO_EARLY: Duration = Duration::from_millis(20);

/// A chunk on its way to other members.
pub(crate) struct Forward {
    pub(crate) node: Arc<Node>,
    pub(crate) container: i64,
    pub(crate) pipeline: String,
    pub(crate) token: Option<String>,
    pub(crate) block: DatanodeBlockId,
    pub(crate) chunk: ChunkInfo,
    pub(crate) data: Bytes,
}

/// A chunk that was handed to the first of its members, or to none.
pub(crate) struct Sent {
    forward: Forward,
    to: Option<(String, Reply)>,
    rest: Vec<DatanodeDetailsProto>,
}

impl Forward {
    /// Hands the chunk to the first member that takes it. Chunks arrive there in the order of these
    /// calls.
    pub(crate) async fn start(self, members: Vec<DatanodeDetailsProto>) -> Sent {
        let mut rest = members;
        while !rest.is_empty() {
            let member = rest.remove(0);
            let Ok(address) = address(&member, CLIENT_PORT) else {
                continue;
            };
            if self.node.peers.is_suspect(&address) {
                continue;
            }
            let request = self.request(&member, rest.clone());
            let handed = tokio::time::timeout(ANSWER_LIMIT, self.hand_over(&address, request));
            match handed.await {
                Ok(Some(reply)) => {
                    return Sent {
                        forward: self,
                        to: Some((address, reply)),
                        rest,
                    };
                }
                _ => self.node.peers.suspect(&address, "it takes no chunks"),
            }
        }
        Sent {
            forward: self,
            to: None,
            rest: Vec::new(),
        }
    }

    async fn hand_over(
        &self,
        address: &str,
        request: ContainerCommandRequestProto,
    ) -> Option<Reply> {
        let peers = &self.node.peers;
        let alive = peers
            .links
            .get(address)
            .map(|link| link.clone())
            .filter(|l| l.is_alive());
        let link = match alive {
            Some(link) => link,
            None => {
                let link = Link::open(peers.channels.get(address).ok()?);
                peers.links.insert(address.to_owned(), link.clone());
                link
            }
        };
        link.send(request).await
    }

    fn request(
        &self,
        member: &DatanodeDetailsProto,
        forward: Vec<DatanodeDetailsProto>,
    ) -> ContainerCommandRequestProto {
        ContainerCommandRequestProto {
            cmd_type: Type::WriteChunk.into(),
            container_id: self.container,
            datanode_uuid: member.uuid().to_owned(),
            pipeline_id: Some(self.pipeline.clone()),
            trace_id: current_id(),
            encoded_token: self.token.clone(),
            body: Some(Request::WriteChunk(WriteChunkRequestProto {
                block_id: self.block,
                chunk_data: Some(self.chunk.clone()),
                data: Some(self.data.clone()),
                forward,
                ..WriteChunkRequestProto::default()
            })),
            ..ContainerCommandRequestProto::default()
        }
    }
}

impl Sent {
    /// Waits for those that the chunk was passed to; gives their uuids.
    pub(crate) async fn stored(self) -> Vec<String> {
        let Self {
            forward,
            mut to,
            rest,
        } = self;
        let give_up = tokio::time::Instant::now() + ANSWER_LIMIT;
        loop {
            let Some((address, reply)) = to else {
                return Vec::new();
            };
            let answer = match tokio::time::timeout_at(give_up, reply).await {
                Ok(Ok(answer)) => answer,
                broken => {
                    let why = if broken.is_err() {
                        "no answer in time"
                    } else {
                        "stream broke"
                    };
                    forward.node.peers.suspect(&address, why);
                    // Those behind it may have the chunk, or not: ask them directly.
                    let sent = forward.start(rest).await;
                    return Box::pin(sent.stored_after_break(give_up)).await;
                }
            };
            match stored(&answer) {
                Some(stored) => return stored,
                None if too_early(&forward, &answer, give_up) => {
                    tokio::time::sleep(TOO_EARLY).await;
                    let again = resend(&forward, &address, &rest).await;
                    to = again.map(|reply| (address, reply));
                }
                None => {
                    let message = answer.message();
                    tracing::info!(address, message, "a member did not take a chunk");
                    return Vec::new();
                }
            }
        }
    }

    async fn stored_after_break(self, give_up: tokio::time::Instant) -> Vec<String> {
        let waiting = self.stored();
        tokio::time::timeout_at(give_up, waiting)
            .await
            .unwrap_or_default()
    }
}

fn stored(answer: &ContainerCommandResponseProto) -> Option<Vec<String>> {
    match (&answer.body, answer.result()) {
        (Some(Response::WriteChunk(write)), Code::Success) => Some(write.stored.clone()),
        _ => None,
    }
}

/// After a member dropped out, chunks reach those behind it by another road and may overtake those
/// that are sent again.
fn too_early(
    forward: &Forward,
    answer: &ContainerCommandResponseProto,
    give_up: tokio::time::Instant,
) -> bool {
    answer.result() == Code::ChunkFileInconsistency
        && forward.node.peers.any_suspect()
        && tokio::time::Instant::now() + TOO_EARLY < give_up
}

async fn resend(forward: &Forward, address: &str, rest: &[DatanodeDetailsProto]) -> Option<Reply> {
    // The receiver looks at no uuid: the address says who is meant.
    let request = forward.request(&DatanodeDetailsProto::default(), rest.to_vec());
    forward.hand_over(address, request).await
}
