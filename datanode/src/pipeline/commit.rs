//! Committing a block: the bytes first, on a majority, then the entry that makes them exist.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ozone_proto::hdds::datanode::Result as Code;
use ozone_proto::scm::pipeline_entry::Command as Entry;
use ozone_proto::scm::{CommitBlock, CommitClose, CommitReply, PipelineEntry};
use ozone_raft::RaftError;
use prost::Message;

use super::machine::ENTRY_VERSION;
use super::{Member, Pipeline};
use crate::chunk::Chunk;
use crate::container::{Claim, Committed, Container, Held, State};
use crate::error::{OpError, OpResult};
use crate::io::Lane;
use crate::node::{Node, off_thread, on_container};

/// What a client wants to exist.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) pipeline: String,
    pub(crate) container: i64,
    pub(crate) local: i64,
    pub(crate) size: u64,
    pub(crate) flags: i64,
    /// All chunks of the block, or those since its last commit.
    pub(crate) chunks: Vec<Chunk>,
    /// Fsynced on a majority before the answer.
    pub(crate) sync: bool,
    pub(crate) eof: bool,
}

/// Makes the bytes of a block exist on every member of its pipeline.
pub(crate) async fn commit_block(node: &Arc<Node>, proposal: Proposal) -> OpResult<Committed> {
    let container = container_of(node, &proposal).await?;
    let pipeline = match proposal.pipeline.is_empty() {
        true => node.pipelines.get(&container.pipeline_id())?,
        false => node.pipelines.get(&proposal.pipeline)?,
    };
    if let Some(why) = pipeline.fault() {
        // It will never lead again: the client is to take another pipeline, SCM to close this one.
        let text = format!("pipeline {} has stopped: {why}", pipeline.id);
        return Err(OpError::new(Code::PipelineNotFound, text));
    }
    if !pipeline.group.is_leader() {
        return Err(not_leader(pipeline.group.leader()));
    }
    match container.state() {
        State::Open | State::Closing => {}
        state => {
            let text = format!("container {} is {}", proposal.container, state.name());
            return Err(OpError::new(Code::ContainerNotOpen, text));
        }
    }
    let (local, size) = (proposal.local, proposal.size);
    let chunks = proposal.chunks.clone();
    let (new, row) = on_container(&container, Lane::Read, move |container| {
        Ok((
            container.new_chunks(local, size, &chunks)?,
            container.block(local)?,
        ))
    })
    .await?;
    let claim = Claim {
        committed: row.map_or(0, |row| row.size),
        chunks: new.clone(),
    };
    let replicas = gather(node, &pipeline, &container, &proposal, &claim).await?;
    if let (Some(row), true) = (row, new.is_empty()) {
        if proposal.eof {
            container.finish_block(local);
        }
        return Ok(Committed {
            length: row.size,
            bcsid: row.bcsid,
            lacking: false,
        });
    }
    let entry = Entry::CommitBlock(CommitBlock {
        container_id: proposal.container,
        local_id: local,
        size,
        flags: proposal.flags,
        chunks: new.iter().map(Chunk::to_stored).collect(),
        replicas,
        eof: proposal.eof,
    });
    let reply = propose(&pipeline, entry).await?;
    Ok(Committed {
        length: reply.length,
        bcsid: reply.bcsid,
        lacking: false,
    })
}

async fn container_of(node: &Arc<Node>, proposal: &Proposal) -> OpResult<Arc<Container>> {
    if let Some(container) = node.containers.find(proposal.container) {
        return Ok(container);
    }
    // This member may have been left out of every chunk so far, and lead all the same.
    node.pipelines.get(&proposal.pipeline)?;
    let (shared, id, pipeline) = (node.clone(), proposal.container, proposal.pipeline.clone());
    off_thread(move || shared.container_for(id, &pipeline)).await
}

/// The members that have the bytes, once they are a majority.
async fn gather(
    node: &Arc<Node>,
    pipeline: &Pipeline,
    container: &Arc<Container>,
    proposal: &Proposal,
    claim: &Claim,
) -> OpResult<Vec<String>> {
    let needed = pipeline.members.len() / 2 + 1;
    let mut asked: FuturesUnordered<_> = pipeline
        .members
        .iter()
        .map(|member| async move { (member, ask(node, member, container, proposal, claim).await) })
        .collect();
    let mut have = Vec::new();
    let mut lacking = Vec::new();
    while let Some((member, held)) = asked.next().await {
        match held {
            Ok(Held::Yes) => have.push(member.uuid.to_string()),
            Ok(Held::No(why)) => lacking.push(format!("{}: {why}", member.uuid)),
            Err(error) => lacking.push(format!("{}: {error}", member.uuid)),
        }
        if have.len() >= needed {
            return Ok(have);
        }
    }
    let text = format!(
        "the bytes of block {}/{} are on {} of {} members, {needed} are needed: {}",
        proposal.container,
        proposal.local,
        have.len(),
        pipeline.members.len(),
        lacking.join("; ")
    );
    Err(OpError::new(Code::IoException, text))
}

async fn ask(
    node: &Arc<Node>,
    member: &Member,
    container: &Arc<Container>,
    proposal: &Proposal,
    claim: &Claim,
) -> OpResult<Held> {
    let (local, sync) = (proposal.local, proposal.sync);
    if member.uuid != node.uuid {
        return node
            .peers
            .holds(&member.address, (proposal.container, local), claim, sync)
            .await;
    }
    let claim = claim.clone();
    let lane = if sync { Lane::Sync } else { Lane::Read };
    on_container(container, lane, move |container| {
        container.hold(local, &claim, sync)
    })
    .await
}

/// Closes a container at the same point on every member.
pub(crate) async fn close_in_log(pipeline: &Pipeline, container: i64) -> OpResult<()> {
    let entry = Entry::CommitClose(CommitClose {
        container_id: container,
    });
    propose(pipeline, entry).await.map(drop)
}

async fn propose(pipeline: &Pipeline, command: Entry) -> OpResult<CommitReply> {
    let entry = PipelineEntry {
        version: ENTRY_VERSION,
        command: Some(command),
    };
    let reply = pipeline
        .group
        .propose(Bytes::from(entry.encode_to_vec()))
        .await;
    let reply = reply.map_err(|error| refused(pipeline, error))?;
    let reply = CommitReply::decode(reply)
        .map_err(|error| OpError::internal(format!("reply of the pipeline's log: {error}")))?;
    let code = i32::try_from(reply.result)
        .ok()
        .and_then(|code| Code::try_from(code).ok());
    match code {
        Some(Code::Success) => Ok(reply),
        Some(code) => Err(OpError::new(code, reply.message)),
        None => Err(OpError::internal(reply.message)),
    }
}

fn refused(pipeline: &Pipeline, error: RaftError) -> OpError {
    match error {
        RaftError::NotLeader { leader } | RaftError::LeaderChanged { leader } => not_leader(leader),
        RaftError::ShuttingDown => OpError::new(
            Code::PipelineNotFound,
            format!("pipeline {} is closing", pipeline.id),
        ),
        other => OpError::new(
            Code::IoException,
            format!("pipeline {}: {other}", pipeline.id),
        ),
    }
}

fn not_leader(leader: Option<ozone_raft::Peer>) -> OpError {
    let text = match &leader {
        Some(peer) => format!("datanode {} leads this pipeline", peer.id),
        None => "this datanode does not lead the pipeline, and knows no leader".to_owned(),
    };
    let leader = leader.map(|peer| peer.id.to_string());
    OpError {
        code: Code::PipelineNotLeader,
        message: text,
        leader,
    }
}
