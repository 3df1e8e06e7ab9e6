//! A model that tests apply operations to, without a database.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use ozone_common::ids::{DatanodeId, PipelineId};
use ozone_proto::hdds::DatanodeDetailsProto;
use uuid::Uuid;

use super::{AddContainer, AddDatanode, AddPipeline, Answer, Op, OpenPipeline, Refusal};
use crate::model::{Change, DeletedQueue, Model, QueueError, View};
use crate::pipeline::Replication;
use crate::rows::{DeletedBlocksRow, uuid_bytes};

/// State with a queue in memory.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) model: Model,
    queue: RefCell<BTreeMap<u64, DeletedBlocksRow>>,
}

impl DeletedQueue for World {
    fn transaction(&self, id: u64) -> Result<Option<DeletedBlocksRow>, QueueError> {
        Ok(self.queue.borrow().get(&id).cloned())
    }
}

impl World {
    /// Validates and applies.
    pub(crate) fn run(&mut self, op: &impl Op) -> Result<Answer, Refusal> {
        let view = View {
            model: &self.model,
            queue: self,
        };
        op.validate(view)?;
        let mut out = Vec::new();
        let answer = op.apply(view, &mut out).expect("queue in memory");
        for change in out {
            match &change {
                Change::DeletedBlocks(id, row) => {
                    self.queue.borrow_mut().insert(*id, row.clone());
                }
                Change::DeletedBlocksGone(id) => {
                    self.queue.borrow_mut().remove(id);
                }
                _ => {}
            }
            self.model.absorb(&change);
        }
        Ok(answer)
    }

    /// Transactions in the queue.
    pub(crate) fn queue(&self) -> BTreeMap<u64, DeletedBlocksRow> {
        self.queue.borrow().clone()
    }

    /// A state with datanodes 1 to `count`.
    pub(crate) fn with_datanodes(count: u128) -> Self {
        let mut world = Self::default();
        for n in 1..=count {
            world.run(&add_datanode(n)).unwrap();
        }
        world
    }

    /// Adds and opens a pipeline.
    pub(crate) fn open_pipeline(&mut self, id: u128, members: &[u128]) -> PipelineId {
        self.run(&add_pipeline(id, members)).unwrap();
        let id = pipeline_id(id);
        self.run(&OpenPipeline { id: uuid_bytes(id) }).unwrap();
        id
    }

    /// Adds a container to a pipeline.
    pub(crate) fn add_container(&mut self, pipeline: PipelineId) -> u64 {
        let op = AddContainer {
            pipeline: uuid_bytes(pipeline),
            owner: "om".to_owned(),
            at_ms: 1,
        };
        match self.run(&op).unwrap() {
            Answer::First(id) => id,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn pipeline_id(n: u128) -> PipelineId {
    PipelineId(Uuid::from_u128(n))
}

pub(crate) fn node_id(n: u128) -> DatanodeId {
    DatanodeId(Uuid::from_u128(n))
}

pub(crate) fn details(n: u128) -> DatanodeDetailsProto {
    DatanodeDetailsProto {
        uuid: Some(node_id(n).to_string()),
        ip_address: "127.0.0.1".to_owned(),
        host_name: format!("dn{n}"),
        ..DatanodeDetailsProto::default()
    }
}

pub(crate) fn add_datanode(n: u128) -> AddDatanode {
    AddDatanode {
        details: Some(details(n)),
        layout_version: 1,
        at_ms: 1,
    }
}

pub(crate) fn add_pipeline(id: u128, members: &[u128]) -> AddPipeline {
    let replication = match members.len() {
        1 => Replication::One,
        _ => Replication::Three,
    };
    AddPipeline {
        id: uuid_bytes(pipeline_id(id)),
        factor: replication.factor() as i32,
        members: members.iter().map(|m| uuid_bytes(node_id(*m))).collect(),
        suggested_leader: uuid_bytes(node_id(members[0])),
        at_ms: 1,
    }
}
