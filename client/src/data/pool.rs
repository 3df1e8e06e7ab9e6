//! Blocks allocated ahead, so that a small file does not cost a call for its block.
//!
//! One pool serves all writers of a session with the same bucket and replication. Each allocation
//! asks for more than the last one, up to a bound, and the next one starts before the pool is dry.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::request::carry;
use ozone_proto::namespace::{
    AllocateBlocksRequest, BlockLocation, BlockSource, DirRef, Replication,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::DataEnv;
use super::place::Place;
use crate::namespace::Namespace;
use crate::{ClientError, Result};

/// Blocks in the first and in the largest allocation.
const BATCH: (u32, u32) = (4, 16);
/// A block that waited longer is given back: its pipeline may be gone.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Blocks that are given back in one call.
const RELEASE_BATCH: usize = 1000;

/// What the blocks of a pool are for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PoolKey {
    bucket: DirRef,
    replication: Option<Replication>,
}

impl PoolKey {
    /// Blocks for files below any directory of a bucket.
    pub(crate) fn new(dir: DirRef, replication: Option<Replication>) -> Self {
        let parent_id = dir.bucket_id;
        let bucket = DirRef { parent_id, ..dir };
        Self {
            bucket,
            replication,
        }
    }
}

/// Blocks that wait to be written to.
#[derive(Debug)]
pub(crate) struct BlockPool {
    key: PoolKey,
    session: u64,
    namespace: Namespace,
    env: Arc<DataEnv>,
    ready: Mutex<VecDeque<(Instant, Arc<Place>)>>,
    done: Mutex<Vec<BlockSource>>,
    /// Size of the next allocation; held by who allocates.
    batch: tokio::sync::Mutex<u32>,
}

impl BlockPool {
    pub(crate) fn new(
        key: PoolKey,
        session: u64,
        namespace: Namespace,
        env: Arc<DataEnv>,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            session,
            namespace,
            env,
            ready: Mutex::default(),
            done: Mutex::default(),
            batch: tokio::sync::Mutex::new(BATCH.0),
        })
    }

    pub(crate) fn key(&self) -> &PoolKey {
        &self.key
    }

    /// A block to write to. It may be at a place to avoid, if the OM knows no better.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Arc<Place>> {
        if let Some(place) = self.pop() {
            self.refill_ahead();
            return Ok(place);
        }
        let mut batch = self.batch.lock().await;
        if let Some(place) = self.pop() {
            return Ok(place);
        }
        let mut places = self.allocate(&mut batch).await?;
        let clean = places.iter().position(|place| !self.env.avoid.has(place));
        let first = places.remove(clean.unwrap_or(0));
        self.keep(places);
        Ok(first)
    }

    /// A block at a place that is not to be avoided, if there is one.
    pub(super) async fn take_clean(self: &Arc<Self>) -> Option<Arc<Place>> {
        let place = self.take().await.ok()?;
        if !self.env.avoid.has(&place) {
            return Some(place);
        }
        self.finished(vec![place.source()]);
        None
    }

    /// Takes back a block that was not written to.
    pub(super) fn put_back(&self, place: Arc<Place>) {
        self.ready.lock().push_front((Instant::now(), place));
    }

    /// Blocks that nobody writes to any more; the session gives them back to the OM soon.
    pub(super) fn finished(&self, mut blocks: Vec<BlockSource>) {
        self.done.lock().append(&mut blocks);
    }

    /// Gives back to the OM what is finished.
    pub(crate) async fn release(&self) {
        loop {
            let blocks = self.take_finished();
            if blocks.is_empty() {
                return;
            }
            let released = self.namespace.release_blocks(self.session, blocks.clone());
            if let Err(error) = released.await {
                tracing::debug!(%error, "blocks not released, they will be");
                return self.finished(blocks);
            }
        }
    }

    fn take_finished(&self) -> Vec<BlockSource> {
        let mut done = self.done.lock();
        let rest = done.len().saturating_sub(RELEASE_BATCH);
        done.split_off(rest)
    }

    fn pop(&self) -> Option<Arc<Place>> {
        let mut bad = Vec::new();
        let mut found = None;
        let mut ready = self.ready.lock();
        while let Some((since, place)) = ready.pop_front() {
            if since.elapsed() < MAX_AGE && !self.env.avoid.has(&place) {
                found = Some(place);
                break;
            }
            bad.push(place.source());
        }
        drop(ready);
        if !bad.is_empty() {
            self.finished(bad);
        }
        found
    }

    fn keep(&self, places: Vec<Arc<Place>>) {
        let now = Instant::now();
        self.ready
            .lock()
            .extend(places.into_iter().map(|place| (now, place)));
    }

    /// Starts an allocation in the background when few blocks are left.
    fn refill_ahead(self: &Arc<Self>) {
        if self.ready.lock().len() >= 2 {
            return;
        }
        let pool = self.clone();
        tokio::spawn(carry(async move {
            let Ok(mut batch) = pool.batch.try_lock() else {
                return;
            };
            match pool.allocate(&mut batch).await {
                Ok(places) => pool.keep(places),
                Err(error) => tracing::debug!(%error, "no blocks allocated ahead"),
            }
        }));
    }

    async fn allocate(&self, batch: &mut u32) -> Result<Vec<Arc<Place>>> {
        let mut request = AllocateBlocksRequest {
            bucket: Some(self.key.bucket),
            session: self.session,
            count: *batch,
            size: self.env.config.block_size,
            longest: self.env.config.longest_block,
            exclude: self.env.avoid.list(),
            replication: self.key.replication,
            allocated: Vec::new(),
        };
        let mut answer = self.namespace.allocate_blocks(request.clone()).await;
        if matches!(answer, Err(ClientError::Om { .. })) && request.exclude.take().is_some() {
            answer = self.namespace.allocate_blocks(request).await;
        }
        let places = answer?.iter().map(place).collect::<Result<Vec<_>>>()?;
        *batch = (*batch * 2).min(BATCH.1);
        Ok(places)
    }
}

fn place(location: &BlockLocation) -> Result<Arc<Place>> {
    Place::new(location).map(Arc::new)
}
