//! Folds inline extents into blocks: what waits in [`crate::fold_queue`] is written to a block of its
//! replication, many files in one, and a command of the log puts the block in the place of the
//! inline bytes.
//!
//! The block belongs to a session of its own until that command, so a fold that fails or is cut off
//! leaves nothing behind: the session ends or expires, and the block is freed with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::namespace::{
    AllocateBlocksRequest, BlockLocation, CloseSessionRequest, FoldRequest, OpenSessionRequest,
    Replication,
};
use ozone_proto::om::Type;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;

use crate::block_writer::BlockWriter;
use crate::error::{OmError, Result};
use crate::fold_batch::{Batch, Group, Kind, Look, gather};
use crate::ops;
use crate::runner::{Runner, own_request};

/// Files looked at in one round.
const FILES: usize = 1024;
/// Between looks for files that are due.
const ROUND: Duration = Duration::from_secs(1);
/// First pause before a replication that could not be had is asked for again; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause of that kind.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Where files are passed over again and again, looking at them takes this part of the time at most.
const LOOKING: u32 = 10;

/// Folds inline extents into blocks.
pub struct Fold {
    runner: Arc<Runner>,
    writer: BlockWriter,
    pass: Pass,
}

/// One way through the queue.
#[derive(Default)]
struct Pass {
    /// How far it is.
    after: Option<Vec<u8>>,
    /// Whether it met files of replications that cannot be had.
    passed_over: bool,
    /// What looking at the queue took.
    looking: Duration,
    /// Replications that could not be had, which outlasts the pass.
    blocked: BTreeMap<Kind, Blocked>,
}

/// A replication that could not be had.
#[derive(Clone, Copy)]
struct Blocked {
    until: Duration,
    pause: Duration,
}

impl Pass {
    fn blocked(&self, now: Duration) -> BTreeSet<Kind> {
        let blocked = self.blocked.iter().filter(|(_, kind)| now < kind.until);
        blocked.map(|(kind, _)| *kind).collect()
    }

    fn failed(&mut self, kind: Kind, now: Duration) {
        let before = self.blocked.get(&kind).map(|before| before.pause * 2);
        let pause = before.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
        let until = now + pause;
        self.blocked.insert(kind, Blocked { until, pause });
    }

    /// Takes in where a look ended; says when the next is due.
    fn advance(&mut self, next: Option<Vec<u8>>) -> Next {
        self.after = next;
        if self.after.is_some() {
            return Next::Now;
        }
        let looking = std::mem::take(&mut self.looking);
        match std::mem::take(&mut self.passed_over) {
            true => Next::After((looking * LOOKING).clamp(ROUND, LONGEST_PAUSE)),
            false => Next::After(ROUND),
        }
    }
}

#[async_trait]
impl Worker for Fold {
    fn name(&self) -> String {
        "fold".to_owned()
    }

    async fn work(
        &mut self,
        _gate: &tokio_util::sync::CancellationToken,
    ) -> Result<Next, WorkError> {
        if !self.runner.leader.group.is_leader() {
            self.pass = Pass::default();
            return Ok(Next::After(ROUND));
        }
        Ok(self.round().await?)
    }
}

impl Fold {
    /// Puts commands into the log with `runner`, and writes blocks with `writer`.
    pub fn new(runner: Arc<Runner>, writer: BlockWriter) -> Self {
        Self {
            runner,
            writer,
            pass: Pass::default(),
        }
    }

    /// Folds some of what is due. A replication that cannot be had does not hold up the others.
    async fn round(&mut self) -> Result<Next> {
        let batch = self.look().await?;
        if !batch.gone.is_empty() {
            self.send(FoldRequest {
                files: batch.gone,
                ..Default::default()
            })
            .await?;
        }
        for (kind, group) in batch.groups {
            let (r#type, factor) = kind;
            match self.fold(Replication { r#type, factor }, group).await {
                Ok(()) => drop(self.pass.blocked.remove(&kind)),
                Err(error) => {
                    metrics::counter!("om_fold_failures_total").increment(1);
                    tracing::warn!(%error, r#type, factor, "inline extents are not folded for now");
                    self.pass.failed(kind, self.runner.leader.now());
                    self.pass.passed_over = true;
                }
            }
        }
        Ok(self.pass.advance(batch.next))
    }

    async fn look(&mut self) -> Result<Batch> {
        let leader = &self.runner.leader;
        let began = leader.now();
        let blocked = self.pass.blocked(began);
        let after = self.pass.after.clone();
        let now_ms = i64::try_from(leader.clock.wall_ms()).unwrap_or(i64::MAX);
        let default = leader.default_replication;
        let batch = leader.read(move |store| {
            let look = Look {
                after,
                now_ms,
                limit: FILES,
                default,
                blocked: &blocked,
            };
            gather(&store.view(), &look)
        });
        let batch = batch.await?;
        self.pass.looking += leader.now().saturating_sub(began);
        self.pass.passed_over |= batch.passed_over > 0;
        Ok(batch)
    }

    async fn fold(&self, replication: Replication, group: Group) -> Result<()> {
        let session = self.open_session().await?;
        let folded = self.fold_in(session, replication, group).await;
        if folded.is_err() {
            let request = CloseSessionRequest {
                session,
                expired: false,
            };
            let close = own_request(Type::CloseSession, Body::CloseSession(request));
            self.runner.leader.ask(close).await?;
        }
        folded
    }

    async fn fold_in(&self, session: u64, replication: Replication, group: Group) -> Result<()> {
        let data: Bytes = group.data.freeze();
        let (bytes, files) = (data.len(), group.files.len());
        let location = self.block(session, replication, bytes).await?;
        let block = self.writer.write(&location, data).await?;
        let extents = self
            .send(FoldRequest {
                session,
                block: Some(block),
                files: group.files,
            })
            .await?;
        metrics::counter!("om_folded_extents_total").increment(extents.into());
        metrics::counter!("om_folded_bytes_total").increment(bytes as u64);
        tracing::debug!(files, bytes, extents, "inline extents folded into a block");
        Ok(())
    }

    async fn open_session(&self) -> Result<u64> {
        let request = OpenSessionRequest {
            description: "om: fold".to_owned(),
        };
        let open = own_request(Type::OpenSession, Body::OpenSession(request));
        match self.runner.leader.ask(open).await?.body {
            Some(Reply::OpenSession(opened)) => Ok(opened.session),
            _ => Err(unexpected()),
        }
    }

    async fn block(
        &self,
        session: u64,
        replication: Replication,
        bytes: usize,
    ) -> Result<BlockLocation> {
        let mut request = AllocateBlocksRequest {
            session,
            count: 1,
            size: bytes as u64,
            replication: Some(replication),
            ..Default::default()
        };
        ops::allocate_blocks::prepare(&mut request, &self.runner.leader).await?;
        let allocate = own_request(Type::AllocateBlocks, Body::AllocateBlocks(request));
        match self.runner.leader.ask(allocate).await?.body {
            Some(Reply::AllocateBlocks(mut answer)) => answer.blocks.pop().ok_or_else(unexpected),
            _ => Err(unexpected()),
        }
    }

    async fn send(&self, request: FoldRequest) -> Result<u32> {
        let fold = own_request(Type::Fold, Body::Fold(request));
        match self.runner.leader.ask(fold).await?.body {
            Some(Reply::Fold(answer)) => Ok(answer.extents),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> OmError {
    OmError::Storage("the answer is not of the kind that was asked for".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Kind = (1, 3);

    #[test]
    fn a_replication_that_cannot_be_had_is_asked_for_less_and_less_often() {
        let (mut pass, mut now) = (Pass::default(), Duration::ZERO);
        for _ in 0..20 {
            pass.failed(THREE, now);
            assert!(pass.blocked(now).contains(&THREE));
            let until = pass.blocked[&THREE].until;
            assert!(until - now <= LONGEST_PAUSE);
            assert!(pass.blocked(until).is_empty());
            now = until;
        }
        assert_eq!(pass.blocked[&THREE].pause, LONGEST_PAUSE);
    }

    #[test]
    fn a_pass_goes_on_to_the_end_and_then_rests() {
        let mut pass = Pass::default();
        assert_eq!(pass.advance(Some(vec![1])), Next::Now);
        assert_eq!(pass.after, Some(vec![1]));
        assert_eq!(pass.advance(None), Next::After(ROUND));
        assert_eq!(pass.after, None);
        pass.looking = Duration::from_secs(2);
        pass.passed_over = true;
        assert_eq!(pass.advance(None), Next::After(Duration::from_secs(20)));
        assert_eq!(pass.advance(None), Next::After(ROUND));
    }
}
