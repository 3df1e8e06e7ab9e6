//! The messages between members, and how openraft's types go over to them and back.

#[allow(clippy::all, clippy::too_many_lines, unreachable_pub, missing_docs)]
mod generated {
    tonic::include_proto!("ozone.raft");
}

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
pub(crate) use generated::*;
use openraft::{BasicNode, EntryPayload};
use uuid::Uuid;

use crate::types::{self, CommandData, MemberId};

/// A message that is not what a member would send.
#[derive(Debug, thiserror::Error)]
#[error("malformed {0}")]
pub(crate) struct WireError(pub(crate) &'static str);

pub(crate) fn write_id(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

pub(crate) fn read_id(bytes: &[u8]) -> Result<Uuid, WireError> {
    Uuid::from_slice(bytes).map_err(|_| WireError("id"))
}

pub(crate) fn write_log_id(id: &types::LogId) -> LogId {
    LogId {
        term: id.committed_leader_id().term,
        index: id.index(),
    }
}

pub(crate) fn read_log_id(id: LogId) -> types::LogId {
    types::log_id(id.term, id.index)
}

pub(crate) fn write_vote(vote: &types::Vote) -> Vote {
    Vote {
        term: vote.leader_id.term,
        node: write_id(vote.leader_id.voted_for.0),
        committed: vote.committed,
    }
}

/// A vote that must be there.
pub(crate) fn read_vote(vote: Option<Vote>) -> Result<types::Vote, WireError> {
    let vote = vote.ok_or(WireError("vote"))?;
    let node = MemberId(read_id(&vote.node)?);
    Ok(match vote.committed {
        true => types::Vote::new_committed(vote.term, node),
        false => types::Vote::new(vote.term, node),
    })
}

pub(crate) fn write_membership(m: &types::Membership) -> Membership {
    let voters = |ids: &BTreeSet<MemberId>| Voters {
        ids: ids.iter().map(|id| write_id(id.0)).collect(),
    };
    let node = |(id, node): (&MemberId, &BasicNode)| Node {
        id: write_id(id.0),
        address: node.addr.clone(),
    };
    Membership {
        configs: m.get_joint_config().iter().map(voters).collect(),
        nodes: m.nodes().map(node).collect(),
    }
}

pub(crate) fn read_membership(m: Membership) -> Result<types::Membership, WireError> {
    let mut configs = Vec::with_capacity(m.configs.len());
    for voters in &m.configs {
        let ids: Result<BTreeSet<_>, _> = voters
            .ids
            .iter()
            .map(|id| read_id(id).map(MemberId))
            .collect();
        configs.push(ids?);
    }
    let mut nodes = BTreeMap::new();
    for node in m.nodes {
        let addr = node.address;
        nodes.insert(MemberId(read_id(&node.id)?), BasicNode { addr });
    }
    types::Membership::new(configs, nodes).map_err(|_| WireError("membership"))
}

pub(crate) fn write_stored(m: &types::StoredMembership) -> StoredMembership {
    StoredMembership {
        log_id: m.log_id().as_ref().map(write_log_id),
        membership: Some(write_membership(m.membership())),
    }
}

/// A membership with its place in the log, which must be there.
pub(crate) fn read_stored(
    m: Option<StoredMembership>,
) -> Result<types::StoredMembership, WireError> {
    let m = m.ok_or(WireError("membership"))?;
    let membership = read_membership(m.membership.ok_or(WireError("membership"))?)?;
    Ok(types::StoredMembership::new(
        m.log_id.map(read_log_id),
        membership,
    ))
}

pub(crate) fn write_entry(entry: &types::Entry) -> Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(command) => Some(entry::Payload::Command(command.0.clone())),
        EntryPayload::Membership(m) => Some(entry::Payload::Membership(write_membership(m))),
    };
    Entry {
        log_id: Some(write_log_id(&entry.log_id)),
        payload,
    }
}

pub(crate) fn read_entry(entry: Entry) -> Result<types::Entry, WireError> {
    let payload = match entry.payload {
        None => EntryPayload::Blank,
        Some(entry::Payload::Command(data)) => EntryPayload::Normal(CommandData(data)),
        Some(entry::Payload::Membership(m)) => EntryPayload::Membership(read_membership(m)?),
    };
    let log_id = read_log_id(entry.log_id.ok_or(WireError("entry"))?);
    Ok(types::Entry { log_id, payload })
}
