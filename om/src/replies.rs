//! Replies that are remembered, so that a retry after a lost answer gets the first one.
//!
//! They are part of the replicated state: a row for each, and this index of the rows in memory. A
//! client says which of its calls is the lowest that it still awaits, and those below are dropped;
//! others live for [`KEEP_MS`] of log time.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use ozone_proto::namespace::ReplyRow;
use prost::Message;

use crate::error::Result;
use crate::rows::{Rows, decode};
use crate::tables;

/// How long a reply is remembered, milliseconds of log time.
const KEEP_MS: i64 = 600_000;
/// Replies dropped with one command at most.
const DROPS: usize = 64;
/// Rows read at a time.
const PAGE: usize = 10_000;

/// The remembered replies.
#[derive(Default)]
pub struct Replies {
    by_client: HashMap<Bytes, BTreeMap<u64, Bytes>>,
    by_time: VecDeque<(i64, Bytes, u64)>,
}

/// Which call a request is.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who calls.
    pub client: Bytes,
    /// Its number.
    pub id: u64,
    /// The lowest number that the client still awaits.
    pub lowest_pending: u64,
}

impl Replies {
    /// Reads the rows back.
    pub fn load(rows: &impl Rows) -> Result<Self> {
        let mut found: Vec<(i64, Bytes, u64, Bytes)> = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = rows.scan(tables::REPLY, &[], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in &page {
                let Some((client, call)) = key.split_last_chunk::<8>() else {
                    continue;
                };
                let row: ReplyRow = decode(tables::REPLY, value)?;
                found.push((
                    row.time_ms,
                    Bytes::copy_from_slice(client),
                    u64::from_be_bytes(*call),
                    row.response,
                ));
            }
        }
        found.sort_by_key(|(time, ..)| *time);
        let mut replies = Self::default();
        for (time, client, id, response) in found {
            replies.index(time, client, id, response);
        }
        Ok(replies)
    }

    /// The first answer to `call`, if it was given already.
    pub fn find(&self, call: &Call) -> Option<Bytes> {
        self.by_client.get(&call.client)?.get(&call.id).cloned()
    }

    fn index(&mut self, time: i64, client: Bytes, id: u64, response: Bytes) {
        self.by_client
            .entry(client.clone())
            .or_default()
            .insert(id, response);
        self.by_time.push_back((time, client, id));
    }

    /// Remembers the answer to `call` and drops what nobody awaits: the rows to write and to delete.
    pub fn remember(&mut self, call: &Call, time: i64, response: Bytes) -> Changes {
        let row = ReplyRow {
            version: crate::namespace::ROW_VERSION,
            time_ms: time,
            response: response.clone(),
        };
        let mut changes = Changes {
            put: (
                tables::reply_key(&call.client, call.id),
                row.encode_to_vec(),
            ),
            delete: Vec::new(),
        };
        let calls = self.by_client.entry(call.client.clone()).or_default();
        while changes.delete.len() < DROPS
            && let Some((id, _)) = calls.first_key_value()
            && *id < call.lowest_pending
        {
            changes.delete.push(tables::reply_key(&call.client, *id));
            calls.pop_first();
        }
        self.index(time, call.client.clone(), call.id, response);
        self.drop_old(time, &mut changes.delete);
        changes
    }

    fn drop_old(&mut self, now: i64, delete: &mut Vec<Vec<u8>>) {
        let mut looked_at = 0;
        while looked_at < DROPS
            && let Some((time, client, id)) = self.by_time.front()
        {
            let held = self
                .by_client
                .get(client)
                .is_some_and(|calls| calls.contains_key(id));
            if held && now.saturating_sub(*time) < KEEP_MS {
                return;
            }
            if held {
                delete.push(tables::reply_key(client, *id));
            }
            if let Some(calls) = self.by_client.get_mut(client) {
                calls.remove(id);
                if calls.is_empty() {
                    self.by_client.remove(client);
                }
            }
            self.by_time.pop_front();
            looked_at += 1;
        }
    }
}

/// Rows of `replyTable` to write and to delete.
pub struct Changes {
    /// Key and value.
    pub put: (Vec<u8>, Vec<u8>),
    /// Keys.
    pub delete: Vec<Vec<u8>>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn call(client: &'static str, id: u64) -> Call {
        Call {
            client: Bytes::from_static(client.as_bytes()),
            id,
            lowest_pending: 0,
        }
    }

    #[test]
    fn a_reply_is_kept_for_ten_minutes_and_no_longer() {
        let mut replies = Replies::default();
        let remember = |replies: &mut Replies, call: &Call, time| {
            let answer = Bytes::from(format!("answer {}", call.id));
            replies.remember(call, time, answer).delete
        };
        let (one, two, three) = (call("a", 1), call("a", 2), call("b", 1));
        assert!(remember(&mut replies, &one, 1_000).is_empty());
        assert!(remember(&mut replies, &two, 1_001).is_empty());
        let dropped = remember(&mut replies, &three, 1_000 + KEEP_MS - 1);
        assert!(dropped.is_empty(), "{dropped:?}");
        assert_eq!(replies.find(&one).unwrap(), "answer 1");
        let dropped = remember(&mut replies, &call("b", 2), 1_000 + KEEP_MS);
        assert_eq!(dropped, [tables::reply_key(b"a", 1)]);
        assert_eq!(replies.find(&one), None);
        assert_eq!(replies.find(&two).unwrap(), "answer 2");
        let dropped = remember(&mut replies, &call("b", 3), 1_001 + KEEP_MS);
        assert_eq!(dropped, [tables::reply_key(b"a", 2)]);
        assert!(!replies.by_client.contains_key("a".as_bytes()));
        assert_eq!(replies.find(&three).unwrap(), "answer 1");
    }
}
