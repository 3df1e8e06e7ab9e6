//! Read barriers: what makes a read of the local state linearizable.

use std::future::Future;
use std::time::Duration;

use openraft::LinearizerOption;
use openraft::errors::{LinearizableReadError, RaftError as CoreError};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::{Group, fatal};
use crate::types::LogId;
use crate::wire::{self, ReadIndexRequest};
use crate::{Peer, Result};

/// Lets calls share a barrier: those that come while one is under way wait for the next, which
/// serves them all.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    /// Number of the last barrier that succeeded. Held while one is under way.
    done: AsyncMutex<u64>,
    /// Number of the last barrier that began.
    begun: Mutex<u64>,
}

impl Barriers {
    /// Returns after a barrier that began after this call has succeeded.
    pub(super) async fn pass<F>(&self, barrier: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let needed = *self.begun.lock() + 1;
        let mut done = self.done.lock().await;
        if *done >= needed {
            return Ok(());
        }
        let number = {
            let mut begun = self.begun.lock();
            *begun += 1;
            *begun
        };
        barrier().await?;
        *done = number;
        Ok(())
    }
}

impl Group {
    /// One barrier: finds out up to where everything was answered, and waits for that to be applied.
    pub(super) async fn barrier(&self) -> Result<()> {
        let mut pause = Duration::from_millis(1);
        loop {
            let read = match self.read_log_id().await? {
                Some(read) => Some(read),
                None => self.ask_leader().await,
            };
            if let Some(read) = read {
                self.adapter.wait_applied(read.index()).await;
                return Ok(());
            }
            // Nobody leads, or not yet for sure. The caller limits the time.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// As the leader: everything answered so far lies at or before this. `None` when this member
    /// does not lead, or cannot tell.
    pub(crate) async fn read_log_id(&self) -> Result<Option<LogId>> {
        if !self.is_leader() {
            return Ok(None);
        }
        // Clocks of members may run apart by a tenth before the lease is wrong.
        let lease = self.options.election_max * 9 / 10;
        let option = LinearizerOption::new(Some(lease), true);
        match self.raft.get_read_linearizer(option).await {
            Ok(linearizer) => Ok(Some(*linearizer.read_log_id().log_id())),
            Err(CoreError::Fatal(cause)) => Err(fatal(cause)),
            Err(CoreError::APIError(
                LinearizableReadError::ForwardToLeader(_)
                | LinearizableReadError::QuorumNotEnough(_),
            )) => Ok(None),
        }
    }

    async fn ask_leader(&self) -> Option<LogId> {
        let leader: Peer = self.leader().filter(|peer| peer.id != self.me.0)?;
        let request = ReadIndexRequest {
            group: wire::write_id(self.id),
            to: wire::write_id(leader.id),
        };
        let mut client = self.connections.client(&leader).ok()?;
        let reply = client.read_index(request).await.ok()?;
        reply.into_inner().read.map(wire::read_log_id)
    }
}
