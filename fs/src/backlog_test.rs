#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::task::Poll;

use futures::poll;
use nix::errno::Errno;
use ozone_common::clock::ManualClock;

use super::*;
use crate::inode::{InodeTable, ROOT};

const BUCKET: u64 = 7;
const WHO: Who = Who {
    uid: 1,
    gid: 1,
    pid: 1,
};

struct World {
    clock: Arc<ManualClock>,
    inode: Arc<Inode>,
    backlog: Backlog,
}

/// A backlog that holds the bucket, with leases for a minute.
fn world() -> World {
    let clock = Arc::new(ManualClock::new(0));
    let leases = Arc::new(Leases::new(clock.clone()));
    leases.renewed(Duration::from_secs(60));
    let inodes = InodeTable::new(wire::InodeRow::default(), leases.clone());
    let backlog = Backlog::new(clock.clone(), leases);
    backlog.hold(&[BUCKET]);
    World {
        clock,
        inode: inodes.get(ROOT).unwrap(),
        backlog,
    }
}

impl World {
    fn part(&self, uid: u32) -> Part {
        Part {
            who: Some(Who { uid, ..WHO }),
            change: wire::BatchPart::default(),
            inode: self.inode.clone(),
            parent: None,
            answer: None,
            bytes: 100,
        }
    }

    fn add(&self, uid: u32) -> bool {
        let part = self.part(uid);
        let added = self.backlog.defer(BUCKET, |entry| {
            entry.push(part);
            Some(())
        });
        added.is_some()
    }
}

#[tokio::test]
async fn whoever_waits_has_everything_before_it_sent_and_answered() {
    let world = world();
    assert!(world.backlog.settle().await.is_ok());
    assert!(world.add(1) && world.add(1));
    assert!(world.backlog.take().1.is_empty(), "nobody waits yet");
    let mut settled = Box::pin(world.backlog.settle());
    assert!(poll!(&mut settled).is_pending());
    assert!(world.add(1));
    assert_eq!(world.backlog.take().1.len(), 2);
    assert!(poll!(&mut settled).is_pending());
    world.backlog.answered();
    assert!(matches!(poll!(&mut settled), Poll::Ready(Ok(()))));
    assert!(!world.backlog.is_empty());
}

#[tokio::test]
async fn nothing_is_added_to_a_bucket_that_is_given_back() {
    let world = world();
    world.backlog.leave(&[BUCKET]);
    assert!(!world.add(1));
    let content = world.backlog.defer_content(BUCKET, |_| Some(()));
    assert!(content.is_some(), "content that was left is still taken");
    world.backlog.left(&[BUCKET]);
    assert!(world.backlog.defer_content(BUCKET, |_| Some(())).is_none());
}

#[tokio::test]
async fn nothing_is_added_when_leases_have_run_out() {
    let world = world();
    world.clock.advance(Duration::from_secs(60));
    assert!(!world.add(1));
}

#[tokio::test]
async fn what_is_old_is_sent_though_nobody_waits() {
    let world = world();
    assert!(world.add(1));
    world.backlog.send_aged(Duration::from_secs(1));
    assert!(world.backlog.take().1.is_empty());
    world.clock.advance(Duration::from_secs(1));
    world.backlog.send_aged(Duration::from_secs(1));
    assert_eq!(world.backlog.take().1.len(), 1);
}

#[tokio::test]
async fn a_command_has_the_changes_of_one_user_in_order() {
    let world = world();
    for uid in [1, 1, 2, 1] {
        assert!(world.add(uid));
    }
    world.backlog.send_aged(Duration::ZERO);
    let taken = || world.backlog.take();
    let counts: Vec<_> = std::iter::repeat_with(taken)
        .take(3)
        .map(|(who, parts)| (who.unwrap().uid, parts.len()))
        .collect();
    assert_eq!(counts, [(1, 2), (2, 1), (1, 1)]);
}

#[tokio::test]
async fn what_cannot_be_sent_waits_on_and_whoever_waits_hears_of_it() {
    let world = world();
    assert!(world.add(1));
    let (told, mut answer) = oneshot::channel();
    let part = Part {
        answer: Some(told),
        ..world.part(1)
    };
    world.backlog.defer(BUCKET, |entry| {
        entry.push(part);
        Some(())
    });
    let mut settled = Box::pin(world.backlog.settle());
    assert!(poll!(&mut settled).is_pending());
    let (_, parts) = world.backlog.take();
    assert!(world.add(1));
    world.backlog.put_back(parts, Errno::EIO.into());
    assert!(settled.await.is_err_and(|error| error.is(Errno::EIO)));
    assert!(answer.try_recv().unwrap().is_err());
    world.backlog.send_aged(Duration::ZERO);
    assert_eq!(world.backlog.take().1.len(), 3);
    world.backlog.answered();
    assert!(world.backlog.settle().await.is_ok());
}

#[tokio::test]
async fn memory_is_bounded() {
    let world = world();
    let added = (0..2 * MOST_PARTS).filter(|_| world.add(1)).count();
    assert_eq!(added, MOST_PARTS);
    assert_eq!(world.backlog.take().1.len(), BATCH_PARTS);
    assert!(world.add(1));
}
