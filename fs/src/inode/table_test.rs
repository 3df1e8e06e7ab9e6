#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use ozone_common::clock::ManualClock;

use super::*;
use crate::inode::children_of;

const BUCKET: wire::DirRef = wire::DirRef {
    volume_id: 2,
    bucket_id: 3,
    parent_id: 3,
    snapshot: 0,
};

fn table() -> InodeTable {
    let root = wire::InodeRow {
        object_id: ROOT,
        mode: 0o755,
        ..Default::default()
    };
    let leases = Leases::new(Arc::new(ManualClock::new(0)));
    leases.renewed(Duration::from_secs(3600));
    InodeTable::new(root, Arc::new(leases))
}

fn remember(table: &InodeTable, found: wire::Inode, asked: Asked) -> Arc<Inode> {
    table.remember(found, asked).unwrap().0
}

fn inode(name: &'static str, id: u64, update_id: u64) -> wire::Inode {
    let place = wire::InodeRef {
        dir: Some(BUCKET),
        name: Bytes::from_static(name.as_bytes()),
        object_id: id,
    };
    let row = wire::InodeRow {
        object_id: id,
        update_id,
        nlink: 1,
        ..Default::default()
    };
    wire::Inode {
        r#ref: Some(place),
        row: Some(row),
        leased: true,
        snapshot: 0,
    }
}

fn name_of(inode: &Inode) -> Vec<u8> {
    inode.reference().name.to_vec()
}

#[test]
fn children_follow_the_levels_of_the_tree() {
    let volume = children_of(&ROOT_DIR, 2);
    assert_eq!(
        volume,
        wire::DirRef {
            volume_id: 2,
            bucket_id: 0,
            parent_id: 2,
            snapshot: 0
        }
    );
    let bucket = children_of(&volume, 3);
    assert_eq!(bucket, BUCKET);
    let directory = children_of(&bucket, 9);
    assert_eq!(
        directory,
        wire::DirRef {
            volume_id: 2,
            bucket_id: 3,
            parent_id: 9,
            snapshot: 0
        }
    );
    assert_eq!(children_of(&directory, 10).parent_id, 10);
    assert_eq!(children_of(&ROOT_DIR, ROOT), ROOT_DIR);
}

#[test]
fn an_inode_lives_as_long_as_the_kernel_or_a_handle_knows_it() {
    let table = table();
    for _ in 0..3 {
        table.remember(inode("a", 7, 1), table.asked()).unwrap();
    }
    table.forget(7, 2);
    let known = table.get(7).unwrap();
    known.add_handle(false);
    known.add_handle(false);
    table.forget(7, 1);
    assert!(table.peek(7).is_some());
    assert_eq!(known.drop_handle(), 1);
    assert!(!known.to_release());
    assert_eq!(known.drop_handle(), 0);
    table.drop_unused(7);
    assert!(known.to_release() && table.peek(7).is_some());
    known.released();
    table.drop_unused(7);
    assert!(table.get(7).err().unwrap().is(Errno::ESTALE));
}

#[test]
fn what_is_sent_again_takes_back_no_open() {
    let table = table();
    let known = remember(&table, inode("a", 7, 1), table.asked());
    known.begin();
    known.add_handle(false);
    assert!(known.born(), "open while it is sent");
    known.drop_handle();
    assert!(known.born() && known.to_release());

    let closed = remember(&table, inode("b", 8, 1), table.asked());
    closed.begin();
    closed.add_handle(false);
    closed.drop_handle();
    assert!(!closed.born() && !closed.to_release());
}

#[test]
fn a_commit_that_follows_the_end_of_leases_keeps_no_pages() {
    let table = table();
    let known = remember(&table, inode("a", 7, 1), table.asked());
    known.cache(10);
    let asked = table.asked();
    known.keep_cached(asked, Some(11));
    assert_eq!(known.cached(), Some(11));
    table.leases.forget_everything();
    known.keep_cached(asked, Some(12));
    assert_eq!(known.cached(), None, "they ended while it was sent");

    known.cache(12);
    table.leases.forget_everything();
    known.keep_cached(table.asked(), Some(13));
    assert_eq!(known.cached(), None, "they ended before");
}

#[test]
fn a_name_may_be_that_of_a_file_which_was_last_seen_there_or_has_others() {
    let table = table();
    let known = remember(&table, inode("a", 7, 1), table.asked());
    assert!(known.may_be_at(&BUCKET, b"a") && !known.may_be_at(&BUCKET, b"b"));
    assert!(!known.may_be_at(&ROOT_DIR, b"a"));
    known.change_first(|row| row.nlink = 2);
    assert!(known.may_be_at(&BUCKET, b"b"));
}

#[test]
fn the_root_is_never_forgotten() {
    let table = table();
    table.forget(ROOT, 100);
    assert_eq!(table.get(ROOT).unwrap().children(), ROOT_DIR);
}

#[test]
fn an_answer_older_than_a_rename_does_not_move_the_inode_back() {
    let table = table();
    let known = remember(&table, inode("a", 7, 1), table.asked());
    let asked = table.asked();
    table.moved(7, BUCKET, Bytes::from_static(b"b"));
    table.remember(inode("a", 7, 1), asked).unwrap();
    assert_eq!(name_of(&known), b"b");
    table.remember(inode("c", 7, 2), table.asked()).unwrap();
    assert_eq!(name_of(&known), b"c");
}

#[test]
fn an_older_row_does_not_replace_a_newer_one() {
    let table = table();
    let known = remember(&table, inode("a", 7, 5), table.asked());
    let row = |update_id, size| wire::Inode {
        row: Some(wire::InodeRow {
            update_id,
            size,
            ..Default::default()
        }),
        ..Default::default()
    };
    known.heard(row(4, 1), table.asked());
    assert_eq!(known.attr().size, 0);
    known.heard(row(6, 2), table.asked());
    assert_eq!(known.attr().size, 2);
}

#[test]
fn an_answer_from_before_a_change_does_not_undo_it() {
    let table = table();
    let known = remember(&table, inode("a", 7, 5), table.asked());
    let row = |update_id, size| wire::Inode {
        row: Some(wire::InodeRow {
            update_id,
            size,
            ..Default::default()
        }),
        ..Default::default()
    };
    let asked = known.asked();
    known.changed(row(5, 100), known.asked());
    known.heard(row(5, 0), asked);
    assert_eq!(known.attr().size, 100);
    known.heard(row(6, 200), asked);
    assert_eq!(known.attr().size, 200);
}

#[test]
fn the_last_name_gone_shows_no_links() {
    let table = table();
    let known = remember(&table, inode("a", 7, 1), table.asked());
    table.lost_name(7, Some(1));
    assert!(!known.nameless());
    table.lost_name(7, None);
    assert!(known.nameless());
    assert_eq!(known.attr().nlink, 0);
    assert!(table.at(&BUCKET, b"a").is_none());
}

#[test]
fn pages_are_kept_only_while_the_extents_are_the_same() {
    let table = table();
    let known = remember(&table, inode("a", 7, 1), table.asked());
    assert!(!known.cache(10));
    assert!(known.cache(10));
    assert!(!known.cache(11));
    known.set_cached(None);
    assert!(!known.cache(11));
}

#[test]
fn a_leased_row_is_believed_until_somebody_changes_it() {
    let table = table();
    let asked = table.asked();
    let known = remember(&table, inode("a", 7, 1), asked);
    assert!(known.believed());
    assert!(table.look_again(7).is_some());
    table.doubt(7);
    assert!(!known.believed());
    assert!(table.look_again(7).is_none());
    known.heard(inode("a", 7, 1), asked);
    assert!(!known.believed(), "an answer from before the change");
    known.heard(inode("a", 7, 2), table.asked());
    assert!(known.believed());
}

#[test]
fn an_inode_that_comes_in_after_a_change_it_does_not_tell_of_is_not_believed() {
    let table = table();
    let asked = table.asked();
    table.doubt(7);
    assert!(!remember(&table, inode("a", 7, 1), asked).believed());
}

#[test]
fn own_changes_whose_result_was_not_told_are_asked_for() {
    let table = table();
    let known = remember(&table, inode("a", 7, 1), table.asked());
    table.moved(7, BUCKET, Bytes::from_static(b"b"));
    assert!(!known.believed());
}

#[test]
fn a_change_made_in_memory_is_not_undone_by_an_answer_that_does_not_tell_of_it() {
    let table = table();
    let known = remember(&table, inode("f", 7, 5), table.asked());
    known.change_first(|row| row.mode = 0o600);
    let asked = known.asked();
    known.heard(inode("f", 7, 6), asked);
    assert_eq!(known.attr().mode, 0o600);
    assert!(known.waits());
    let mut answer = inode("f", 7, 8);
    answer.row.as_mut().unwrap().mode = 0o600;
    known.answered(Some(answer), known.asked());
    assert!(!known.waits());
    assert_eq!(known.with_row(|row| row.update_id), 8);
}

#[test]
fn the_answer_to_a_commit_shows_its_content_though_another_change_waits() {
    let table = table();
    let known = remember(&table, inode("f", 7, 5), table.asked());
    known.change_first(|_| ());
    known.change_first(|row| row.mode = 0o600);
    let mut committed = inode("f", 7, 6);
    committed.row.as_mut().unwrap().size = 100;
    known.answered(Some(committed), known.asked());
    assert_eq!((known.attr().size, known.attr().mode), (100, 0o600));
}

#[test]
fn an_inode_that_waits_is_kept_though_the_kernel_forgets_it() {
    let table = table();
    let made = remember(&table, inode("f", 7, 0), table.asked());
    made.begin();
    assert!(made.unborn());
    table.forget(7, 1);
    assert!(table.peek(7).is_some());
    assert!(!made.born(), "nobody has it open");
    made.answered(Some(inode("f", 7, 9)), table.asked());
    table.drop_unused(7);
    assert!(table.peek(7).is_none());
}
