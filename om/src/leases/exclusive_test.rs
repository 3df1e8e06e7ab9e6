#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::task::Poll;

use futures::poll;
use ozone_common::clock::{Clock, ManualClock};
use ozone_proto::namespace::RenewLeasesRequest;

use super::*;
use crate::leases::tests::{attach, leases, renew, renew_wanting};
use crate::leases::{HOLD, LEASE};

const BUCKET: u64 = 5;
const FILE: u64 = 42;

fn recall() -> Vec<Change> {
    vec![Change {
        object_id: BUCKET,
        recall: true,
        ..Default::default()
    }]
}

/// A request that is answered at once.
async fn visit(leases: &Leases, session: u64) {
    drop(leases.enter(vec![BUCKET], session).await);
}

/// Session 7 owns the bucket; the number that it has acknowledged.
async fn own(leases: &Leases, clock: &ManualClock) -> u64 {
    let seen = attach(leases, clock, 7).await;
    let answer = renew_wanting(leases, clock, 7, seen, &[BUCKET]).await;
    assert_eq!(answer.exclusive, [BUCKET]);
    answer.seq
}

fn renewals_of_a_lease() -> u32 {
    (LEASE.as_millis() / HOLD.as_millis()) as u32
}

#[tokio::test]
async fn a_bucket_is_given_only_when_nobody_else_has_used_it_for_as_long_as_a_lease_lives() {
    let (clock, leases) = leases();
    let seen = attach(&leases, &clock, 7).await;
    visit(&leases, 0).await;
    visit(&leases, 7).await;
    for _ in 0..renewals_of_a_lease() {
        let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
        assert!(answer.exclusive.is_empty());
    }
    let before = clock.monotonic();
    let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
    assert_eq!(answer.exclusive, [BUCKET]);
    assert_eq!(clock.monotonic(), before, "it is told at once");
    let answer = renew(&leases, &clock, 7, seen).await;
    assert_eq!(answer.exclusive, [BUCKET], "it need not want it again");
}

#[tokio::test]
async fn a_bucket_has_one_owner() {
    let (clock, leases) = leases();
    let other = attach(&leases, &clock, 8).await;
    own(&leases, &clock).await;
    let answer = renew_wanting(&leases, &clock, 8, other, &[BUCKET]).await;
    assert!(answer.exclusive.is_empty());
}

#[tokio::test]
async fn a_session_whose_leases_do_not_live_is_given_nothing() {
    let (clock, leases) = leases();
    let first = renew_wanting(&leases, &clock, 7, 0, &[BUCKET]).await;
    assert!(first.everything && first.exclusive.is_empty());
}

#[tokio::test]
async fn a_request_under_way_prevents_the_grant() {
    let (clock, leases) = leases();
    let seen = attach(&leases, &clock, 7).await;
    let inside = leases.enter(vec![BUCKET], 0).await;
    for _ in 0..3 * renewals_of_a_lease() {
        let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
        assert!(answer.exclusive.is_empty());
    }
    drop(inside);
    for _ in 0..renewals_of_a_lease() {
        let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
        assert!(answer.exclusive.is_empty());
    }
    let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
    assert_eq!(answer.exclusive, [BUCKET]);
}

#[tokio::test]
async fn a_session_that_may_own_nothing_gives_its_buckets_back() {
    let (clock, leases) = leases();
    let seen = own(&leases, &clock).await;
    let request = |seen| RenewLeasesRequest {
        session: 7,
        seen,
        wanted: vec![BUCKET],
    };
    let told = leases.renew(&request(seen), false).await;
    assert_eq!(told.changes, recall());
    assert!(told.exclusive.is_empty());
    let request = request(told.seq);
    let mut refused = Box::pin(leases.renew(&request, false));
    assert!(poll!(&mut refused).is_pending(), "nothing to tell");
    clock.advance(HOLD);
    assert!(refused.await.exclusive.is_empty());
    let answer = renew_wanting(&leases, &clock, 7, told.seq, &[BUCKET]).await;
    assert_eq!(answer.exclusive, [BUCKET]);
}

#[tokio::test]
async fn a_foreign_request_waits_until_the_recall_is_acknowledged() {
    let (clock, leases) = leases();
    let seen = own(&leases, &clock).await;
    let mut first = Box::pin(leases.enter(vec![BUCKET], 8));
    let mut second = Box::pin(leases.enter(vec![BUCKET], 0));
    let mut elsewhere = Box::pin(leases.enter(vec![BUCKET + 1], 8));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    assert!(poll!(&mut elsewhere).is_ready());
    let told = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
    assert_eq!(told.changes, recall(), "one recall for all that wait");
    assert!(told.exclusive.is_empty());
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    // Those who wait come before the one who wants it back.
    let answer = renew_wanting(&leases, &clock, 7, told.seq, &[BUCKET]).await;
    assert!(answer.exclusive.is_empty());
    assert!(poll!(&mut first).is_ready() && poll!(&mut second).is_ready());
}

#[tokio::test]
async fn the_owner_s_own_requests_do_not_wait() {
    let (clock, leases) = leases();
    own(&leases, &clock).await;
    assert!(poll!(Box::pin(leases.enter(vec![BUCKET], 7))).is_ready());
    let mut foreign = Box::pin(leases.enter(vec![BUCKET], 8));
    assert!(poll!(&mut foreign).is_pending());
    assert!(poll!(Box::pin(leases.enter(vec![BUCKET], 7))).is_ready());
    assert!(poll!(Box::pin(leases.enter_at_once(vec![BUCKET], 7))).is_ready());
}

#[tokio::test]
async fn a_silent_owner_loses_the_bucket_after_a_lease() {
    let (clock, leases) = leases();
    let seen = own(&leases, &clock).await;
    let mut foreign = Box::pin(leases.enter(vec![BUCKET], 8));
    assert!(poll!(&mut foreign).is_pending());
    clock.advance(LEASE);
    drop(foreign.await);
    let answer = renew(&leases, &clock, 7, seen).await;
    assert!(answer.everything && answer.exclusive.is_empty());
}

#[tokio::test]
async fn an_owner_that_comes_back_late_owns_nothing() {
    let (clock, leases) = leases();
    let seen = own(&leases, &clock).await;
    clock.advance(LEASE);
    let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
    assert!(answer.everything && answer.exclusive.is_empty());
    assert!(poll!(Box::pin(leases.enter(vec![BUCKET], 8))).is_ready());
}

#[tokio::test]
async fn an_owner_that_ends_gives_way_at_once() {
    let (clock, leases) = leases();
    own(&leases, &clock).await;
    let mut foreign = Box::pin(leases.enter(vec![BUCKET], 8));
    assert!(poll!(&mut foreign).is_pending());
    leases.session_closed(7);
    assert!(poll!(&mut foreign).is_ready());
}

#[tokio::test]
async fn an_owner_that_starts_anew_has_said_so_before_others_look() {
    let (clock, leases) = leases();
    let seen = own(&leases, &clock).await;
    leases.holder(7).unwrap().start_anew();
    let told = renew(&leases, &clock, 7, seen).await;
    assert!(told.everything && told.exclusive.is_empty());
    let mut foreign = Box::pin(leases.enter(vec![BUCKET], 8));
    assert!(poll!(&mut foreign).is_pending());
    renew(&leases, &clock, 7, told.seq).await;
    assert!(poll!(&mut foreign).is_ready());
}

#[tokio::test]
async fn who_believed_something_has_heard_to_forget_before_another_owns_the_bucket() {
    let (clock, leases) = leases();
    let other = attach(&leases, &clock, 8).await;
    let seen = attach(&leases, &clock, 7).await;
    let inside = leases.enter(vec![BUCKET], 8).await;
    assert!(leases.grant(8, leases.moment(), &[FILE]));
    drop(inside);
    for _ in 0..renewals_of_a_lease() / 2 {
        let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
        assert!(answer.exclusive.is_empty());
        assert!(!renew(&leases, &clock, 8, other).await.everything);
    }
    let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
    assert!(answer.exclusive.is_empty());
    let told = renew(&leases, &clock, 8, other).await;
    assert!(told.everything);
    let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
    assert!(
        answer.exclusive.is_empty(),
        "it has been told, and not said so"
    );
    renew(&leases, &clock, 8, told.seq).await;
    let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
    assert_eq!(answer.exclusive, [BUCKET]);
    assert!(poll!(Box::pin(leases.enter(vec![BUCKET], 8))).is_pending());
}

#[tokio::test]
async fn who_comes_back_after_it_has_forgotten_has_to_forget_again() {
    let (clock, leases) = leases();
    let mut other = attach(&leases, &clock, 8).await;
    let seen = attach(&leases, &clock, 7).await;
    for _ in 0..2 {
        visit(&leases, 8).await;
        for _ in 0..renewals_of_a_lease() / 2 {
            renew(&leases, &clock, 7, seen).await;
            renew(&leases, &clock, 8, other).await;
        }
        let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
        assert!(answer.exclusive.is_empty());
        let told = renew(&leases, &clock, 8, other).await;
        assert!(told.everything);
        other = renew(&leases, &clock, 8, told.seq).await.seq;
    }
    let answer = renew_wanting(&leases, &clock, 7, seen, &[BUCKET]).await;
    assert_eq!(answer.exclusive, [BUCKET]);
}

#[tokio::test]
async fn whose_leases_have_ended_keeps_no_bucket_from_others() {
    let (clock, leases) = leases();
    attach(&leases, &clock, 8).await;
    visit(&leases, 8).await;
    clock.advance(LEASE);
    own(&leases, &clock).await;
}

#[tokio::test]
async fn a_new_leader_lets_nobody_look_before_earlier_leases_have_ended_but_takes_batches() {
    let (clock, leases) = leases();
    leases.take_over(&[7, 8], clock.monotonic());
    let mut foreign = Box::pin(leases.enter(vec![BUCKET], 9));
    let mut known = Box::pin(leases.enter(vec![BUCKET], 8));
    assert!(poll!(&mut foreign).is_pending() && poll!(&mut known).is_pending());
    assert!(poll!(Box::pin(leases.enter_at_once(vec![BUCKET], 7))).is_ready());
    assert!(poll!(Box::pin(leases.enter(Vec::new(), 9))).is_ready());
    let told = renew_wanting(&leases, &clock, 7, 3, &[BUCKET]).await;
    renew_wanting(&leases, &clock, 7, told.seq, &[BUCKET]).await;
    assert!(poll!(&mut foreign).is_pending());
    let Poll::Ready(inside) = poll!(&mut known) else {
        panic!("it waits for itself")
    };
    drop(inside);
    clock.advance(LEASE);
    drop(foreign.await);
}

#[tokio::test]
async fn a_new_leader_gives_no_bucket_before_earlier_leases_have_ended() {
    let (clock, leases) = leases();
    leases.take_over(&[7, 8], clock.monotonic());
    let told = renew(&leases, &clock, 7, 3).await;
    for _ in 0..renewals_of_a_lease() {
        let answer = renew_wanting(&leases, &clock, 7, told.seq, &[BUCKET]).await;
        assert!(answer.exclusive.is_empty());
    }
    let answer = renew_wanting(&leases, &clock, 7, told.seq, &[BUCKET]).await;
    assert_eq!(answer.exclusive, [BUCKET]);
}

#[tokio::test]
async fn an_owner_that_renews_and_has_not_sent_everything_keeps_others_waiting() {
    let (clock, leases) = leases();
    let seen = own(&leases, &clock).await;
    let mut foreign = Box::pin(leases.enter(vec![BUCKET], 8));
    assert!(poll!(&mut foreign).is_pending());
    let mut told = seen;
    for _ in 0..3 * renewals_of_a_lease() {
        clock.advance(HOLD);
        told = renew(&leases, &clock, 7, seen).await.seq;
        assert!(poll!(&mut foreign).is_pending());
    }
    renew(&leases, &clock, 7, told).await;
    assert!(poll!(&mut foreign).is_ready());
}

#[tokio::test]
async fn buckets_that_are_named_by_whom_nobody_knows_are_not_remembered_for_ever() {
    const NAMED: u64 = 20_000;
    let (clock, leases) = leases();
    let mut seen = attach(&leases, &clock, 7).await;
    visit(&leases, 7).await;
    for n in 0..NAMED {
        // Without a session, and in the name of one that there is not.
        drop(leases.enter(vec![1000 + n], n % 2 * 99).await);
        if n % 100 == 0 {
            seen = renew(&leases, &clock, 7, seen).await.seq;
        }
    }
    let remembered = leases.exclusive.remembered();
    assert!(remembered < 5000, "{remembered} buckets");
    // Who may believe something is not forgotten.
    let other = attach(&leases, &clock, 8).await;
    let answer = renew_wanting(&leases, &clock, 8, other, &[BUCKET]).await;
    assert!(answer.exclusive.is_empty());
    assert!(renew(&leases, &clock, 7, seen).await.everything);
}
