//! The receiving side: routes messages to the group they are for.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::client::MAX_MESSAGE;
use super::receive;
use crate::Group;
use crate::apply::Snapshot;
use crate::host::Registry;
use crate::types::{MemberId, SnapshotMeta, Types};
use crate::wire::{self, WireError, append_reply::Outcome, transfer_reply::Refusal};

/// The service of a host, to be added to a tonic router.
pub type RaftServiceServer = wire::raft_service_server::RaftServiceServer<RaftService>;

/// Answers other members for all groups of a host.
pub struct RaftService {
    registry: Arc<Registry>,
}

impl RaftService {
    pub(crate) fn server(registry: Arc<Registry>) -> RaftServiceServer {
        RaftServiceServer::new(Self { registry }).max_decoding_message_size(MAX_MESSAGE)
    }

    fn group(&self, group: &[u8], to: &[u8]) -> Result<Arc<Group>, Status> {
        self.registry.route(group, to)
    }

    /// The group that is asked for a vote, and what it is asked.
    fn voter(
        &self,
        message: &wire::VoteRequest,
    ) -> Result<(Arc<Group>, VoteRequest<Types>), Status> {
        let group = self.group(&message.group, &message.to)?;
        let rpc = read_vote_request(message)?;
        group.check_may_vote(&rpc)?;
        Ok((group, rpc))
    }
}

impl From<WireError> for Status {
    fn from(cause: WireError) -> Self {
        Self::invalid_argument(cause.to_string())
    }
}

fn stopped(cause: impl std::fmt::Display) -> Status {
    Status::unavailable(cause.to_string())
}

fn read_append(message: wire::AppendRequest) -> Result<AppendEntriesRequest<Types>, WireError> {
    let entries: Result<Vec<_>, _> = message.entries.into_iter().map(wire::read_entry).collect();
    Ok(AppendEntriesRequest {
        vote: wire::read_vote(message.vote)?,
        prev_log_id: message.prev.map(wire::read_log_id),
        entries: entries?,
        leader_commit: message.commit.map(wire::read_log_id),
    })
}

fn write_result(result: StreamAppendResult<Types>) -> wire::AppendReply {
    let (outcome, log_id, vote) = match result {
        Ok(matched) => (Outcome::Matched, matched, None),
        Err(StreamAppendError::Conflict(at)) => (Outcome::Conflict, Some(at), None),
        Err(StreamAppendError::HigherVote(vote)) => (Outcome::HigherVote, None, Some(vote)),
    };
    wire::AppendReply {
        outcome: outcome.into(),
        log_id: log_id.as_ref().map(wire::write_log_id),
        vote: vote.as_ref().map(wire::write_vote),
    }
}

fn read_vote_request(message: &wire::VoteRequest) -> Result<VoteRequest<Types>, WireError> {
    let vote = wire::read_vote(message.vote.clone())?;
    let mut request = VoteRequest::new(vote, message.last.map(wire::read_log_id));
    request.leadership_transfer = message.leadership_transfer;
    Ok(request)
}

fn write_vote_reply(reply: &VoteResponse<Types>) -> Response<wire::VoteReply> {
    Response::new(wire::VoteReply {
        vote: Some(wire::write_vote(&reply.vote)),
        granted: reply.vote_granted,
        last: reply.last_log_id.as_ref().map(wire::write_log_id),
    })
}

/// Feeds a stream of appends to its group. A malformed message ends it.
async fn append_stream(
    registry: Arc<Registry>,
    mut incoming: Streaming<wire::AppendRequest>,
) -> Result<BoxStream<'static, Result<wire::AppendReply, Status>>, Status> {
    let Some(first) = incoming.message().await? else {
        return Ok(stream::empty().boxed());
    };
    let group = registry.route(&first.group, &first.to)?;
    let first = stream::iter([read_append(first)?]);
    let rest = stream::unfold(incoming, |mut incoming| async move {
        let message = incoming.message().await.ok()??;
        Some((read_append(message).ok()?, incoming))
    });
    let results = group.raft().stream_append(first.chain(rest));
    Ok(results
        .map(|result| result.map(write_result).map_err(stopped))
        .boxed())
}

#[tonic::async_trait]
impl wire::raft_service_server::RaftService for RaftService {
    type AppendStream = BoxStream<'static, Result<wire::AppendReply, Status>>;

    /// Answers at once, before there is anything to append: the leader opens the stream ahead.
    async fn append(
        &self,
        request: Request<Streaming<wire::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let replies = append_stream(self.registry.clone(), request.into_inner());
        Ok(Response::new(stream::once(replies).try_flatten().boxed()))
    }

    async fn vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteReply>, Status> {
        let (group, rpc) = self.voter(&request.into_inner())?;
        let reply = group.raft().vote(rpc).await.map_err(stopped)?;
        Ok(write_vote_reply(&reply))
    }

    async fn pre_vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteReply>, Status> {
        let (group, rpc) = self.voter(&request.into_inner())?;
        let reply = group.raft().pre_vote(rpc).await.map_err(stopped)?;
        Ok(write_vote_reply(&reply))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotPart>>,
    ) -> Result<Response<wire::SnapshotReply>, Status> {
        let mut parts = request.into_inner();
        let header = receive::header(&mut parts).await?;
        let group = self.group(&header.group, &header.to)?;
        let vote = wire::read_vote(header.vote.clone())?;
        let meta = SnapshotMeta {
            last_log_id: header.last.map(wire::read_log_id),
            last_membership: wire::read_stored(header.membership.clone())?,
        };
        tracing::info!(group = %group.id(), files = header.files, bytes = header.bytes, "receiving a copy of the state");
        let files = receive::files(&header, parts, group.copies()).await?;
        let snapshot = Snapshot {
            meta,
            snapshot: Some(files),
        };
        let reply = group
            .raft()
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopped)?;
        Ok(Response::new(wire::SnapshotReply {
            vote: Some(wire::write_vote(&reply.vote)),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::TransferReply>, Status> {
        let message = request.into_inner();
        let group = self.group(&message.group, &message.to)?;
        let from = wire::read_vote(message.from_leader)?;
        let to = MemberId(wire::read_id(&message.next_leader)?);
        let rpc = TransferLeaderRequest::new(from, to, message.last.map(wire::read_log_id));
        let (refusal, vote, last) = match group
            .raft()
            .handle_transfer_leader(rpc)
            .await
            .map_err(stopped)?
        {
            Ok(()) => (Refusal::None, None, None),
            Err(TransferLeaderError::VoteChanged { actual, .. }) => {
                (Refusal::VoteChanged, Some(actual), None)
            }
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
                (Refusal::LogNotFlushed, None, actual)
            }
        };
        Ok(Response::new(wire::TransferReply {
            refusal: refusal.into(),
            vote: vote.as_ref().map(wire::write_vote),
            last: last.as_ref().map(wire::write_log_id),
        }))
    }

    async fn read_index(
        &self,
        request: Request<wire::ReadIndexRequest>,
    ) -> Result<Response<wire::ReadIndexReply>, Status> {
        let message = request.into_inner();
        let group = self.group(&message.group, &message.to)?;
        let read = group.read_log_id().await.map_err(stopped)?;
        let read = read.as_ref().map(wire::write_log_id);
        Ok(Response::new(wire::ReadIndexReply { read }))
    }
}
