//! Where one block is: the members of its pipeline, how to reach them, and the token to show.

use std::sync::Arc;

use ozone_proto::hdds::DatanodeDetailsProto;
use ozone_proto::hdds::datanode::DatanodeBlockId;
use ozone_proto::local::{LocalRequest, local_request::Body};
use ozone_proto::namespace::{BlockLocation, BlockSource};
use ozone_proto::place::CLIENT_PORT;

use crate::{ClientError, Result};

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
            pipeline: pipeline.id.text(),
            token: location.token.clone(),
            members,
        })
    }

    /// What a datanode of this machine is asked about the block.
    pub(super) fn ask_locally(&self, body: Body) -> LocalRequest {
        LocalRequest {
            container: self.container as i64,
            local: self.local as i64,
            token: self.token.clone(),
            body: Some(body),
        }
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
        let address = details.address(CLIENT_PORT).ok_or_else(|| {
            let what = format!("datanode {} has no {CLIENT_PORT} port", details.host_name);
            ClientError::protocol("OM", what)
        })?;
        Ok(Self {
            uuid: details.uuid_text(),
            address: address.into(),
            details: details.clone(),
        })
    }
}
