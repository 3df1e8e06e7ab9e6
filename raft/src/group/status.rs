//! How a group stands, as this member sees it.

use std::time::Duration;

use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::metrics::RaftServerMetrics;
use tokio::sync::watch;

use super::{Group, Raft};
use crate::types::{MemberId, StoredMembership, Types, position};
use crate::{Peer, RaftError, Result};

/// Who leads, as this member sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// This member does.
    pub is_leader: bool,
    /// Term that this was seen in.
    pub term: u64,
    /// The leader, where known.
    pub leader: Option<Peer>,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Term of the leader that wrote the entry.
    pub term: u64,
    /// Place of the entry.
    pub index: u64,
}

/// How a group stands on this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// Who leads, and in which term.
    pub leadership: Leadership,
    /// Index of the last entry of the log.
    pub last_log: Option<u64>,
    /// Known to be on a majority up to here.
    pub committed: Option<LogPosition>,
    /// In the state machine up to here.
    pub applied: Option<LogPosition>,
    /// Durable in the state machine up to here, as of the last flush of this process.
    pub flushed: Option<LogPosition>,
    /// No longer in the log up to here.
    pub purged: Option<LogPosition>,
    /// Those who vote.
    pub members: Vec<Peer>,
    /// Those who follow without a vote.
    pub learners: Vec<Peer>,
}

fn peer(membership: &StoredMembership, id: MemberId) -> Option<Peer> {
    let node = membership.get_node(&id)?;
    Some(Peer {
        id: id.0,
        address: node.addr.clone(),
    })
}

fn leadership(metrics: &RaftServerMetrics<Types>) -> Leadership {
    let leader = metrics
        .current_leader
        .and_then(|id| peer(&metrics.membership_config, id));
    Leadership {
        is_leader: metrics.state.is_leader(),
        term: metrics.vote.leader_id.term,
        leader,
    }
}

/// Why a group stopped, unless it was told to.
fn fault(metrics: &RaftMetrics<Types>) -> Option<String> {
    match &metrics.running_state {
        Ok(()) | Err(Fatal::Stopped) => None,
        Err(cause) => Some(cause.to_string()),
    }
}

/// Follows what openraft says of leadership until it stops.
pub(super) async fn follow(raft: Raft, tell: watch::Sender<Leadership>) {
    let mut metrics = raft.server_metrics();
    drop(raft);
    loop {
        let now = leadership(&metrics.borrow_watched());
        tell.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
        if metrics.changed().await.is_err() {
            tell.send_modify(|last| (last.is_leader, last.leader) = (false, None));
            return;
        }
    }
}

impl Group {
    /// Whether this member believes to lead. Another may already have taken over; what is proposed
    /// or read behind a [barrier](Self::read_barrier) finds out.
    pub fn is_leader(&self) -> bool {
        self.leadership.borrow().is_leader
    }

    /// Who leads, where known.
    pub fn leader(&self) -> Option<Peer> {
        self.leadership.borrow().leader.clone()
    }

    /// The latest term seen.
    pub fn term(&self) -> u64 {
        self.leadership.borrow().term
    }

    /// Follows changes of leadership.
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Waits until a leader is known.
    pub async fn wait_for_leader(&self, limit: Duration) -> Result<Peer> {
        let mut watch = self.leadership.clone();
        let known = watch.wait_for(|l| l.leader.is_some());
        match tokio::time::timeout(limit, known).await {
            Err(_) => Err(RaftError::Timeout(limit)),
            Ok(Err(_)) => Err(RaftError::ShuttingDown),
            Ok(Ok(seen)) => seen.leader.clone().ok_or(RaftError::ShuttingDown),
        }
    }

    /// Entries that the member furthest behind lacks, of those that have answered this leader; 0 on
    /// a member that does not lead.
    pub fn slowest_lacks(&self) -> u64 {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (Some(last), Some(progress)) = (metrics.last_log_index, &metrics.replication) else {
            return 0;
        };
        let reached = progress.values().flatten().map(|at| at.index);
        last.saturating_sub(reached.min().unwrap_or(last))
    }

    /// Why the group stopped for good on this member, if it did: see [`RaftError::Fatal`].
    pub fn fault(&self) -> Option<String> {
        fault(&self.raft.metrics().borrow_watched())
    }

    /// Returns once the group has stopped for good on this member, with the reason; never when it is
    /// told to stop.
    pub async fn failed(&self) -> RaftError {
        let mut metrics = self.raft.metrics();
        loop {
            if let Some(cause) = fault(&metrics.borrow_watched()) {
                return RaftError::Fatal(cause);
            }
            if metrics.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// How the group stands on this member.
    pub fn status(&self) -> GroupStatus {
        let metrics: RaftMetrics<Types> = self.raft.metrics().borrow_watched().clone();
        let membership = &metrics.membership_config;
        let peers = |ids: &mut dyn Iterator<Item = MemberId>| {
            ids.filter_map(|id| peer(membership, id))
                .collect::<Vec<_>>()
        };
        let members = peers(&mut membership.membership().voter_ids());
        let learners = peers(&mut membership.membership().learner_ids());
        GroupStatus {
            leadership: self.leadership.borrow().clone(),
            last_log: metrics.last_log_index,
            committed: metrics.local_committed.as_ref().map(position),
            applied: metrics.last_applied.as_ref().map(position),
            flushed: metrics.snapshot.as_ref().map(position),
            purged: metrics.purged.as_ref().map(position),
            members,
            learners,
        }
    }
}
