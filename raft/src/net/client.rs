//! The sending side: openraft's network over tonic.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use parking_lot::Mutex;
use tonic::transport::Channel;
use uuid::Uuid;

use super::transfer::send_files;
use crate::apply::Snapshot;
use crate::config::Peer;
use crate::connect::Connect;
use crate::snapshot::SnapshotDir;
use crate::types::{LogId, MemberId, Types, Vote};
use crate::wire::{self, WireError, append_reply::Outcome, raft_service_client::RaftServiceClient};

type Client = RaftServiceClient<Channel>;
type RpcError = RPCError<Types>;

/// Messages may hold the largest entry and some more.
pub(super) const MAX_MESSAGE: usize = 64 << 20;
/// Least time that a call may take; openraft allows no more than a heartbeat for some.
const LEAST_LIMIT: Duration = Duration::from_secs(1);

/// Channels by address.
pub(crate) struct Connections {
    connect: Arc<dyn Connect>,
    channels: Mutex<HashMap<String, Channel>>,
    /// Where members are that have moved since the log was told.
    moved: Mutex<HashMap<Uuid, String>>,
}

impl Connections {
    pub(crate) fn new(connect: Arc<dyn Connect>) -> Self {
        Self {
            connect,
            channels: Mutex::default(),
            moved: Mutex::default(),
        }
    }

    /// From now on the member is reached there, whatever a log says.
    pub(crate) fn relocate(&self, peer: Peer) {
        self.moved.lock().insert(peer.id, peer.address);
    }

    /// The member where it is by now.
    pub(crate) fn locate(&self, peer: &Peer) -> Peer {
        let moved = self.moved.lock();
        let address = moved.get(&peer.id).unwrap_or(&peer.address).clone();
        Peer {
            id: peer.id,
            address,
        }
    }

    pub(crate) fn client(&self, peer: &Peer) -> std::io::Result<Client> {
        let peer = self.locate(peer);
        let mut channels = self.channels.lock();
        let channel = match channels.get(&peer.address) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.connect.channel(&peer)?;
                channels.insert(peer.address, channel.clone());
                channel
            }
        };
        Ok(Client::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }
}

/// The network of one group.
pub(crate) struct Network {
    pub(crate) group: Uuid,
    pub(crate) me: MemberId,
    pub(crate) connections: Arc<Connections>,
    pub(crate) copies: SnapshotDir,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: MemberId, node: &BasicNode) -> Link {
        Link {
            group: wire::write_id(self.group),
            to: wire::write_id(target.0),
            me: self.me,
            target,
            peer: Peer {
                id: target.0,
                address: node.addr.clone(),
            },
            connections: self.connections.clone(),
            copies: self.copies.clone(),
        }
    }
}

/// The way from one group to one other member.
pub(crate) struct Link {
    group: Bytes,
    to: Bytes,
    me: MemberId,
    target: MemberId,
    peer: Peer,
    connections: Arc<Connections>,
    copies: SnapshotDir,
}

fn unreachable(cause: &(impl std::error::Error + 'static)) -> RpcError {
    RPCError::Unreachable(Unreachable::new(cause))
}

impl Link {
    fn client(&self) -> Result<Client, RpcError> {
        self.connections
            .client(&self.peer)
            .map_err(|e| unreachable(&e))
    }

    /// One call with its time limit.
    async fn call<T>(
        &self,
        action: RPCTypes,
        option: &RPCOption,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, RpcError> {
        let limit = option.hard_ttl().max(LEAST_LIMIT);
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(unreachable(&status)),
            Err(_) => {
                let (id, target) = (self.me, self.target);
                Err(RPCError::Timeout(Timeout {
                    action,
                    id,
                    target,
                    timeout: limit,
                }))
            }
        }
    }

    fn vote_request(&self, rpc: &VoteRequest<Types>) -> wire::VoteRequest {
        wire::VoteRequest {
            group: self.group.clone(),
            to: self.to.clone(),
            vote: Some(wire::write_vote(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(wire::write_log_id),
            leadership_transfer: rpc.leadership_transfer,
        }
    }

    async fn open_append<S>(
        &mut self,
        mut input: S,
        option: RPCOption,
    ) -> Result<BoxStream<'static, Result<StreamAppendResult<Types>, RpcError>>, RpcError>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        // openraft waits between attempts inside of the stream of requests. A call to a member that
        // is down fails before it asks for any, so the first one is taken before the call.
        let Some(first) = input.next().await else {
            return Ok(futures::stream::empty().boxed());
        };
        let input = futures::stream::iter([first]).chain(input);
        let (group, to) = (self.group.clone(), self.to.clone());
        let requests = input.map(move |rpc| append_request(group.clone(), to.clone(), &rpc));
        let mut client = self.client()?;
        let replies = self
            .call(RPCTypes::AppendEntries, &option, client.append(requests))
            .await?;
        let results = replies.map(|reply| {
            reply
                .map_err(|e| unreachable(&e))
                .and_then(|r| read_reply(r).map_err(|e| unreachable(&e)))
        });
        Ok(results.boxed())
    }
}

fn append_request(
    group: Bytes,
    to: Bytes,
    rpc: &AppendEntriesRequest<Types>,
) -> wire::AppendRequest {
    wire::AppendRequest {
        group,
        to,
        vote: Some(wire::write_vote(&rpc.vote)),
        prev: rpc.prev_log_id.as_ref().map(wire::write_log_id),
        entries: rpc.entries.iter().map(wire::write_entry).collect(),
        commit: rpc.leader_commit.as_ref().map(wire::write_log_id),
    }
}

fn read_reply(reply: wire::AppendReply) -> Result<StreamAppendResult<Types>, WireError> {
    let at = reply.log_id.map(wire::read_log_id);
    match Outcome::try_from(reply.outcome) {
        Ok(Outcome::Matched) => Ok(Ok(at)),
        Ok(Outcome::Conflict) => Ok(Err(StreamAppendError::Conflict(
            at.ok_or(WireError("conflict"))?,
        ))),
        Ok(Outcome::HigherVote) => Ok(Err(StreamAppendError::HigherVote(wire::read_vote(
            reply.vote,
        )?))),
        _ => Err(WireError("outcome")),
    }
}

fn read_vote_reply(reply: wire::VoteReply) -> Result<VoteResponse<Types>, WireError> {
    let last: Option<LogId> = reply.last.map(wire::read_log_id);
    Ok(VoteResponse::new(
        wire::read_vote(reply.vote)?,
        last,
        reply.granted,
    ))
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Option<crate::snapshot::SnapshotFiles>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RpcError> {
        let input = futures::stream::iter([rpc]);
        let mut replies = self.open_append(input, option).await?;
        let reply = replies.try_next().await?;
        let closed = || unreachable(&std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        Ok(reply.ok_or_else(closed)?.into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let replies: BoxStream<'s, _> = self.open_append(input, option).await?;
            Ok(replies)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RpcError> {
        let mut client = self.client()?;
        let call = client.vote(self.vote_request(&rpc));
        let reply = self.call(RPCTypes::Vote, &option, call).await?;
        read_vote_reply(reply).map_err(|e| unreachable(&e))
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RpcError> {
        let mut client = self.client()?;
        let call = client.pre_vote(self.vote_request(&rpc));
        let reply = self.call(RPCTypes::Vote, &option, call).await?;
        read_vote_reply(reply).map_err(|e| unreachable(&e))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let header = wire::SnapshotHeader {
            group: self.group.clone(),
            to: self.to.clone(),
            vote: Some(wire::write_vote(&vote)),
            last: snapshot.meta.last_log_id.as_ref().map(wire::write_log_id),
            membership: Some(wire::write_stored(&snapshot.meta.last_membership)),
            ..wire::SnapshotHeader::default()
        };
        let Some(files) = snapshot.snapshot else {
            let cause = std::io::Error::other("the snapshot has no files");
            return Err(unreachable(&cause).into());
        };
        let mut client = self.client().map_err(StreamingError::from)?;
        let sending = send_files(&mut client, header, self.copies.disk.clone(), files);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = sending => {
                let sent = sent.map_err(|status| StreamingError::from(unreachable(&status)))?;
                let vote = wire::read_vote(sent.vote)
                    .map_err(|e| StreamingError::from(unreachable(&e)))?;
                Ok(SnapshotResponse::new(vote))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RpcError> {
        let message = wire::TransferRequest {
            group: self.group.clone(),
            to: self.to.clone(),
            from_leader: Some(wire::write_vote(req.from_leader())),
            next_leader: wire::write_id(req.to_node_id().0),
            last: req.last_log_id().map(wire::write_log_id),
        };
        let mut client = self.client()?;
        let call = client.transfer_leader(message);
        let reply = self.call(RPCTypes::TransferLeader, &option, call).await?;
        read_transfer_reply(&req, reply).map_err(|e| unreachable(&e))
    }
}

fn read_transfer_reply(
    req: &TransferLeaderRequest<Types>,
    reply: wire::TransferReply,
) -> Result<TransferLeaderResponse<Types>, WireError> {
    use wire::transfer_reply::Refusal;
    Ok(match Refusal::try_from(reply.refusal) {
        Ok(Refusal::None) => Ok(()),
        Ok(Refusal::VoteChanged) => Err(TransferLeaderError::VoteChanged {
            expected: *req.from_leader(),
            actual: wire::read_vote(reply.vote)?,
        }),
        Ok(Refusal::LogNotFlushed) => Err(TransferLeaderError::LogNotFlushed {
            expected: req.last_log_id().copied(),
            actual: reply.last.map(wire::read_log_id),
        }),
        Err(_) => return Err(WireError("refusal")),
    })
}
