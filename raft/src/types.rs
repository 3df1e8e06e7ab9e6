//! openraft's types as this crate fills them in.

use std::fmt;

use bytes::Bytes;
use openraft::BasicNode;
use openraft::impls::leader_id_std;
use openraft::type_config::alias;
use uuid::Uuid;

use crate::LogPosition;

/// Who a member is. The whole UUID, so that no table of numbers has to be agreed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(pub(crate) Uuid);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
impl From<u64> for MemberId {
    fn from(n: u64) -> Self {
        Self(Uuid::from_u64_pair(0, n))
    }
}

/// A proposed command.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CommandData(pub(crate) Bytes);

impl fmt::Debug for CommandData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CommandData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

openraft::declare_raft_types!(
    /// Standard Raft (one leader per term) over opaque commands.
    pub(crate) Types:
        D = CommandData,
        R = Bytes,
        NodeId = MemberId,
        Node = BasicNode,
        LeaderId = leader_id_std::LeaderId<u64, MemberId>,
);

pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type Membership = openraft::Membership<MemberId, BasicNode>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(alias::CommittedLeaderIdOf::<Types>::new(term), index)
}

pub(crate) fn position(id: &LogId) -> LogPosition {
    LogPosition {
        term: id.committed_leader_id().term,
        index: id.index(),
    }
}
