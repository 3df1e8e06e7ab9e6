//! Everything that a running SCM shares: the replicated state, what reports say, and the way to
//! ask for a new look at both.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ozone_common::clock::Clock;
use ozone_common::config::Config;
use ozone_common::ids::{ContainerId, DatanodeId};
use ozone_common::rng::Rng;
use ozone_common::worker::Workers;
use ozone_proto::hdds::{self, DatanodeDetailsProto, LifeCycleState};
use ozone_proto::scm as wire;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::authority::Authority;
use crate::block::{Allocator, LocalIds};
use crate::container::replicas::Replicas;
use crate::coordinator;
use crate::deleted_blocks::Deletions;
use crate::layout::Identity;
use crate::log::Log;
use crate::members::Members;
use crate::node::Nodes;
use crate::pipeline::reports::PipelineReports;
use crate::pipeline::{Pipeline, wire as pipeline_wire};
use crate::replication;
use crate::safemode::SafeMode;
use crate::settings::Settings;
use crate::state_machine::Store;

/// Longest wait of a report for the decisions that follow from it, so that its answer can carry
/// their commands.
const DECISION_LIMIT: Duration = Duration::from_secs(1);

/// A running SCM.
pub(crate) struct Scm {
    pub(crate) identity: Identity,
    pub(crate) config: Config,
    pub(crate) members: Members,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    /// Monotonic time of the start.
    pub(crate) started: Duration,
    pub(crate) store: Arc<Store>,
    pub(crate) log: Log,
    pub(crate) nodes: Nodes,
    pub(crate) replicas: Replicas,
    pub(crate) reports: PipelineReports,
    pub(crate) safemode: SafeMode,
    pub(crate) ids: LocalIds,
    pub(crate) allocator: Allocator,
    pub(crate) deletions: Deletions,
    /// None on an SCM that has not been given one.
    pub(crate) authority: Option<Authority>,
    pub(crate) workers: Workers,
    pub(crate) attention: Attention,
    pub(crate) replication_due: replication::Due,
}

/// What the coordinator has to look at, and how far it has come.
#[derive(Debug)]
pub(crate) struct Attention {
    dirty: Mutex<BTreeSet<ContainerId>>,
    close_asked: Mutex<HashSet<ContainerId>>,
    wanted: AtomicU64,
    done: watch::Sender<u64>,
}

impl Attention {
    pub(crate) fn new() -> Self {
        Self {
            dirty: Mutex::default(),
            close_asked: Mutex::default(),
            wanted: AtomicU64::new(0),
            done: watch::Sender::new(0),
        }
    }

    /// These containers are to be looked at.
    pub(crate) fn mark(&self, containers: impl IntoIterator<Item = ContainerId>) {
        self.dirty.lock().extend(containers);
    }

    /// Someone wants a container closed.
    pub(crate) fn ask_to_close(&self, container: ContainerId) {
        self.close_asked.lock().insert(container);
        self.dirty.lock().insert(container);
    }

    /// Whether someone wants a container closed.
    pub(crate) fn is_close_asked(&self, container: ContainerId) -> bool {
        self.close_asked.lock().contains(&container)
    }

    /// A container is no longer open, so that the wish is fulfilled or void.
    pub(crate) fn settle_close(&self, container: ContainerId) {
        self.close_asked.lock().remove(&container);
    }

    /// Takes the containers that are to be looked at.
    pub(crate) fn take(&self) -> BTreeSet<ContainerId> {
        std::mem::take(&mut *self.dirty.lock())
    }

    /// The looks that were asked for so far.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::SeqCst)
    }

    /// All looks asked for up to `ticket` have been had.
    pub(crate) fn finish(&self, ticket: u64) {
        self.done.send_replace(ticket);
    }

    /// Follows how far the coordinator has come.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.done.subscribe()
    }
}

impl Scm {
    /// Replicas of these containers came, went or changed.
    pub(crate) fn replicas_changed(&self, containers: Vec<ContainerId>) {
        if containers.is_empty() {
            return;
        }
        self.safemode.seen(&containers);
        self.replication_due.mark(&containers);
        self.attention.mark(containers);
        self.workers.wake(replication::NAME);
    }

    /// A datanode came or went: every container may have a better place.
    pub(crate) fn look_at_all_replicas(&self) {
        self.replication_due.mark_all();
        self.workers.wake(replication::NAME);
    }

    /// Asks for a look at everything that changed; gives a ticket to wait with.
    pub(crate) fn look(&self) -> u64 {
        let ticket = self.attention.wanted.fetch_add(1, Ordering::SeqCst) + 1;
        self.workers.wake(coordinator::NAME);
        ticket
    }

    /// Asks for a look and waits until it was had, or for a second.
    pub(crate) async fn look_and_wait(&self) {
        let mut done = self.attention.watch();
        let ticket = self.look();
        tokio::select! {
            _ = done.wait_for(|done| *done >= ticket) => {}
            () = self.clock.sleep(DECISION_LIMIT) => {}
        }
    }

    /// Where a datanode is reached: as it said last, or as it is on record.
    pub(crate) fn details(&self, id: DatanodeId) -> Option<DatanodeDetailsProto> {
        if let Some(details) = self.nodes.details(id) {
            return Some(details.as_ref().clone());
        }
        let model = self.store.model();
        model.datanode(id).map(|datanode| datanode.details.clone())
    }

    /// A pipeline for clients: with its members' details and its leader.
    pub(crate) fn pipeline_to_wire(&self, pipeline: &Pipeline) -> hdds::Pipeline {
        let leader = self.reports.leader(pipeline.id);
        let leader = leader.filter(|leader| pipeline.members.contains(leader));
        pipeline_wire::to_proto(pipeline, leader, |id| self.details(id))
    }

    /// The keys that sign block tokens, and their version.
    pub(crate) fn secret_keys(&self) -> (Vec<wire::SecretKey>, u64) {
        let model = self.store.model();
        let keys = model.keys().iter().map(|key| wire::SecretKey {
            id: key.id.as_bytes().to_vec().into(),
            created_ms: i64::try_from(key.created_ms).unwrap_or(i64::MAX),
            expires_ms: i64::try_from(key.expires_ms).unwrap_or(i64::MAX),
            key: key.bytes.clone().into(),
        });
        (keys.collect(), model.keys_version())
    }

    /// The address under which OMs reach the leader, if it is known to be another SCM.
    pub(crate) fn leader_hint(&self) -> Option<String> {
        let leader = self.log.group().leader()?;
        self.members.block_address(&self.config, &leader.address)
    }

    /// Takes over what the tables know: datanodes that may come back, from `now` on, and containers
    /// that have to.
    pub(crate) fn expect_the_known(&self, now: Duration) {
        let model = self.store.model();
        for datanode in model.datanodes() {
            self.nodes.expect(datanode.id, &datanode.details, now);
        }
        let with_data = model.containers_from(ContainerId(0)).filter(|container| {
            let closed = container.state == LifeCycleState::Closed;
            closed && (container.blocks > 0 || container.used_bytes > 0)
        });
        let with_data: HashSet<_> = with_data.map(|container| container.id).collect();
        drop(model);
        self.safemode.expect(with_data.clone());
        // Reports may have come before.
        let reported = with_data
            .into_iter()
            .filter(|id| !self.replicas.of(*id).is_empty());
        self.safemode.seen(&reported.collect::<Vec<_>>());
    }
}
