//! The worker that looks for containers with lost replicas and orders copies.

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

/// Goes through all containers.
pub(crate) struct Replicator {
    scm: Arc<Scm>,
    /// Copies under way, and when each was ordered.
    ordered: HashMap<ContainerId, (Order, Duration)>,
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
        let mut from = ContainerId(1);
        while !gate.is_cancelled() {
            let page: Vec<Arc<Container>> = {
                let model = self.scm.store.model();
                model.containers_from(from).take(PAGE).cloned().collect()
            };
            let Some(last) = page.last() else { break };
            from = ContainerId(last.id.get() + 1);
            self.look_at(&page);
            tokio::task::yield_now().await;
        }
        Ok(Next::After(self.scm.settings.replication_interval))
    }
}

impl Replicator {
    pub(crate) fn new(scm: Arc<Scm>) -> Self {
        Self {
            scm,
            ordered: HashMap::new(),
        }
    }

    fn look_at(&mut self, containers: &[Arc<Container>]) {
        let now = self.scm.clock.monotonic();
        let (timeout, limit) = (
            self.scm.settings.replication_timeout,
            self.scm.settings.replication_limit,
        );
        let nodes = self.scm.nodes.views();
        self.ordered
            .retain(|_, (_, at)| now.saturating_sub(*at) < timeout);
        for container in containers {
            let replicas = self.scm.replicas.of(container.id);
            if let Some((order, _)) = self.ordered.get(&container.id) {
                if !replicas.iter().any(|replica| replica.node == order.target) {
                    continue;
                }
                self.ordered.remove(&container.id);
            }
            let orders = || self.ordered.values().map(|(order, _)| order);
            let busy = |id: DatanodeId| {
                orders()
                    .filter(|order| order.source == id || order.target == id)
                    .count()
            };
            let order = decide(container, &replicas, &nodes, busy);
            let Some(order) = order.filter(|order| busy(order.source) < limit) else {
                continue;
            };
            let command = NodeCommand {
                key: CommandKey::Replicate(container.id),
                body: Body::ReplicateContainer(wire::ReplicateContainer {
                    container_id: id_to_wire(container.id),
                    target: self.scm.details(order.target),
                }),
                patience: timeout,
            };
            if self.scm.nodes.tell(order.source, command, now) {
                tracing::info!(container = %container.id, source = %order.source, target = %order.target, "replica is made anew");
                self.ordered.insert(container.id, (order, now));
            }
        }
    }
}
