//! The one loop that acts: it looks at reports and replicated state, lets the pure decisions say
//! what follows, and carries that out through the log and the datanodes' command queues.
//!
//! Reports only note what changed and ask for a look, so decisions are never made twice at once.
//! Between reports a slow tick looks for silence and repeats what had no effect.

mod containers;
mod pipelines;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use ozone_common::ids::{ContainerId, DatanodeId};
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::hdds::DatanodeDetailsProto;
use ozone_security::secret_keys::{SecretKey, SecretKeys};
use tokio_util::sync::CancellationToken;

use crate::deleted_blocks;
use crate::error::ScmError;
use crate::node::Health;
use crate::ops::{AddDatanode, Command, RotateSecretKey};
use crate::rows::uuid_bytes;
use crate::safemode::Facts;
use crate::scm::Scm;

/// Name of the worker.
pub(crate) const NAME: &str = "scm-coordinator";
/// Proposals under way at a time.
const PROPOSALS: usize = 256;

/// The loop.
pub(crate) struct Coordinator {
    scm: Arc<Scm>,
    /// When everything was last looked at, not only what changed.
    last_sweep: Option<Duration>,
    /// The term in which this SCM served when it last looked.
    term: Option<u64>,
}

#[async_trait]
impl Worker for Coordinator {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    async fn work(&mut self, _: &CancellationToken) -> Result<Next, WorkError> {
        let ticket = self.scm.attention.wanted();
        let looked = self.look().await;
        self.scm.attention.finish(ticket);
        match looked {
            // Whoever leads now will decide.
            Ok(()) | Err(ScmError::NotLeader { .. } | ScmError::ShuttingDown) => {
                Ok(Next::After(self.scm.settings.health_interval))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Coordinator {
    pub(crate) fn new(scm: Arc<Scm>) -> Self {
        Self {
            scm,
            last_sweep: None,
            term: None,
        }
    }

    async fn look(&mut self) -> Result<(), ScmError> {
        let now = self.scm.clock.monotonic();
        let term = self.scm.log.serving_term();
        if term.is_some() && self.term != term {
            // Only now is it certain that the tables hold everything that was acknowledged.
            self.scm.expect_the_known(now);
            self.term = term;
        }
        self.refresh_health(now);
        if term.is_some() {
            let interval = self.scm.settings.health_interval;
            let sweep = self.last_sweep.is_none_or(|last| now - last >= interval);
            if sweep {
                self.last_sweep = Some(now);
            }
            self.rotate_key().await?;
            self.record_datanodes().await?;
            let changed = self.look_at_pipelines(now).await?;
            if sweep || changed {
                let unsettled: Vec<ContainerId> = self.scm.store.model().unsettled().collect();
                self.scm.attention.mark(unsettled);
            }
            self.look_at_containers(now).await?;
            // After the containers: they close better while their pipeline is still there.
            self.tell_members(now);
        }
        self.judge_safe_mode(now);
        Ok(())
    }

    /// Notes who fell silent, and gives up what the dead held.
    fn refresh_health(&self, now: Duration) {
        let changes = self.scm.nodes.refresh(now);
        for (node, health) in &changes {
            tracing::warn!(%node, %health, "datanode fell silent");
            if *health == Health::Dead {
                self.scm.reports.drop_node(*node);
                self.scm
                    .replicas_changed(self.scm.replicas.drop_node(*node));
            }
        }
        if changes.iter().any(|(_, health)| *health == Health::Dead) {
            self.scm.look_at_all_replicas();
            self.scm.workers.wake(deleted_blocks::NAME);
        }
    }

    /// Makes the first signing key, and a new one when the newest is old.
    async fn rotate_key(&self) -> Result<(), ScmError> {
        let (policy, now_ms) = (&self.scm.settings.keys, self.scm.clock.wall_ms());
        let known: Vec<_> = self.scm.store.model().keys().to_vec();
        let keys = SecretKeys::new(known.iter().map(|key| key.as_ref().clone()));
        if !keys.is_rotation_due(now_ms, policy) {
            return Ok(());
        }
        let fresh = SecretKey::generate(self.scm.rng.as_ref(), now_ms, policy.expire_after);
        let rotate = Command::RotateSecretKey(RotateSecretKey {
            id: uuid_bytes(fresh.id),
            created_ms: fresh.created_ms,
            expires_ms: fresh.expires_ms,
            key: fresh.bytes,
            previous: known
                .last()
                .map(|key| uuid_bytes(key.id))
                .unwrap_or_default(),
        });
        self.propose_all(vec![rotate]).await.map(|_| ())
    }

    /// Puts on record who registered, perhaps while nobody led.
    async fn record_datanodes(&self) -> Result<(), ScmError> {
        let registered = self.scm.nodes.registrations();
        let commands: Vec<_> = {
            let model = self.scm.store.model();
            let is_new = |id: DatanodeId, details: &DatanodeDetailsProto, layout: u32| {
                model
                    .datanode(id)
                    .is_none_or(|known| known.details != *details || known.layout_version != layout)
            };
            let new = registered
                .iter()
                .filter(|(id, details, layout)| is_new(*id, details, *layout));
            new.map(|(_, details, layout)| {
                Command::AddDatanode(AddDatanode {
                    details: Some(details.as_ref().clone()),
                    layout_version: *layout,
                    at_ms: self.scm.clock.wall_ms(),
                })
            })
            .collect()
        };
        self.propose_all(commands).await.map(|_| ())
    }

    /// Proposes all at once, so that they share the log's fsyncs. Refusals are logged: state moved
    /// on, and the next look sees it. Gives how many took effect.
    async fn propose_all(&self, commands: Vec<Command>) -> Result<usize, ScmError> {
        let mut done = 0;
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let some = commands.by_ref().take(PROPOSALS);
            let proposed = join_all(some.map(|command| self.scm.log.propose(command))).await;
            for outcome in proposed {
                match outcome {
                    Ok(_) => done += 1,
                    Err(ScmError::Refused(reason) | ScmError::NotFound(reason)) => {
                        tracing::debug!(reason, "decision overtaken");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(done)
    }

    fn judge_safe_mode(&self, now: Duration) {
        let safemode = &self.scm.safemode;
        if !safemode.is_on() {
            return;
        }
        // Members that have not come back by now hold up nobody else's pipelines.
        let grace = (self.scm.settings.heartbeat * 2).max(Duration::from_secs(10));
        let waiting = now.saturating_sub(self.scm.started) < grace;
        let mut facts = Facts {
            datanodes: self.scm.nodes.registered(),
            ..Facts::default()
        };
        for pipeline in self.scm.store.model().pipelines().filter(|p| p.is_open()) {
            if self.scm.reports.is_reported(pipeline.id) {
                facts.pipelines_reported += 1;
            } else if waiting {
                facts.pipelines_awaited += 1;
            }
        }
        if safemode.judge(facts) {
            tracing::info!(datanodes = facts.datanodes, "safe mode is over");
            self.scm.workers.wake(deleted_blocks::NAME);
            self.scm.look_at_all_replicas();
        }
    }
}
