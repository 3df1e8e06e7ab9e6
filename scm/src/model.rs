//! The replicated state in memory: what every decision and every block allocation reads.
//!
//! It is built from the tables at start and changed only by [`Change`]s of applied commands, which
//! are written to the tables in the same batch. Deleted-block transactions and certificates, of
//! which there may be many, stay in the tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ozone_common::ids::{ContainerId, DatanodeId, PipelineId};
use ozone_security::secret_keys::SecretKey;

use crate::container::{Container, LifeCycleState};
use crate::pipeline::{Pipeline, Replication};
use crate::rows::{CertificateRow, Datanode, DeletedBlocksRow, DeletedBlocksSummary, SequenceRow};

/// One row that an applied command changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// A pipeline is new or different.
    Pipeline(Pipeline),
    /// A pipeline is gone.
    PipelineGone(PipelineId),
    /// A container is new or different.
    Container(Container),
    /// A datanode is new or different.
    Datanode(Datanode),
    /// A counter moved to this last value.
    Sequence(String, SequenceRow),
    /// A signing key is new.
    SigningKey(SecretKey),
    /// A signing key is no longer trusted.
    SigningKeyGone(uuid::Uuid),
    /// Blocks to be deleted, by transaction id.
    DeletedBlocks(u64, DeletedBlocksRow),
    /// A transaction is done.
    DeletedBlocksGone(u64),
    /// Sums over the queue of deleted blocks.
    DeletedBlocksSummary(DeletedBlocksSummary),
    /// A certificate was issued, by serial number (big endian); to an SCM or to another node.
    Certificate {
        /// Serial number.
        serial: Vec<u8>,
        /// The certificate.
        row: CertificateRow,
        /// Whether an SCM holds it.
        scm: bool,
    },
}

/// Replicated state.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model {
    pipelines: BTreeMap<PipelineId, Arc<Pipeline>>,
    containers: BTreeMap<ContainerId, Arc<Container>>,
    datanodes: BTreeMap<DatanodeId, Arc<Datanode>>,
    sequences: BTreeMap<String, u64>,
    /// Oldest first.
    keys: Vec<Arc<SecretKey>>,
    /// Grows when the keys change.
    keys_version: u64,
    deleted: DeletedBlocksSummary,
    /// Derived: ids of open containers by pipeline.
    open_containers: HashMap<PipelineId, BTreeSet<ContainerId>>,
    /// Derived: ids of open pipelines by replication.
    open_pipelines: BTreeMap<Replication, Vec<PipelineId>>,
    /// Derived: containers that are in no final state and not open.
    unsettled: BTreeSet<ContainerId>,
}

impl Model {
    /// A pipeline.
    pub(crate) fn pipeline(&self, id: PipelineId) -> Option<&Arc<Pipeline>> {
        self.pipelines.get(&id)
    }

    /// All pipelines.
    pub(crate) fn pipelines(&self) -> impl Iterator<Item = &Arc<Pipeline>> {
        self.pipelines.values()
    }

    /// Ids of the open pipelines of a replication.
    pub(crate) fn open_pipelines(&self, replication: Replication) -> &[PipelineId] {
        self.open_pipelines
            .get(&replication)
            .map_or(&[], Vec::as_slice)
    }

    /// A container.
    pub(crate) fn container(&self, id: ContainerId) -> Option<&Arc<Container>> {
        self.containers.get(&id)
    }

    /// Containers from an id on, in order.
    pub(crate) fn containers_from(&self, id: ContainerId) -> impl Iterator<Item = &Arc<Container>> {
        self.containers.range(id..).map(|(_, container)| container)
    }

    /// Ids of the open containers of a pipeline.
    pub(crate) fn open_containers(
        &self,
        pipeline: PipelineId,
    ) -> impl Iterator<Item = ContainerId> + '_ {
        self.open_containers
            .get(&pipeline)
            .into_iter()
            .flatten()
            .copied()
    }

    /// Ids of the containers on their way from open to closed, or from closed to deleted.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = ContainerId> + '_ {
        self.unsettled.iter().copied()
    }

    /// A datanode that registered once.
    pub(crate) fn datanode(&self, id: DatanodeId) -> Option<&Arc<Datanode>> {
        self.datanodes.get(&id)
    }

    /// All datanodes that ever registered.
    pub(crate) fn datanodes(&self) -> impl Iterator<Item = &Arc<Datanode>> {
        self.datanodes.values()
    }

    /// The last number that a counter gave; 0 if none.
    pub(crate) fn last_of(&self, sequence: &str) -> u64 {
        self.sequences.get(sequence).copied().unwrap_or(0)
    }

    /// Signing keys, oldest first.
    pub(crate) fn keys(&self) -> &[Arc<SecretKey>] {
        &self.keys
    }

    /// A number that differs when the keys differ: when the newest was made (ms), and how many.
    pub(crate) fn keys_version(&self) -> u64 {
        self.keys_version
    }

    /// Sums over the queue of deleted blocks.
    pub(crate) fn deleted(&self) -> &DeletedBlocksSummary {
        &self.deleted
    }

    /// Takes a change in.
    pub(crate) fn absorb(&mut self, change: &Change) {
        match change {
            Change::Pipeline(pipeline) => self.absorb_pipeline(pipeline),
            Change::PipelineGone(id) => {
                self.pipelines.remove(id);
                self.open_containers.remove(id);
                self.list_open_pipelines();
            }
            Change::Container(container) => self.absorb_container(container),
            Change::Datanode(datanode) => {
                self.datanodes
                    .insert(datanode.id, Arc::new(datanode.clone()));
            }
            Change::Sequence(name, row) => {
                self.sequences.insert(name.clone(), row.last);
            }
            Change::SigningKey(key) => {
                self.keys.retain(|old| old.id != key.id);
                self.keys.push(Arc::new(key.clone()));
                self.keys.sort_by_key(|key| (key.created_ms, key.id));
                self.number_keys();
            }
            Change::SigningKeyGone(id) => {
                self.keys.retain(|key| key.id != *id);
                self.number_keys();
            }
            Change::DeletedBlocksSummary(summary) => self.deleted = summary.clone(),
            Change::DeletedBlocks(..)
            | Change::DeletedBlocksGone(_)
            | Change::Certificate { .. } => {}
        }
    }

    fn absorb_pipeline(&mut self, pipeline: &Pipeline) {
        self.pipelines
            .insert(pipeline.id, Arc::new(pipeline.clone()));
        self.list_open_pipelines();
    }

    fn list_open_pipelines(&mut self) {
        self.open_pipelines.clear();
        for pipeline in self.pipelines.values().filter(|p| p.is_open()) {
            let open = self.open_pipelines.entry(pipeline.replication).or_default();
            open.push(pipeline.id);
        }
    }

    fn absorb_container(&mut self, container: &Container) {
        let open = self.open_containers.entry(container.pipeline).or_default();
        match container.state {
            LifeCycleState::Open => open.insert(container.id),
            _ => open.remove(&container.id),
        };
        if open.is_empty() {
            self.open_containers.remove(&container.pipeline);
        }
        match container.state {
            LifeCycleState::Closing | LifeCycleState::QuasiClosed | LifeCycleState::Deleting => {
                self.unsettled.insert(container.id)
            }
            _ => self.unsettled.remove(&container.id),
        };
        self.containers
            .insert(container.id, Arc::new(container.clone()));
    }

    fn number_keys(&mut self) {
        // Equal on every replica and after every restart, unlike a count of changes.
        let newest = self.keys.last().map_or(0, |key| key.created_ms);
        self.keys_version = (newest << 8) | (self.keys.len() as u64 & 0xff);
    }
}

/// Deleted-block transactions, as an operation sees them: in the table, with the effects of the
/// commands before it in the same batch.
pub(crate) trait DeletedQueue {
    /// A transaction that is not done.
    fn transaction(&self, id: u64) -> Result<Option<DeletedBlocksRow>, QueueError>;
}

/// The table could not be read.
#[derive(Debug, thiserror::Error)]
#[error("deletedBlocks: {0}")]
pub(crate) struct QueueError(#[source] pub(crate) Box<dyn std::error::Error + Send + Sync>);

/// What an operation sees.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// Everything that is in memory.
    pub(crate) model: &'a Model,
    /// What is not.
    pub(crate) queue: &'a dyn DeletedQueue,
}
