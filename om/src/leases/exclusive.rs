//! Buckets that one session has to itself, and who else uses which bucket.
//!
//! While a session owns a bucket, no request of anybody else that touches it goes on: the owner makes
//! files there in its own memory, and others would not see them. A request counts as inside its buckets
//! from before it waits for an owner until it is answered, so that a bucket never goes from one owner to
//! the next over the head of those who wait for it.
//!
//! A bucket is given only when nobody else has used it for as long as a lease lives, and when the
//! sessions that used it before have started anew: then nobody else believes anything about it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;

use super::LEASE;

/// Buckets that are remembered at least before those that nobody uses are swept out.
const SWEEP: usize = 1024;

/// Owners and guests of buckets; see the module.
#[derive(Default)]
pub(super) struct Exclusive(Mutex<State>);

#[derive(Default)]
struct State {
    buckets: HashMap<u64, Bucket>,
    /// Session and bucket, for every owner.
    owned: BTreeSet<(u64, u64)>,
    /// Buckets after the last sweep.
    swept: usize,
}

#[derive(Default)]
struct Bucket {
    owner: Option<Owner>,
    /// Who uses it or has used it, by session, the owner too; 0 for those without one.
    guests: BTreeMap<u64, Guest>,
}

struct Owner {
    session: u64,
    /// The number that says, acknowledged, that the session has given the bucket back.
    recalled: Option<u64>,
}

#[derive(Default)]
struct Guest {
    /// Requests under way.
    inside: usize,
    /// When the last one ended.
    last: Duration,
    /// The number of a start anew since then.
    anew: Option<u64>,
}

impl Exclusive {
    /// A request of `session` is inside the buckets from now on. Whether another session owns one: if
    /// none does, none will.
    pub(super) fn arrive(&self, buckets: &[u64], session: u64) -> bool {
        let mut state = self.0.lock();
        let mut foreign = false;
        for bucket in buckets {
            let bucket = state.buckets.entry(*bucket).or_default();
            let guest = bucket.guests.entry(session).or_default();
            guest.inside += 1;
            guest.anew = None;
            foreign |= bucket.owned_by_another(session);
        }
        foreign
    }

    /// The request is answered. Requests name buckets and sessions as they like: of those whose session,
    /// as `believes` says, can believe nothing, nothing is remembered for long.
    pub(super) fn leave(
        &self,
        buckets: &[u64],
        session: u64,
        now: Duration,
        believes: impl Fn(u64) -> bool,
    ) {
        let mut state = self.0.lock();
        for bucket in buckets {
            let bucket = state.buckets.get_mut(bucket);
            if let Some(guest) = bucket.and_then(|b| b.guests.get_mut(&session)) {
                guest.inside = guest.inside.saturating_sub(1);
                guest.last = now;
            }
        }
        if state.buckets.len() >= 2 * state.swept.max(SWEEP) {
            state.sweep(|id, guest| !guest.quiet(now) || (id != 0 && believes(id)));
            state.swept = state.buckets.len();
        }
    }

    /// The owner that a request of `session` has to wait for, and the number that it acknowledges.
    /// `tell` tells an owner that its bucket is recalled; it knows of no number when the owner is gone.
    pub(super) fn recall(
        &self,
        bucket: u64,
        session: u64,
        tell: impl FnOnce(u64) -> Option<u64>,
    ) -> Option<(u64, u64)> {
        let mut state = self.0.lock();
        let found = state.buckets.get_mut(&bucket)?;
        let owner = found.owner.as_mut().filter(|o| o.session != session)?;
        let number = owner.recalled.or_else(|| tell(owner.session));
        owner.recalled = number;
        let owner = owner.session;
        if number.is_none() {
            state.disown(owner, bucket);
        }
        number.map(|number| (owner, number))
    }

    /// As [`recall`](Self::recall), for everything that `session` owns and has not been told to give back.
    pub(super) fn recall_owned(&self, session: u64, tell: impl FnOnce(&[u64]) -> Option<u64>) {
        let mut state = self.0.lock();
        let mut owned = state.owned_by(session);
        owned.retain(|bucket| state.recalled(*bucket).is_none());
        if owned.is_empty() {
            return;
        }
        if let Some(number) = tell(&owned) {
            state.recall_all(&owned, number);
        }
    }

    /// The owner has acknowledged the recall by its number, or its leases have ended.
    pub(super) fn given_back(&self, bucket: u64, (session, number): (u64, u64)) {
        let mut state = self.0.lock();
        let owner = state.buckets.get(&bucket).and_then(|b| b.owner.as_ref());
        if owner.is_some_and(|o| o.session == session && o.recalled == Some(number)) {
            state.disown(session, bucket);
        }
    }

    /// `session` has acknowledged everything up to `seen`.
    pub(super) fn heard(&self, session: u64, seen: u64) {
        let mut state = self.0.lock();
        for bucket in state.owned_by(session) {
            if state.recalled(bucket).is_some_and(|number| number <= seen) {
                state.disown(session, bucket);
            }
        }
    }

    /// The leases of `session` have ended, and with them all that it owned.
    pub(super) fn lost(&self, session: u64) {
        let mut state = self.0.lock();
        for bucket in state.owned_by(session) {
            state.disown(session, bucket);
        }
    }

    /// The leases of everybody have ended. Requests under way go on.
    pub(super) fn all_lost(&self) {
        let mut state = self.0.lock();
        state.owned.clear();
        state.buckets.values_mut().for_each(|b| b.owner = None);
    }

    /// `session` has ended.
    pub(super) fn session_closed(&self, session: u64, now: Duration) {
        self.lost(session);
        let mut state = self.0.lock();
        state.sweep(|id, guest| match id {
            // Of those without a session nothing is remembered longer than it counts.
            0 => !guest.quiet(now),
            id => id != session || guest.inside > 0,
        });
    }

    /// How many buckets are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.0.lock().buckets.len()
    }

    /// Gives the bucket to `session` if nobody else uses it. `forgets` says whether a session that used
    /// it believes nothing any more, and otherwise makes it start anew, with the number that it
    /// acknowledges.
    pub(super) fn take(
        &self,
        bucket: u64,
        session: u64,
        now: Duration,
        forgets: impl Fn(u64, &mut Option<u64>) -> bool,
    ) -> bool {
        let mut state = self.0.lock();
        let found = state.buckets.entry(bucket).or_default();
        let mut others = found.guests.iter().filter(|(id, _)| **id != session);
        if found.owner.is_some() || !others.all(|(_, guest)| guest.quiet(now)) {
            return false;
        }
        // Each of them starts anew now, whether or not another is done.
        found
            .guests
            .retain(|id, guest| *id == session || (*id != 0 && !forgets(*id, &mut guest.anew)));
        if found.guests.keys().any(|id| *id != session) {
            return false;
        }
        found.owner = Some(Owner {
            session,
            recalled: None,
        });
        state.owned.insert((session, bucket));
        true
    }

    /// The buckets that `session` owns, for an answer that tells it of changes so far: one that it has to
    /// give back is not among them, nor any when it is told to start from nothing, by this number.
    pub(super) fn owned(&self, session: u64, everything: Option<u64>) -> Vec<u64> {
        let mut state = self.0.lock();
        let mut owned = state.owned_by(session);
        if let Some(number) = everything {
            state.recall_all(&owned, number);
        }
        owned.retain(|bucket| state.recalled(*bucket).is_none());
        owned
    }
}

impl State {
    fn owned_by(&self, session: u64) -> Vec<u64> {
        let owned = self.owned.range((session, 0)..=(session, u64::MAX));
        owned.map(|(_, bucket)| *bucket).collect()
    }

    /// Forgets guests that are not to be `kept`, and buckets that have neither guests nor an owner.
    fn sweep(&mut self, kept: impl Fn(u64, &Guest) -> bool) {
        self.buckets.retain(|_, bucket| {
            bucket.guests.retain(|id, guest| kept(*id, guest));
            bucket.owner.is_some() || !bucket.guests.is_empty()
        });
    }

    fn recalled(&self, bucket: u64) -> Option<u64> {
        self.buckets.get(&bucket)?.owner.as_ref()?.recalled
    }

    fn recall_all(&mut self, buckets: &[u64], number: u64) {
        for bucket in buckets {
            let bucket = self.buckets.get_mut(bucket);
            if let Some(owner) = bucket.and_then(|b| b.owner.as_mut()) {
                owner.recalled.get_or_insert(number);
            }
        }
    }

    fn disown(&mut self, session: u64, bucket: u64) {
        self.owned.remove(&(session, bucket));
        if let Some(bucket) = self.buckets.get_mut(&bucket) {
            bucket.owner = None;
        }
    }
}

impl Bucket {
    fn owned_by_another(&self, session: u64) -> bool {
        self.owner.as_ref().is_some_and(|o| o.session != session)
    }
}

impl Guest {
    fn quiet(&self, now: Duration) -> bool {
        self.inside == 0 && now >= self.last + LEASE
    }
}
