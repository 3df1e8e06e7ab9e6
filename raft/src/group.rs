//! The handle of one replicated state machine on this member.

mod barrier;
mod belongs;
mod form;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, RaftError as CoreError};
use openraft::raft::VoteRequest;
use openraft::{BasicNode, ChangeMembers};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::Status;
use uuid::Uuid;

use self::barrier::Barriers;
pub(crate) use self::form::Shared;
pub use self::status::{GroupStatus, Leadership, LogPosition};
use crate::apply::Adapter;
use crate::log::LogStore;
use crate::net::Connections;
use crate::snapshot::SnapshotDir;
use crate::types::{CommandData, MemberId, Types};
use crate::{Peer, RaftError, RaftOptions, Result};

pub(crate) type Raft = openraft::Raft<Types, Adapter>;

/// Bytes that a command may have.
pub const MAX_COMMAND_BYTES: usize = 16 << 20;

/// One group on this member.
pub struct Group {
    id: Uuid,
    me: MemberId,
    raft: Raft,
    log: LogStore,
    adapter: Adapter,
    connections: Arc<Connections>,
    options: RaftOptions,
    leadership: watch::Receiver<Leadership>,
    silence: Option<Silence>,
    barriers: Barriers,
    tasks: Vec<AbortHandle>,
}

/// What a restarted member owes the leader that it followed before: it promised not to vote for
/// another while that leader may serve reads on its lease, and a restart forgets when that was.
#[derive(Debug, Clone, Copy)]
struct Silence {
    until: Instant,
    leader: MemberId,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Group {
    /// Id of the group.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Replicates a command and returns the reply of its apply.
    ///
    /// [`RaftError::NotLeader`] and [`RaftError::TooLarge`] mean that nothing happened. After
    /// [`RaftError::LeaderChanged`] and [`RaftError::Timeout`] the command may still take effect.
    pub async fn propose(&self, data: Bytes) -> Result<Bytes> {
        if data.len() > MAX_COMMAND_BYTES {
            return Err(RaftError::TooLarge {
                size: data.len(),
                limit: MAX_COMMAND_BYTES,
            });
        }
        let limit = self.options.propose_timeout;
        tokio::time::timeout(limit, self.propose_when_leading(data))
            .await
            .unwrap_or(Err(RaftError::Timeout(limit)))
    }

    async fn propose_when_leading(&self, data: Bytes) -> Result<Bytes> {
        let give_up = Instant::now() + self.options.election_max;
        let mut pause = Duration::from_millis(1);
        loop {
            let refusal = match self.raft.client_write(CommandData(data.clone())).await {
                Ok(response) => return Ok(response.data),
                Err(refusal) => refusal,
            };
            // A leader that was elected just now accepts nothing until a majority has answered it.
            let fresh = matches!(
                &refusal,
                CoreError::APIError(ClientWriteError::ForwardToLeader(f))
                    if f.reason == ForwardReason::LeaseExpired
            );
            if !fresh || Instant::now() > give_up {
                return Err(self.write_error(refusal));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Returns once this member has applied everything that was answered anywhere before the call,
    /// so that a read of the local state that follows is linearizable.
    ///
    /// On a leader it costs no message to others while its lease is valid; a follower asks the
    /// leader. Calls that come together share the work.
    pub async fn read_barrier(&self) -> Result<()> {
        let limit = self.options.election_max * 2;
        tokio::time::timeout(limit, self.barriers.pass(|| self.barrier()))
            .await
            .unwrap_or(Err(RaftError::Timeout(limit)))
    }

    /// Hands leadership to another member; returns when it leads.
    pub async fn transfer_leadership(&self, to: Uuid) -> Result<()> {
        if !self.is_leader() {
            return Err(RaftError::NotLeader {
                leader: self.leader(),
            });
        }
        if !self.status().members.iter().any(|member| member.id == to) {
            return Err(RaftError::Members(format!("{to} is no member")));
        }
        self.raft
            .trigger()
            .transfer_leader(MemberId(to))
            .await
            .map_err(fatal)?;
        let limit = self.options.election_max * 2;
        let mut watch = self.leadership.clone();
        let done = watch.wait_for(|seen| seen.leader.as_ref().is_some_and(|peer| peer.id == to));
        match tokio::time::timeout(limit, done).await {
            Err(_) => Err(RaftError::Timeout(limit)),
            Ok(Err(_)) => Err(RaftError::ShuttingDown),
            Ok(Ok(_)) => Ok(()),
        }
    }

    /// Makes `members` the voters of the group, in two steps of joint consensus; returns when that
    /// is committed and the new ones have caught up. To be called on the leader.
    pub async fn change_members(&self, members: Vec<Peer>) -> Result<()> {
        if members.is_empty() {
            return Err(RaftError::Members("a group needs members".into()));
        }
        let status = self.status();
        let known = |id: Uuid| {
            status
                .members
                .iter()
                .chain(&status.learners)
                .find(move |peer| peer.id == id)
        };
        for peer in &members {
            let (id, node) = (MemberId(peer.id), BasicNode::new(&peer.address));
            let changed = match known(peer.id) {
                Some(before) if before.address == peer.address => continue,
                Some(_) => {
                    let moved = ChangeMembers::SetNodes([(id, node)].into());
                    self.raft.change_membership(moved, false).await
                }
                None => self.raft.add_learner(id, node, true).await,
            };
            changed.map_err(|e| self.write_error(e))?;
        }
        let voters = members.iter().map(|peer| MemberId(peer.id));
        let change = ChangeMembers::ReplaceAllVoters(voters.collect());
        self.raft
            .change_membership(change, false)
            .await
            .map_err(|e| self.write_error(e))?;
        Ok(())
    }

    fn write_error(&self, error: CoreError<Types, ClientWriteError<Types>>) -> RaftError {
        match error {
            CoreError::Fatal(cause) => fatal(cause),
            CoreError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                RaftError::NotLeader {
                    leader: peer_of(forward),
                }
            }
            CoreError::APIError(ClientWriteError::LogEntryDiscarded(forward)) => {
                RaftError::LeaderChanged {
                    leader: peer_of(forward),
                }
            }
            CoreError::APIError(other) => RaftError::Members(other.to_string()),
        }
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    pub(crate) fn copies(&self) -> &SnapshotDir {
        self.adapter.copies()
    }

    /// Refuses to vote while the leader followed before the restart may serve reads on its lease,
    /// unless it is that leader who asks, or has handed over.
    pub(crate) fn check_may_vote(&self, request: &VoteRequest<Types>) -> Result<(), Status> {
        let Some(silence) = &self.silence else {
            return Ok(());
        };
        let candidate = request.vote.leader_id.voted_for;
        if request.leadership_transfer
            || candidate == silence.leader
            || Instant::now() >= silence.until
        {
            return Ok(());
        }
        Err(Status::unavailable(
            "restarted moments ago, the lease of the leader may still run",
        ))
    }

    /// Stops the group. What was applied is flushed, so that the next start replays nothing; if that
    /// fails, only the log has it.
    pub(crate) async fn close(&self) -> Result<()> {
        self.tasks.iter().for_each(AbortHandle::abort);
        if let Err(cause) = self.raft.shutdown().await {
            tracing::error!(group = %self.id, %cause, "the group ended badly");
        }
        let flushed = self.adapter.flush().await;
        if let Err(cause) = &flushed {
            tracing::error!(group = %self.id, %cause, "state not flushed at the end");
        }
        if let Err(cause) = self.log.drain().await {
            tracing::error!(group = %self.id, %cause, "log not drained at the end");
        }
        let done = flushed.map(drop);
        done.map_err(|cause| RaftError::Fatal(format!("state not flushed: {cause}")))
    }
}

fn fatal(cause: openraft::errors::Fatal<Types>) -> RaftError {
    match cause {
        openraft::errors::Fatal::Stopped => RaftError::ShuttingDown,
        other => RaftError::Fatal(other.to_string()),
    }
}

fn peer_of(forward: ForwardToLeader<Types>) -> Option<Peer> {
    let (id, node) = forward.leader_id.zip(forward.leader_node)?;
    Some(Peer {
        id: id.0,
        address: node.addr,
    })
}
