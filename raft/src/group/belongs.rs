//! Whether a log is the one that belongs to a state.
//!
//! Entries are acknowledged once they are in the log, long before the state is durable. A state that
//! finds no log, say because its disk is not mounted, must not be taken for that of a new group: what
//! was acknowledged would be gone without a word, and ids would be given out again. So a group leaves
//! a mark in its state before it is formed, and the file of the log's facts before that mark: a mark
//! without the file is a log that was lost.

use std::path::Path;

use crate::apply::Adapter;
use crate::error::io_error;
use crate::log::LogStore;
use crate::types::MemberId;
use crate::{RaftError, Result};

/// What is compared.
pub(super) struct Pair<'a> {
    pub(super) log: &'a LogStore,
    pub(super) adapter: &'a Adapter,
}

impl Pair<'_> {
    /// Refuses a log that lacks what it had. A member of many may be behind its state, because a copy
    /// of the state came to it and the process ended before the log was told.
    pub(super) fn check(&self, dir: &Path, me: MemberId, alone: bool) -> Result<()> {
        let applied = self.adapter.position().applied;
        let last = self.log.last();
        let gone = self.adapter.has_mark() && !self.log.has_begun();
        let short = alone && last < applied;
        // Whoever stands for election has the members in its log.
        let emptied =
            last.is_none() && self.log.vote().is_some_and(|v| v.leader_id.voted_for == me);
        if !gone && !short && !emptied {
            return self.check_state(dir, alone);
        }
        Err(RaftError::LogLost {
            dir: dir.to_path_buf(),
            last: last.map(|id| id.index()),
            applied: applied.map(|id| id.index()),
        })
    }

    /// Refuses a state that the log cannot bring up to date, where nobody else could either.
    fn check_state(&self, dir: &Path, alone: bool) -> Result<()> {
        let (applied, purged) = (self.adapter.position().applied, self.log.purged());
        match purged {
            Some(purged) if alone && applied < Some(purged) => Err(RaftError::StateLost {
                dir: dir.to_path_buf(),
                purged: purged.index(),
                applied: applied.map(|id| id.index()),
            }),
            _ => Ok(()),
        }
    }

    /// Leaves the mark, durably, where it is not there yet.
    pub(super) async fn mark(&self, dir: &Path) -> Result<()> {
        if self.adapter.has_mark() {
            return Ok(());
        }
        let failed = |cause| io_error("begin the log", dir)(cause);
        self.log.begin().await.map_err(failed)?;
        let marked = self.adapter.mark().await;
        marked.map_err(|cause| RaftError::Fatal(format!("state not marked as formed: {cause}")))
    }
}
