//! The handle of one replicated state machine on this member.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use uuid::Uuid;

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
    /// End of the log.
    pub last_log: Option<LogPosition>,
    /// Known to be on a majority up to here.
    pub committed: Option<LogPosition>,
    /// In the state machine up to here.
    pub applied: Option<LogPosition>,
    /// Durable in the state machine up to here.
    pub flushed: Option<LogPosition>,
    /// No longer in the log up to here.
    pub purged: Option<LogPosition>,
    /// Those who vote.
    pub members: Vec<Peer>,
    /// Those who follow without a vote.
    pub learners: Vec<Peer>,
}

/// One group on this member.
pub struct Group {
    id: Uuid,
    leadership: watch::Receiver<Leadership>,
}

impl Group {
    /// Id of the group.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Replicates a command and returns the reply of its apply.
    pub async fn propose(&self, _data: Bytes) -> Result<Bytes> {
        Err(RaftError::ShuttingDown)
    }

    /// Returns once this member has applied everything that was answered anywhere before the call.
    pub async fn read_barrier(&self) -> Result<()> {
        Err(RaftError::ShuttingDown)
    }

    /// Whether this member believes to lead.
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

    /// How the group stands on this member.
    pub fn status(&self) -> GroupStatus {
        GroupStatus {
            leadership: self.leadership.borrow().clone(),
            last_log: None,
            committed: None,
            applied: None,
            flushed: None,
            purged: None,
            members: Vec::new(),
            learners: Vec::new(),
        }
    }

    /// Hands leadership to another member; returns when it leads.
    pub async fn transfer_leadership(&self, _to: Uuid) -> Result<()> {
        Err(RaftError::ShuttingDown)
    }

    /// Makes `members` the voters of the group; returns when that is committed and the new ones
    /// have caught up.
    pub async fn change_members(&self, _members: Vec<Peer>) -> Result<()> {
        Err(RaftError::ShuttingDown)
    }
}
