#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const BUCKET: wire::DirRef = wire::DirRef {
    volume_id: 2,
    bucket_id: 3,
    parent_id: 3,
};

fn table() -> InodeTable {
    InodeTable::new(wire::InodeRow {
        object_id: ROOT,
        mode: 0o755,
        ..Default::default()
    })
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
            parent_id: 2
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
            parent_id: 9
        }
    );
    assert_eq!(children_of(&directory, 10).parent_id, 10);
    assert_eq!(children_of(&ROOT_DIR, ROOT), ROOT_DIR);
}

#[test]
fn an_inode_lives_as_long_as_the_kernel_or_a_handle_knows_it() {
    let table = table();
    for _ in 0..3 {
        table.remember(inode("a", 7, 1), 0).unwrap();
    }
    table.forget(7, 2);
    let known = table.get(7).unwrap();
    known.add_handle();
    known.add_handle();
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
fn the_root_is_never_forgotten() {
    let table = table();
    table.forget(ROOT, 100);
    assert_eq!(table.get(ROOT).unwrap().children(), ROOT_DIR);
}

#[test]
fn an_answer_older_than_a_rename_does_not_move_the_inode_back() {
    let table = table();
    let known = table.remember(inode("a", 7, 1), table.epoch()).unwrap();
    let asked = table.epoch();
    table.moved(7, BUCKET, Bytes::from_static(b"b"));
    table.remember(inode("a", 7, 1), asked).unwrap();
    assert_eq!(name_of(&known), b"b");
    table.remember(inode("c", 7, 2), table.epoch()).unwrap();
    assert_eq!(name_of(&known), b"c");
}

#[test]
fn an_older_row_does_not_replace_a_newer_one() {
    let table = table();
    let known = table.remember(inode("a", 7, 5), 0).unwrap();
    let row = |update_id, size| {
        Some(wire::InodeRow {
            update_id,
            size,
            ..Default::default()
        })
    };
    known.heard(row(4, 1), table.epoch());
    assert_eq!(known.attr().size, 0);
    known.heard(row(6, 2), table.epoch());
    assert_eq!(known.attr().size, 2);
}

#[test]
fn an_answer_from_before_a_change_does_not_undo_it() {
    let table = table();
    let known = table.remember(inode("a", 7, 5), 0).unwrap();
    let row = |update_id, size| {
        Some(wire::InodeRow {
            update_id,
            size,
            ..Default::default()
        })
    };
    let asked = known.epoch();
    known.changed(row(5, 100));
    known.heard(row(5, 0), asked);
    assert_eq!(known.attr().size, 100);
    known.heard(row(6, 200), asked);
    assert_eq!(known.attr().size, 200);
}

#[test]
fn the_last_name_gone_shows_no_links() {
    let table = table();
    let known = table.remember(inode("a", 7, 1), 0).unwrap();
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
    let known = table.remember(inode("a", 7, 1), 0).unwrap();
    assert!(!known.cache(10));
    assert!(known.cache(10));
    assert!(!known.cache(11));
    known.set_cached(None);
    assert!(!known.cache(11));
}
