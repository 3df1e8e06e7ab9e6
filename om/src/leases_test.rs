#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::task::Poll;

use futures::poll;
use ozone_common::clock::ManualClock;

use super::*;

const FILE: u64 = 42;

fn change() -> Vec<Change> {
    vec![Change {
        object_id: FILE,
        ..Default::default()
    }]
}

pub(super) async fn renew(
    leases: &Leases,
    clock: &ManualClock,
    session: u64,
    seen: u64,
) -> RenewLeasesResponse {
    renew_wanting(leases, clock, session, seen, &[]).await
}

pub(super) async fn renew_wanting(
    leases: &Leases,
    clock: &ManualClock,
    session: u64,
    seen: u64,
    wanted: &[u64],
) -> RenewLeasesResponse {
    let request = RenewLeasesRequest {
        session,
        seen,
        wanted: wanted.to_vec(),
    };
    let mut answer = Box::pin(leases.renew(&request, true));
    match poll!(&mut answer) {
        Poll::Ready(answer) => answer,
        Poll::Pending => {
            clock.advance(HOLD);
            answer.await
        }
    }
}

pub(super) fn leases() -> (Arc<ManualClock>, Leases) {
    let clock = Arc::new(ManualClock::new(1_000_000));
    (clock.clone(), Leases::new(clock))
}

/// A session that has heard that it starts from nothing; the number it acknowledges.
pub(super) async fn attach(leases: &Leases, clock: &ManualClock, session: u64) -> u64 {
    let first = renew(leases, clock, session, 0).await;
    assert!(first.everything);
    let quiet = renew(leases, clock, session, first.seq).await;
    assert!(!quiet.everything && quiet.changes.is_empty());
    quiet.seq
}

#[tokio::test]
async fn a_change_waits_until_every_holder_has_heard_of_it() {
    let (clock, leases) = leases();
    let seen = attach(&leases, &clock, 7).await;
    assert!(leases.grant(7, leases.moment(), &[FILE]));
    let mut changing = Box::pin(leases.changed(change(), 8));
    assert!(poll!(&mut changing).is_pending());
    let told = renew(&leases, &clock, 7, seen).await;
    assert_eq!(told.changes, change());
    assert!(poll!(&mut changing).is_pending());
    renew(&leases, &clock, 7, told.seq).await;
    assert!(poll!(&mut changing).is_ready());
}

#[tokio::test]
async fn who_changes_something_does_not_wait_for_itself() {
    let (clock, leases) = leases();
    attach(&leases, &clock, 7).await;
    assert!(leases.grant(7, leases.moment(), &[FILE]));
    assert!(poll!(Box::pin(leases.changed(change(), 7))).is_ready());
}

#[tokio::test]
async fn a_silent_holder_is_waited_for_until_its_leases_end_and_then_starts_anew() {
    let (clock, leases) = leases();
    let seen = attach(&leases, &clock, 7).await;
    assert!(leases.grant(7, leases.moment(), &[FILE]));
    let mut changing = Box::pin(leases.changed(change(), 8));
    assert!(poll!(&mut changing).is_pending());
    clock.advance(LEASE);
    changing.await;
    assert!(!leases.grant(7, leases.moment(), &[FILE]));
    assert!(renew(&leases, &clock, 7, seen).await.everything);
}

#[tokio::test]
async fn what_changed_between_the_look_and_the_grant_is_not_leased() {
    let (clock, leases) = leases();
    attach(&leases, &clock, 7).await;
    let moment = leases.moment();
    leases.changed(change(), 8).await;
    assert!(!leases.grant(7, moment, &[FILE]));
    assert!(leases.grant(7, leases.moment(), &[FILE]));
}

#[tokio::test]
async fn a_session_that_never_renewed_gets_no_leases() {
    let (_, leases) = leases();
    assert!(!leases.grant(7, leases.moment(), &[FILE]));
}

#[tokio::test]
async fn a_session_that_ends_releases_who_waits_for_it() {
    let (clock, leases) = leases();
    attach(&leases, &clock, 7).await;
    leases.grant(7, leases.moment(), &[FILE]);
    let mut changing = Box::pin(leases.changed(change(), 8));
    assert!(poll!(&mut changing).is_pending());
    leases.session_closed(7);
    changing.await;
}

#[tokio::test]
async fn a_new_leader_acknowledges_no_change_while_leases_of_the_old_one_may_live() {
    let (clock, leases) = leases();
    leases.take_over(&[7], clock.monotonic());
    let mut changing = Box::pin(leases.changed(change(), 8));
    assert!(poll!(&mut changing).is_pending());
    let told = renew(&leases, &clock, 7, 3).await;
    assert!(told.everything);
    assert!(poll!(&mut changing).is_pending());
    renew(&leases, &clock, 7, told.seq).await;
    assert!(poll!(&mut changing).is_ready());

    leases.take_over(&[7], clock.monotonic());
    let mut changing = Box::pin(leases.changed(change(), 8));
    assert!(poll!(&mut changing).is_pending());
    clock.advance(LEASE);
    changing.await;
}

#[tokio::test]
async fn too_many_changes_become_one() {
    let (clock, leases) = leases();
    let seen = attach(&leases, &clock, 7).await;
    leases.grant(7, leases.moment(), &[FILE]);
    let many = change().into_iter().cycle().take(20_000).collect();
    let mut changing = Box::pin(leases.changed(many, 8));
    assert!(poll!(&mut changing).is_pending());
    let told = renew(&leases, &clock, 7, seen).await;
    assert!(told.everything && told.changes.is_empty());
    renew(&leases, &clock, 7, told.seq).await;
    changing.await;
}

#[tokio::test]
async fn who_starts_anew_is_waited_for_until_it_has_forgotten() {
    let (clock, leases) = leases();
    let seen = attach(&leases, &clock, 7).await;
    assert!(leases.grant(7, leases.moment(), &[FILE]));
    leases.holder(7).unwrap().start_anew();
    assert!(!leases.grant(7, leases.moment(), &[FILE]));
    let mut changing = Box::pin(leases.changed(change(), 8));
    assert!(poll!(&mut changing).is_pending(), "it believes yet");
    let told = renew(&leases, &clock, 7, seen).await;
    assert!(told.everything);
    renew(&leases, &clock, 7, told.seq).await;
    assert!(poll!(&mut changing).is_ready());
    assert!(leases.holders(FILE).next().is_none());
    assert!(leases.grant(7, leases.moment(), &[FILE]));
}

#[tokio::test]
async fn a_change_does_not_wait_for_what_its_author_believes_from_an_earlier_leader() {
    let (clock, leases) = leases();
    leases.take_over(&[7], clock.monotonic());
    assert!(poll!(Box::pin(leases.changed(change(), 7))).is_ready());
}

#[tokio::test]
async fn who_has_forgotten_everything_says_so_once() {
    let (clock, leases) = leases();
    let forgets = |seen| {
        leases.forgets(&RenewLeasesRequest {
            session: 7,
            seen,
            wanted: Vec::new(),
        })
    };
    let seen = attach(&leases, &clock, 7).await;
    assert!(!forgets(seen), "it has said so");
    leases.holder(7).unwrap().start_anew();
    let told = renew(&leases, &clock, 7, seen).await;
    assert!(!forgets(seen) && forgets(told.seq));
    renew(&leases, &clock, 7, told.seq).await;
    assert!(!forgets(told.seq));
}
