//! Requests that enter buckets: they wait until no other session has one of them to itself, and count
//! as inside until they are answered.
//!
//! A request that is inside, for however long it waits for others, keeps buckets from being given away
//! and nothing else: no request waits for a request, so that none waits for itself.

use std::time::Duration;

use ozone_proto::namespace::Change;

use super::Leases;
use super::holder::Holder;

/// Buckets that a session asks for with one renewal, at most.
const WANTED: usize = 64;

/// A request that is inside its buckets, until this is dropped.
#[must_use]
pub struct Entered<'a> {
    leases: &'a Leases,
    buckets: Vec<u64>,
    session: u64,
}

impl Entered<'_> {
    /// The session in whose name the request is made, 0 for none.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Whether the request has entered the bucket.
    pub fn holds(&self, bucket: u64) -> bool {
        self.buckets.contains(&bucket)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let (leases, now) = (self.leases, self.leases.clock.monotonic());
        let believes = |id| leases.holder(id).is_some_and(|holder| !holder.ended(now));
        leases
            .exclusive
            .leave(&self.buckets, self.session, now, believes);
    }
}

impl Leases {
    /// Lets a request of `session` into these buckets, each of which is named once, when nobody else has
    /// one of them to itself, as this leader or an earlier one has granted it.
    pub async fn enter(&self, buckets: Vec<u64>, session: u64) -> Entered<'_> {
        if !buckets.is_empty() {
            self.earlier_leases_end(session).await;
        }
        self.enter_at_once(buckets, session).await
    }

    /// As [`enter`](Self::enter), whatever an earlier leader has granted: for what a session has held
    /// back since then.
    pub async fn enter_at_once(&self, buckets: Vec<u64>, session: u64) -> Entered<'_> {
        let foreign = self.exclusive.arrive(&buckets, session);
        let entered = Entered {
            leases: self,
            buckets,
            session,
        };
        if foreign {
            for bucket in &entered.buckets {
                self.have_it_back(*bucket, session).await;
            }
        }
        entered
    }

    /// Waits until no other session than `session` owns the bucket.
    async fn have_it_back(&self, bucket: u64, session: u64) {
        let change = Change {
            object_id: bucket,
            recall: true,
            ..Default::default()
        };
        let tell = |owner| Some(self.holder(owner)?.push(vec![change]));
        let Some(awaited) = self.exclusive.recall(bucket, session, tell) else {
            return;
        };
        if let Some(holder) = self.holder(awaited.0) {
            holder.heard(awaited.1, &*self.clock).await;
        }
        self.exclusive.given_back(bucket, awaited);
    }

    /// Recalls every bucket that `session` owns, and waits for none.
    pub(super) fn take_back(&self, session: u64) {
        let tell = |buckets: &[u64]| {
            let recall = |bucket: &u64| Change {
                object_id: *bucket,
                recall: true,
                ..Default::default()
            };
            Some(
                self.holder(session)?
                    .push(buckets.iter().map(recall).collect()),
            )
        };
        self.exclusive.recall_owned(session, tell);
    }

    /// Gives `session`, which lives at `now`, the buckets that it wants and nobody else uses. True when it
    /// has got one.
    pub(super) fn give(&self, session: u64, wanted: &[u64], now: Duration) -> bool {
        let believes = |holder: &Holder| holder.start(now).is_some();
        if !self.holder(session).is_some_and(|h| believes(&h)) || !self.earlier_ended(session) {
            return false;
        }
        let forgets = |guest: u64, anew: &mut Option<u64>| {
            let Some(holder) = self.holder(guest) else {
                return true;
            };
            holder.ended(now) || holder.has_heard(*anew.get_or_insert_with(|| holder.start_anew()))
        };
        let mut gained = false;
        for bucket in wanted.iter().take(WANTED) {
            gained |= self.exclusive.take(*bucket, session, now, forgets);
        }
        gained
    }
}

#[cfg(test)]
#[path = "exclusive_test.rs"]
mod tests;
