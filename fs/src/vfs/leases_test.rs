#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::AtomicU32;

use futures::poll;
use ozone_common::clock::ManualClock;
use tokio::sync::oneshot;

use super::*;

#[tokio::test]
async fn leases_are_renewed_while_buckets_are_given_back_but_not_for_ever() {
    let clock = ManualClock::new(0);
    let (sent, sending) = oneshot::channel::<()>();
    let renewals = AtomicU32::new(0);
    let work = async {
        let _ = sending.await;
    };
    let renew = || async {
        renewals.fetch_add(1, Ordering::Relaxed);
    };
    let mut giving_back = Box::pin(with_renewals(&clock, work, renew));
    let most = (RENEWALS.as_millis() / RENEWAL.as_millis()) as u32;
    for round in 0..2 * most {
        assert!(poll!(&mut giving_back).is_pending());
        assert_eq!(renewals.load(Ordering::Relaxed), round.min(most));
        clock.advance(RENEWAL);
    }
    sent.send(()).unwrap();
    giving_back.await;
}

#[tokio::test]
async fn what_is_given_back_at_once_takes_no_renewal() {
    let clock = ManualClock::new(0);
    let renew = || async { panic!("a renewal") };
    let mut giving_back = Box::pin(with_renewals(&clock, async {}, renew));
    assert!(poll!(&mut giving_back).is_ready());
}
