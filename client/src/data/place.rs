//! Where one block is: the members of its pipeline, how to reach them, and the token to show.

use std::sync::Arc;

use ozone_proto::hdds::datanode::DatanodeBlockId;
use ozone_proto::hdds::{DatanodeDetailsProto, PipelineId};
use ozone_proto::namespace::{BlockLocation, BlockSource};

use crate::{ClientError, Result};

/// The name of the port on which a datanode serves blocks.
const PORT: &str = "STANDALONE";

/// A datanode of a pipeline.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) uuid: String,
    /// `host:port` of its block service.
    pub(super) address: Arc<str>,
    pub(super) details: DatanodeDetailsProto,
}

/// A block and its pipeline. Members come in the order in which they are to be asked for writes:
/// the leader first.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) container: u64,
    pub(super) local: u64,
    pub(super) pipeline: String,
    pub(super) token: String,
    pub(super) members: Vec<Member>,
}

impl Place {
    pub(super) fn new(location: &BlockLocation) -> Result<Self> {
        let block = format!("{}:{}", location.container, location.local);
        let Some(pipeline) = &location.pipeline else {
            return Err(ClientError::protocol(
                "OM",
                format!("block {block} has no pipeline"),
            ));
        };
        let mut members = pipeline
            .members
            .iter()
            .map(Member::new)
            .collect::<Result<Vec<_>>>()?;
        if members.is_empty() {
            return Err(ClientError::unavailable(
                format!("block {block}"),
                "no replica is known",
            ));
        }
        if let Some(leader) = &pipeline.leader_id {
            members.sort_by_key(|member| member.uuid != *leader);
        }
        Ok(Self {
            container: location.container,
            local: location.local,
            pipeline: id_text(&pipeline.id),
            token: location.token.clone(),
            members,
        })
    }

    /// Members that make a majority.
    pub(super) fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// The index of a member by its UUID.
    pub(super) fn index(&self, uuid: &str) -> Option<usize> {
        self.members.iter().position(|member| member.uuid == uuid)
    }

    pub(super) fn id(&self, bcsid: u64) -> DatanodeBlockId {
        DatanodeBlockId {
            container_id: self.container as i64,
            local_id: self.local as i64,
            block_commit_sequence_id: Some(bcsid),
            replica_index: None,
        }
    }

    pub(super) fn source(&self) -> BlockSource {
        BlockSource {
            container: self.container,
            local: self.local,
            offset: 0,
            bcsid: 0,
        }
    }

    /// `container:local`.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.container, self.local)
    }
}

impl Member {
    fn new(details: &DatanodeDetailsProto) -> Result<Self> {
        let by_name = details.ports.iter().find(|port| port.name == PORT);
        let Some(port) = by_name else {
            let what = format!("datanode {} has no {PORT} port", details.host_name);
            return Err(ClientError::protocol("OM", what));
        };
        let host = match details.ip_address.is_empty() {
            true => details.host_name.as_str(),
            false => details.ip_address.as_str(),
        };
        let address = match host.contains(':') {
            true => format!("[{host}]:{}", port.value),
            false => format!("{host}:{}", port.value),
        };
        Ok(Self {
            uuid: uuid_text(details),
            address: address.into(),
            details: details.clone(),
        })
    }
}

fn uuid_text(details: &DatanodeDetailsProto) -> String {
    match (&details.uuid, &details.uuid128) {
        (Some(uuid), _) => uuid.clone(),
        (None, Some(id)) => from_halves(id.most_sig_bits, id.least_sig_bits),
        (None, None) => String::new(),
    }
}

fn id_text(id: &PipelineId) -> String {
    match (&id.id, &id.uuid128) {
        (Some(id), _) => id.clone(),
        (None, Some(id)) => from_halves(id.most_sig_bits, id.least_sig_bits),
        (None, None) => String::new(),
    }
}

fn from_halves(most: i64, least: i64) -> String {
    uuid::Uuid::from_u64_pair(most as u64, least as u64).to_string()
}
