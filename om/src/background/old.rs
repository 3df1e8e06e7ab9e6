//! A walk over the rows of a table that are old, page by page.

use std::time::Duration;

use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::leader::Leader;
use crate::rows::{Rows, decode};
use crate::tables::Table;

/// Rows that are looked at, at a time.
const PAGE: usize = 1000;

/// See the module.
pub(super) struct OldRows<'a, R> {
    leader: &'a Leader,
    table: Table,
    age: Duration,
    made_ms: fn(&R) -> i64,
    /// From where to look on; `None`: all were looked at.
    after: Option<Vec<u8>>,
}

impl<'a, R: Message + Default + 'static> OldRows<'a, R> {
    /// Those that were made, as `made_ms` tells, `age` ago or before.
    pub(super) fn new(
        leader: &'a Leader,
        table: Table,
        age: Duration,
        made_ms: fn(&R) -> i64,
    ) -> Self {
        Self {
            leader,
            table,
            age,
            made_ms,
            after: Some(Vec::new()),
        }
    }

    /// The keys of some that are old; `None` at the end, or when this is not the leader's work any more.
    pub(super) async fn next(&mut self, gate: &CancellationToken) -> Result<Option<Vec<Vec<u8>>>> {
        while self.leader.group.is_leader() && !gate.is_cancelled() {
            let Some(after) = self.after.take() else {
                break;
            };
            let old = self.page(after).await?;
            if !old.is_empty() {
                return Ok(Some(old));
            }
        }
        Ok(None)
    }

    async fn page(&mut self, after: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let age = i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX);
        let now = i64::try_from(self.leader.clock.wall_ms()).unwrap_or(i64::MAX);
        let oldest = now.saturating_sub(age);
        let (table, made_ms) = (self.table, self.made_ms);
        let look = move |rows: &crate::store::Store| {
            let start = (!after.is_empty()).then_some(after.as_slice());
            let page = rows.scan(table, &[], start, PAGE)?;
            let last = page.last().filter(|_| page.len() == PAGE);
            let last = last.map(|(key, _)| key.clone());
            let mut old = Vec::new();
            for (key, value) in page {
                if made_ms(&decode(table, &value)?) <= oldest {
                    old.push(key);
                }
            }
            Ok((old, last))
        };
        let (old, last) = self.leader.read(look).await?;
        self.after = last;
        Ok(old)
    }
}
