//! The worker that looks for containers with too few or too many replicas.
//!
//! Reports name the containers to look at; now and then it looks at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::ids::{ContainerId, DatanodeId};
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::scm::{self as wire, command::Body};
use tokio_util::sync::CancellationToken;

use super::{Order, decide};
use crate::container::{Container, id_to_wire};
use crate::node::{CommandKey, NodeCommand};
use crate::scm::Scm;

/// Name of the worker.
pub(crate) const NAME: &str = "scm-replication";
/// Containers looked at before others get their turn.
const PAGE: usize = 1000;

/// Orders copies and deletions.
pub(crate) struct Replicator {
    scm: Arc<Scm>,
    /// Orders under way, and when each was given.
    ordered: HashMap<ContainerId, (Order, Duration)>,
    /// Datanodes that failed at a container, and when: others are tried first.
    failed: HashMap<(ContainerId, DatanodeId), Duration>,
    /// When all containers were last looked at.
    swept: Option<Duration>,
}

#[async_trait]
impl Worker for Replicator {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        if self.scm.log.serving_term().is_none() || self.scm.safemode.is_on() {
            return Ok(Next::WhenWoken);
        }
        let now = self.scm.clock.monotonic();
        let interval = self.scm.settings.replication_interval;
        let look = self.scm.replication_due.take();
        look.failed.iter().for_each(|id| self.give_up(*id, now));
        let sweep = self
            .swept
            .is_none_or(|last| now.saturating_sub(last) >= interval);
        if look.all || sweep {
            self.swept = Some(now);
            self.look_at_all(gate).await;
        } else {
            let named: Vec<_> = {
                let model = self.scm.store.model();
                let found = look.named.iter().filter_map(|id| model.container(*id));
                found.cloned().collect()
            };
            self.look_at(&named);
        }
        Ok(Next::After(interval))
    }
}

impl Replicator {
    pub(crate) fn new(scm: Arc<Scm>) -> Self {
        Self {
            scm,
            ordered: HashMap::new(),
            failed: HashMap::new(),
            swept: None,
        }
    }

    /// The order for a container was not carried out.
    fn give_up(&mut self, id: ContainerId, now: Duration) {
        if let Some((order, _)) = self.ordered.remove(&id) {
            let involved = order.involved();
            let failed = involved.map(|node| ((id, node), now));
            self.failed.extend(failed);
        }
    }

    async fn look_at_all(&mut self, gate: &CancellationToken) {
        let mut from = ContainerId(1);
        while !gate.is_cancelled() {
            let page: Vec<Arc<Container>> = {
                let model = self.scm.store.model();
                model.containers_from(from).take(PAGE).cloned().collect()
            };
            let Some(last) = page.last() else { return };
            from = ContainerId(last.id.get() + 1);
            self.look_at(&page);
            tokio::task::yield_now().await;
        }
    }

    fn look_at(&mut self, containers: &[Arc<Container>]) {
        let now = self.scm.clock.monotonic();
        let timeout = self.scm.settings.replication_timeout;
        let nodes = self.scm.nodes.views();
        self.ordered
            .retain(|_, (_, at)| now.saturating_sub(*at) < timeout);
        self.failed
            .retain(|_, at| now.saturating_sub(*at) < timeout);
        for container in containers {
            let replicas = self.scm.replicas.of(container.id);
            match self.ordered.get(&container.id) {
                Some((order, _)) if !order.is_done(&replicas) => continue,
                _ => self.ordered.remove(&container.id),
            };
            let orders = || self.ordered.values().map(|(order, _)| order);
            let busy = |id: DatanodeId| {
                let concern = |order: &&Order| order.involved().any(|node| node == id);
                orders().filter(concern).count()
            };
            let shunned = |id: DatanodeId| match self.failed.contains_key(&(container.id, id)) {
                true => usize::MAX,
                false => busy(id),
            };
            let order = decide(container, &replicas, &nodes, shunned);
            let limit = self.scm.settings.replication_limit;
            if let Some(order) = order.filter(|order| busy(order.receiver()) < limit) {
                self.give(container.id, order, now);
            }
        }
    }

    fn give(&mut self, id: ContainerId, order: Order, now: Duration) {
        let patience = self.scm.settings.replication_timeout;
        let container_id = id_to_wire(id);
        let (key, body) = match order {
            Order::Copy { target, .. } => {
                let copy = wire::ReplicateContainer {
                    container_id,
                    target: self.scm.details(target),
                };
                let key = CommandKey::Replicate(id, target);
                (key, Body::ReplicateContainer(copy))
            }
            Order::Delete { .. } => {
                let delete = wire::DeleteContainer {
                    container_id,
                    force: true,
                };
                (
                    CommandKey::DeleteContainer(id),
                    Body::DeleteContainer(delete),
                )
            }
        };
        let command = NodeCommand {
            key,
            body,
            patience,
        };
        if self.scm.nodes.tell(order.receiver(), command, now) {
            tracing::info!(container = %id, ?order, "number of replicas is put right");
            self.ordered.insert(id, (order, now));
        }
    }
}
