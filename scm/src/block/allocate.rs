//! `AllocateScmBlock`: a pipeline, a container in it, and a new local id, for each block.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ozone_common::ids::{BlockId, ContainerId, LocalId, PipelineId};
use parking_lot::Mutex;

use super::choose::{self, Excluded};
use crate::error::ScmError;
use crate::ops::{AddContainer, Command, SequenceRange, sequence};
use crate::pipeline::{Pipeline, Replication};
use crate::rows::uuid_bytes;
use crate::scm::Scm;

/// Most blocks of one request.
pub(crate) const MOST_BLOCKS: u64 = 10_000;
/// Longest wait for a pipeline that is about to open: longer than one waits for its third member.
const PIPELINE_LIMIT: Duration = Duration::from_secs(10);
/// Open containers per pipeline, as a multiple of the usual number, from which a client's wish to
/// avoid containers no longer makes new ones.
const EXCLUSION_BOUND: usize = 4;

/// What a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct BlockRequest {
    /// Bytes of each block.
    pub(crate) size: u64,
    /// Blocks.
    pub(crate) count: u64,
    /// Replicas of each.
    pub(crate) replication: Replication,
    /// The service that asks.
    pub(crate) owner: String,
    /// What the client had trouble with.
    pub(crate) excluded: Excluded,
}

/// One block.
#[derive(Debug, Clone)]
pub(crate) struct AllocatedBlock {
    /// Its id.
    pub(crate) id: BlockId,
    /// Who stores it.
    pub(crate) pipeline: Arc<Pipeline>,
}

/// What allocation remembers between requests.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    /// Turns taken; decides which pipeline and container are next.
    turn: AtomicUsize,
    /// Held while a container is made for a pipeline, so that one at a time is.
    making: Mutex<HashMap<PipelineId, Weak<tokio::sync::Mutex<()>>>>,
}

impl Allocator {
    fn maker(&self, pipeline: PipelineId) -> Arc<tokio::sync::Mutex<()>> {
        let mut making = self.making.lock();
        if let Some(maker) = making.get(&pipeline).and_then(Weak::upgrade) {
            return maker;
        }
        making.retain(|_, maker| maker.strong_count() > 0);
        let maker = Arc::default();
        making.insert(pipeline, Arc::downgrade(&maker));
        maker
    }
}

impl Scm {
    /// Hands out blocks.
    pub(crate) async fn allocate(
        self: &Arc<Self>,
        request: &BlockRequest,
    ) -> Result<Vec<AllocatedBlock>, ScmError> {
        self.log.require_leader()?;
        if self.safemode.is_on() {
            return Err(ScmError::SafeMode {
                reason: self.safemode.reason(),
            });
        }
        let limit = self.settings.container_size;
        if request.size == 0 || request.size > limit || !(1..=MOST_BLOCKS).contains(&request.count)
        {
            let (count, size) = (request.count, request.size);
            return Err(ScmError::BadSize {
                count,
                size,
                limit,
                most: MOST_BLOCKS,
            });
        }
        let candidates = self.candidates(request).await?;
        let ids = self.local_ids(request.count).await?;
        let mut blocks = Vec::with_capacity(candidates.len());
        for id in ids {
            let turn = self.allocator.turn.fetch_add(1, Ordering::Relaxed);
            let pipeline = &candidates[turn % candidates.len()];
            let container = self
                .container(pipeline, turn / candidates.len(), request)
                .await?;
            let id = BlockId {
                container,
                local: LocalId(id),
            };
            blocks.push(AllocatedBlock {
                id,
                pipeline: pipeline.clone(),
            });
        }
        Ok(blocks)
    }

    /// The pipelines that may take a block, at least one; waits for one that is about to open.
    async fn candidates(&self, request: &BlockRequest) -> Result<Vec<Arc<Pipeline>>, ScmError> {
        let mut looks = self.attention.watch();
        let deadline = self.clock.monotonic() + PIPELINE_LIMIT;
        loop {
            looks.borrow_and_update();
            let open = self.open_pipelines(request.replication);
            if !open.is_empty() {
                return Ok(choose::candidates(open, &request.excluded));
            }
            let left = deadline.saturating_sub(self.clock.monotonic());
            let usable = self
                .nodes
                .views()
                .iter()
                .filter(|node| node.is_usable())
                .count();
            let needed = request.replication.replicas();
            if usable < needed || left.is_zero() {
                return Err(ScmError::NoPipeline {
                    replication: request.replication.to_string(),
                    reason: format!("{usable} healthy datanodes, {needed} are needed"),
                });
            }
            tokio::select! {
                changed = looks.changed() => changed.map_err(|_| ScmError::ShuttingDown)?,
                () = self.clock.sleep(left) => {}
            }
        }
    }

    fn open_pipelines(&self, replication: Replication) -> Vec<Arc<Pipeline>> {
        let model = self.store.model();
        let open = model.open_pipelines(replication).iter();
        open.filter_map(|id| model.pipeline(*id).cloned()).collect()
    }

    async fn local_ids(self: &Arc<Self>, count: u64) -> Result<std::ops::Range<u64>, ScmError> {
        loop {
            if let Some(ids) = self.ids.take(count) {
                if self.ids.is_low() {
                    let scm = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = scm.refill_ids().await {
                            tracing::debug!(%error, "no further local ids yet");
                        }
                    });
                }
                return Ok(ids);
            }
            self.refill_ids().await?;
        }
    }

    /// Reserves local ids if few are left.
    pub(crate) async fn refill_ids(&self) -> Result<(), ScmError> {
        let reserve = |count| {
            self.log.propose(Command::SequenceRange(SequenceRange {
                name: sequence::LOCAL_ID.to_owned(),
                count,
            }))
        };
        self.ids.refill(reserve).await
    }

    /// The container of a pipeline that takes the next block. Makes one if none has room, and asks
    /// for another while there are fewer than usual.
    async fn container(
        self: &Arc<Self>,
        pipeline: &Pipeline,
        turn: usize,
        request: &BlockRequest,
    ) -> Result<ContainerId, ScmError> {
        let (count, found) = self.choose_container(pipeline.id, turn, request);
        let usual = self.settings.containers_per_pipeline;
        if let Some(found) = found {
            if count < usual {
                self.make_container_soon(pipeline.id, &request.owner);
            }
            return Ok(found);
        }
        let maker = self.allocator.maker(pipeline.id);
        let _one = maker.lock().await;
        // Whoever had the lock before may have made one.
        match self.choose_container(pipeline.id, turn, request).1 {
            Some(found) => Ok(found),
            None => self.make_container(pipeline.id, &request.owner).await,
        }
    }

    /// How many containers a pipeline has open, and the one that takes the next block.
    fn choose_container(
        &self,
        pipeline: PipelineId,
        turn: usize,
        request: &BlockRequest,
    ) -> (usize, Option<ContainerId>) {
        let open: Vec<ContainerId> = self.store.model().open_containers(pipeline).collect();
        let (size, limit) = (request.size, self.settings.container_size);
        let used = |id| self.replicas.used_bytes(id);
        let mut found = choose::container(&open, &request.excluded, size, limit, turn, used);
        let bound = self
            .settings
            .containers_per_pipeline
            .saturating_mul(EXCLUSION_BOUND);
        if found.is_none() && open.len() >= bound {
            found = choose::container(&open, &Excluded::default(), size, limit, turn, used);
        }
        (open.len(), found)
    }

    fn make_container_soon(self: &Arc<Self>, pipeline: PipelineId, owner: &str) {
        let maker = self.allocator.maker(pipeline);
        let Ok(one) = maker.try_lock_owned() else {
            return;
        };
        let (scm, owner) = (self.clone(), owner.to_owned());
        tokio::spawn(async move {
            if let Err(error) = scm.make_container(pipeline, &owner).await {
                tracing::debug!(%error, "no further container yet");
            }
            drop(one);
        });
    }

    async fn make_container(
        &self,
        pipeline: PipelineId,
        owner: &str,
    ) -> Result<ContainerId, ScmError> {
        let add = Command::AddContainer(AddContainer {
            pipeline: uuid_bytes(pipeline),
            owner: owner.to_owned(),
            at_ms: self.clock.wall_ms(),
        });
        self.log.propose(add).await.map(ContainerId)
    }
}
