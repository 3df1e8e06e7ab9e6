//! What sessions may believe without asking again: soft state of the leader.
//!
//! A session that asks in its own name is told, with the answer, that it may keep it. Before a change by
//! anybody else is acknowledged, every session that was told so has heard of the change and said that it
//! has, or its leases have run out because it was silent for [`LEASE`]. So a name or an attribute that a
//! mount gives from memory is never older than the last change that anybody was told of.
//!
//! Leases are by object id: of a file its attributes and content, of a directory also its names. They are
//! not taken back: a session hears of each change and asks anew for what it needs.
//!
//! A session may also have a bucket to itself. Then nobody else looks at anything in it or changes it
//! before the session has said that it has sent what it made there in its own memory.

mod answers;
mod entered;
mod exclusive;
mod holder;
mod stripes;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use futures::future::join_all;
use ozone_common::clock::Clock;
use ozone_proto::namespace::{Change, RenewLeasesRequest, RenewLeasesResponse};
use tokio::sync::watch;

use crate::leases::exclusive::Exclusive;
use crate::leases::holder::Holder;
use crate::leases::stripes::Stripes;

pub use crate::leases::entered::Entered;

/// How long a session may believe what it was told after it last renewed. The design says 2 s; half of
/// that halves the wait of a writer for a mount that died, and of the first write after a crash.
pub const LEASE: Duration = Duration::from_secs(1);
/// Longest time that a renewal waits for changes.
const HOLD: Duration = Duration::from_millis(250);
/// Inodes that one session may hold leases on; past it the session starts anew.
const MOST: usize = 500_000;

/// A moment before a look at the rows, to be named when what was seen is leased.
#[derive(Debug, Clone, Copy)]
pub struct Moment(u64);

/// Leases; see the module.
pub struct Leases {
    clock: Arc<dyn Clock>,
    /// By object id, the sessions that may believe something about it.
    holders: DashMap<u64, Vec<u64>>,
    sessions: DashMap<u64, Arc<Holder>>,
    /// Counts changes.
    changes: AtomicU64,
    stripes: Stripes,
    exclusive: Exclusive,
    /// What an earlier leader may have granted.
    earlier: watch::Sender<Earlier>,
    /// First number of the changes that this leader tells sessions of.
    first: AtomicU64,
}

/// Sessions that may hold leases of an earlier leader, and until when.
#[derive(Default)]
struct Earlier {
    sessions: HashSet<u64>,
    until: Duration,
}

impl Leases {
    /// No leases, with `clock` for how long they live.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            holders: DashMap::new(),
            sessions: DashMap::new(),
            changes: AtomicU64::new(1),
            stripes: Stripes::new(),
            exclusive: Exclusive::default(),
            earlier: watch::Sender::new(Earlier::default()),
            first: AtomicU64::new(1),
        }
    }

    /// A new leader's start: `sessions` may hold what an earlier one granted until `since`.
    pub fn take_over(&self, sessions: &[u64], since: Duration) {
        self.holders.clear();
        self.sessions.clear();
        self.exclusive.all_lost();
        // Above what any earlier leader has numbered.
        self.first.store(self.clock.wall_ns(), Ordering::Release);
        self.earlier.send_replace(Earlier {
            sessions: sessions.iter().copied().collect(),
            until: since + LEASE,
        });
    }

    /// A session ended: nobody waits for it any more.
    pub fn session_closed(&self, session: u64) {
        if let Some((_, holder)) = self.sessions.remove(&session) {
            holder.close();
        }
        self.heard_of(session);
        self.drop_holdings(session);
        let now = self.clock.monotonic();
        self.exclusive.session_closed(session, now);
    }

    /// `session` is known not to believe what an earlier leader said.
    fn heard_of(&self, session: u64) {
        self.earlier
            .send_if_modified(|earlier| earlier.sessions.remove(&session));
    }

    /// Whether `session` says, with a renewal that is not answered yet, that it has forgotten everything as
    /// it was told to: it has not been told of what else happened until then.
    pub fn forgets(&self, request: &RenewLeasesRequest) -> bool {
        let holder = self.holder(request.session);
        holder.is_some_and(|holder| holder.forgets(request.seen))
    }

    /// Answers a renewal, when there is something to tell or after [`HOLD`]. Unless the session `may_own`
    /// buckets, it gets none, and those that it has are recalled.
    pub async fn renew(&self, request: &RenewLeasesRequest, may_own: bool) -> RenewLeasesResponse {
        let session = request.session;
        let now = self.clock.monotonic();
        let holder = self.renewed(session, request.seen, now);
        if !may_own {
            self.take_back(session);
        }
        if !may_own || !self.give(session, &request.wanted, now) {
            tokio::select! {
                () = holder.something_to_tell() => {}
                () = self.clock.sleep(HOLD) => {}
            }
        }
        // In this order: a bucket that is recalled meanwhile is left out before it is told of.
        let told = holder.tell();
        let exclusive = self.exclusive.owned(session, told.everything);
        RenewLeasesResponse {
            seq: told.seq,
            changes: told.changes,
            everything: told.everything.is_some(),
            lease_ms: u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX),
            exclusive,
        }
    }

    /// `session` lives at `now` and has heard of changes up to `seen`.
    fn renewed(&self, session: u64, seen: u64, now: Duration) -> Arc<Holder> {
        let first = self.first.load(Ordering::Acquire);
        let entry = self.sessions.entry(session);
        let holder = entry
            .or_insert_with(|| Arc::new(Holder::new(first)))
            .clone();
        if seen >= first {
            self.heard_of(session);
        }
        if holder.has_forgotten(seen) {
            self.drop_holdings(session);
            holder.dropped();
        }
        if holder.renew(now, seen) {
            self.exclusive.lost(session);
        }
        self.exclusive.heard(session, seen);
        holder
    }

    fn holder(&self, session: u64) -> Option<Arc<Holder>> {
        self.sessions.get(&session).map(|h| h.value().clone())
    }

    /// The sessions that may believe something about an inode.
    pub fn holders(&self, object: u64) -> impl Iterator<Item = u64> + use<> {
        let held = self.holders.get(&object).map(|held| held.clone());
        held.unwrap_or_default().into_iter()
    }

    /// Now, before a look at the rows.
    pub fn moment(&self) -> Moment {
        Moment(self.changes.load(Ordering::SeqCst))
    }

    /// Lets `session` believe what it is told of `objects`, as looked up after `moment`. False when it
    /// must not: it does not renew, has to start anew, or something has changed meanwhile.
    pub fn grant(&self, session: u64, moment: Moment, objects: &[u64]) -> bool {
        let Some(holder) = self.holder(session) else {
            return false;
        };
        let Some(start) = holder.start(self.clock.monotonic()) else {
            return false;
        };
        let mut new = 0;
        for object in objects {
            let mut held = self.holders.entry(*object).or_default();
            if !held.contains(&session) {
                held.push(session);
                new += 1;
            }
        }
        if holder.count(new) > MOST {
            holder.start_anew();
        }
        if holder.start(self.clock.monotonic()) != Some(start) {
            return false;
        }
        // A change that does not find the session among the holders has been counted by now.
        objects
            .iter()
            .all(|object| self.stripes.quiet_for(*object, session, moment.0))
    }

    /// The session is filed under no object any more.
    fn drop_holdings(&self, session: u64) {
        self.holders.retain(|_, held| {
            held.retain(|s| *s != session);
            !held.is_empty()
        });
    }

    /// Tells everybody but `by` of changes that were applied, and waits until they have heard.
    pub async fn changed(&self, changes: Vec<Change>, by: u64) {
        if changes.is_empty() {
            return;
        }
        let number = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        for change in &changes {
            self.stripes.note(change.object_id, by, number);
        }
        let mut concerned: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
        for change in changes {
            let Some(held) = self.holders.get(&change.object_id) else {
                continue;
            };
            for session in held.iter().filter(|session| **session != by) {
                concerned.entry(*session).or_default().push(change.clone());
            }
        }
        let waits = concerned.into_iter().filter_map(|(session, changes)| {
            let holder = self.sessions.get(&session)?.value().clone();
            let clock = self.clock.clone();
            Some(async move {
                let number = holder.push(changes);
                holder.heard(number, &*clock).await;
            })
        });
        join_all(waits).await;
        self.earlier_leases_end(by).await;
    }

    /// Whether nobody but `session` can believe what an earlier leader said.
    fn earlier_ended(&self, session: u64) -> bool {
        let earlier = self.earlier.borrow();
        earlier.only(session) || self.clock.monotonic() >= earlier.until
    }

    /// Waits for that.
    async fn earlier_leases_end(&self, session: u64) {
        if self.earlier_ended(session) {
            return;
        }
        let until = self.earlier.borrow().until;
        let left = until.saturating_sub(self.clock.monotonic());
        let mut watching = self.earlier.subscribe();
        tokio::select! {
            () = self.clock.sleep(left) => {}
            _ = watching.wait_for(|earlier| earlier.only(session)) => {}
        }
    }
}

impl Earlier {
    /// Whether there is nobody but `session`.
    fn only(&self, session: u64) -> bool {
        self.sessions.iter().all(|known| *known == session)
    }
}

#[cfg(test)]
#[path = "leases_test.rs"]
mod tests;
