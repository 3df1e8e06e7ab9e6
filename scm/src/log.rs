//! SCM's end of the replicated log: proposals, and whether this SCM serves.
//!
//! A leader serves only once it has applied everything that leaders before it acknowledged; until
//! then decisions would be made on old state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ozone_raft::{Group, RaftError};
use prost::Message;

use crate::error::ScmError;
use crate::ops::{COMMAND_VERSION, Command, Entry, Reply, ReplyCode};

/// Pause before a barrier that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The log, as SCM uses it.
pub(crate) struct Log {
    group: Arc<Group>,
    /// The term that this SCM serves in; 0 while it does not.
    serving: AtomicU64,
}

impl Log {
    pub(crate) fn new(group: Arc<Group>) -> Self {
        Self {
            group,
            serving: AtomicU64::new(0),
        }
    }

    /// The group.
    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Replicates and applies a command; gives the number of its answer.
    pub(crate) async fn propose(&self, command: Command) -> Result<u64, ScmError> {
        let entry = Entry {
            version: COMMAND_VERSION,
            command: Some(command),
        };
        let answer = self
            .group
            .propose(Bytes::from(entry.encode_to_vec()))
            .await?;
        let reply = Reply::decode(answer);
        let reply = reply.map_err(|e| ScmError::Refused(format!("bad answer of apply: {e}")))?;
        match ReplyCode::try_from(reply.code) {
            Ok(ReplyCode::Ok) => Ok(reply.value),
            Ok(ReplyCode::NotFound) => Err(ScmError::NotFound(reply.message)),
            _ => Err(ScmError::Refused(reply.message)),
        }
    }

    /// The term that this SCM serves in, if it does.
    pub(crate) fn serving_term(&self) -> Option<u64> {
        let term = self.serving.load(Ordering::Acquire);
        (term != 0).then_some(term)
    }

    /// Fails unless this SCM serves.
    pub(crate) fn require_leader(&self) -> Result<(), ScmError> {
        match self.serving_term() {
            Some(_) => Ok(()),
            None => {
                let leader = self.group.leader().map(|peer| peer.address);
                Err(ScmError::NotLeader { leader })
            }
        }
    }

    /// Follows leadership until the group ends. `on_change` is called after each start and end of
    /// service.
    pub(crate) async fn follow_leadership(&self, on_change: impl Fn(Option<u64>)) {
        let mut watch = self.group.watch_leadership();
        loop {
            let seen = watch.borrow_and_update().clone();
            let serving = self.serving_term();
            if serving.is_some() && (!seen.is_leader || serving != Some(seen.term)) {
                self.serving.store(0, Ordering::Release);
                on_change(None);
            }
            if seen.is_leader && self.serving_term().is_none() {
                match self.group.read_barrier().await {
                    Ok(()) => {
                        self.serving.store(seen.term, Ordering::Release);
                        on_change(Some(seen.term));
                    }
                    Err(RaftError::ShuttingDown) => return,
                    Err(error) => {
                        // While this SCM still leads, nobody else will: it tries again.
                        tracing::warn!(%error, "this SCM leads and cannot serve yet");
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                }
                // What happened during the barrier counts too.
                if watch.has_changed().unwrap_or(false) {
                    continue;
                }
            }
            if watch.changed().await.is_err() {
                return;
            }
        }
    }
}
