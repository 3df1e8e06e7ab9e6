#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use bytes::Bytes;
use ozone_common::clock::ManualClock;

use super::*;
use crate::inode::{InodeTable, ROOT};
use crate::leases::Leases;
use crate::wire::{BlockSource, Extent, InlineSource};

fn inode() -> Arc<Inode> {
    let leases = Arc::new(Leases::new(Arc::new(ManualClock::new(0))));
    let table = InodeTable::new(InodeRow::default(), leases);
    table.get(ROOT).unwrap()
}

#[test]
fn content_shows_the_time_that_a_program_set_while_it_was_on_its_way() {
    let inode = inode();
    let piece = (0, b"content".as_slice());
    let pending = &inode.data().pending;
    pending.lock().write(piece, 7, Duration::ZERO);
    pending.lock().take(Commit::All, 0);
    let commit = CommitRequest {
        mtime_ns: 7,
        ..Default::default()
    };
    pending.lock().set_mtime(42);
    let (sent, _) = as_it_is(&commit, &inode, 100);
    assert_eq!(sent.mtime_ns, 42);
}

#[test]
fn a_change_that_sets_no_time_of_its_own_is_made_now() {
    let inode = inode();
    let (sent, time_ns) = as_it_is(&CommitRequest::default(), &inode, 100);
    assert_eq!((sent.mtime_ns, time_ns), (0, 100));
}

#[test]
fn a_part_is_as_large_as_its_extents() {
    let extent = |source| Extent {
        source: Some(source),
        ..Default::default()
    };
    let inline = Source::Inline(InlineSource {
        data: Bytes::from_static(b"content"),
        ..Default::default()
    });
    let block = Source::Block(BlockSource::default());
    let commit = CommitRequest {
        extents: [block.clone(), block, inline].map(extent).to_vec(),
        ..Default::default()
    };
    assert_eq!(extent_bytes(&commit), 3 * EXTENT + 7);
}
