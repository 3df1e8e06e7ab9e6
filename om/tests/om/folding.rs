//! Inline bytes that move into blocks: nothing that a reader sees changes, and nothing is left over.

use bytes::Bytes;
use ozone_om::fold_batch::{Batch, Look, gather};
use ozone_om::{file_map, fold_queue, namespace, tables};
use ozone_proto::hdds::{ReplicationFactor, ReplicationType};
use ozone_proto::namespace::extent::Source;
use ozone_proto::namespace::{
    BlockSource, CloseSessionRequest, DirRef, Extent, FoldFile, FoldPiece, FoldRequest, Inode,
    InodeKind, InodeRow, OpenSessionRequest, Replication,
};
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::{OmResponse, Status};

use crate::support::{Om, extent, id, inline, rename, unlink};

/// A block's bytes, by its local id.
type Blocks = std::collections::BTreeMap<u64, Vec<u8>>;

fn row(om: &Om, file: &Inode) -> InodeRow {
    let store = om.state.store().unwrap();
    namespace::find(&*store, file.r#ref.as_ref().unwrap())
        .unwrap()
        .row
}

fn map(om: &Om, file: &Inode) -> Vec<Extent> {
    let store = om.state.store().unwrap();
    let (map, more) = file_map::read(&*store, &row(om, file), 0, u64::MAX, usize::MAX).unwrap();
    assert!(!more);
    map
}

/// The file as a reader gets it.
fn content(om: &Om, file: &Inode, blocks: &Blocks) -> Vec<u8> {
    let store = om.state.store().unwrap();
    let mut bytes = vec![0; row(om, file).size as usize];
    for e in map(om, file) {
        let length = e.length as usize;
        let data = match e.source.as_ref().unwrap() {
            Source::Inline(i) => file_map::inline_bytes(&*store, id(file), i, length).unwrap(),
            Source::Block(b) => {
                let from = b.offset as usize;
                Bytes::copy_from_slice(&blocks[&b.local][from..from + length])
            }
        };
        bytes[e.file_offset as usize..][..length].copy_from_slice(&data);
    }
    bytes
}

/// What the leader would write to a block for this file, after `data` that is in it already.
fn pieces(om: &Om, file: &Inode, data: &mut Vec<u8>) -> FoldFile {
    let store = om.state.store().unwrap();
    let mut fold = FoldFile {
        object_id: id(file),
        ..Default::default()
    };
    for e in map(om, file) {
        let Some(Source::Inline(i)) = &e.source else {
            continue;
        };
        fold.pieces.push(FoldPiece {
            id: i.id,
            offset: i.offset,
            length: e.length,
            file_offset: e.file_offset,
            block_offset: data.len() as u64,
        });
        data.extend(file_map::inline_bytes(&*store, id(file), i, e.length as usize).unwrap());
    }
    fold
}

/// A session of the OM's own with a block.
fn own_block(om: &mut Om, local: u64) -> u64 {
    let answer = om.ask(Body::OpenSession(OpenSessionRequest::default()));
    let Some(Reply::OpenSession(opened)) = answer.body else {
        panic!("no session")
    };
    om.block(opened.session, local);
    opened.session
}

fn fold(om: &mut Om, session: u64, local: u64, files: Vec<FoldFile>) -> OmResponse {
    let block = BlockSource {
        container: 1,
        local,
        offset: 0,
        bcsid: 5,
    };
    om.ask(Body::Fold(FoldRequest {
        session,
        block: Some(block),
        files,
    }))
}

fn queued(om: &Om) -> usize {
    om.rows(tables::FOLD)
}

fn file(om: &mut Om, dir: DirRef, name: &str) -> Inode {
    om.create(dir, name, InodeKind::File)
}

#[test]
fn folded_files_read_as_before_and_the_om_keeps_none_of_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let (a, b) = (file(&mut om, root, "a"), file(&mut om, root, "b"));
    om.commit(&a, session, vec![inline(0, b"hello "), inline(6, b"world")]);
    om.commit(&b, session, vec![inline(3, b"beside")]);
    assert_eq!(queued(&om), 4, "an entry and a due time each");
    let before = (row(&om, &a), row(&om, &b));
    let was = (
        content(&om, &a, &Blocks::new()),
        content(&om, &b, &Blocks::new()),
    );

    let mut data = Vec::new();
    let files = vec![pieces(&om, &a, &mut data), pieces(&om, &b, &mut data)];
    let own = own_block(&mut om, 9);
    assert_eq!(fold(&mut om, own, 9, files).status(), Status::Ok);

    let blocks = Blocks::from([(9, data)]);
    assert_eq!((content(&om, &a, &blocks), content(&om, &b, &blocks)), was);
    assert_eq!(map(&om, &a).len(), 1, "neighbours are one extent");
    let after = (row(&om, &a), row(&om, &b));
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        let unchanged = InodeRow {
            extents: before.extents.clone(),
            ..after
        };
        assert_eq!(unchanged, before, "nothing but the map changed");
    }
    assert_eq!((om.rows(tables::INLINE), queued(&om)), (0, 0));
    assert_eq!(om.rows(tables::OPEN_BLOCK), 0, "the own session has ended");

    om.ask(unlink(root, "a", false, None));
    om.purge();
    assert_eq!(om.rows(tables::FREED_BLOCK), 0, "b is in the same block");
    om.ask(unlink(root, "b", false, None));
    om.purge();
    assert_eq!(om.rows(tables::FREED_BLOCK), 1);
}

#[test]
fn what_was_written_while_a_block_was_on_its_way_wins() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let (a, gone) = (file(&mut om, root, "a"), file(&mut om, root, "gone"));
    om.commit(&a, session, vec![inline(0, &[1; 100])]);
    om.commit(&gone, session, vec![inline(0, &[7; 10])]);
    let mut data = Vec::new();
    let files = vec![pieces(&om, &a, &mut data), pieces(&om, &gone, &mut data)];
    let own = own_block(&mut om, 9);
    // Overwritten in the middle, renamed, and one deleted, before the fold arrives.
    om.commit(&a, session, vec![inline(40, &[2; 20])]);
    om.ask(Body::Rename(rename(root, "a", root, "b")));
    om.ask(unlink(root, "gone", false, None));
    om.purge();
    let a = Inode {
        r#ref: a.r#ref.map(|r| ozone_proto::namespace::InodeRef {
            name: Bytes::from_static(b"b"),
            ..r
        }),
        ..a
    };
    assert_eq!(fold(&mut om, own, 9, files).status(), Status::Ok);
    let blocks = Blocks::from([(9, data)]);
    let expected = [vec![1; 40], vec![2; 20], vec![1; 40]].concat();
    assert_eq!(content(&om, &a, &blocks), expected);
    assert_eq!(map(&om, &a).len(), 3);
    assert_eq!(
        (om.rows(tables::INLINE), queued(&om)),
        (1, 2),
        "the new bytes wait"
    );

    let mut data = Vec::new();
    let files = vec![pieces(&om, &a, &mut data)];
    let own = own_block(&mut om, 10);
    fold(&mut om, own, 10, files);
    let blocks = Blocks::from([(9, blocks[&9].clone()), (10, data)]);
    assert_eq!(content(&om, &a, &blocks), expected);
    assert_eq!((om.rows(tables::INLINE), queued(&om)), (0, 0));
}

#[test]
fn a_fold_whose_session_has_ended_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let a = file(&mut om, root, "a");
    om.commit(&a, session, vec![inline(0, b"kept")]);
    let files = vec![pieces(&om, &a, &mut Vec::new())];
    let own = own_block(&mut om, 9);
    om.ask(Body::CloseSession(CloseSessionRequest {
        session: own,
        expired: true,
    }));
    assert_eq!(om.rows(tables::FREED_BLOCK), 1);
    let late = fold(&mut om, own, 9, files.clone());
    assert_eq!(late.status(), Status::SessionExpired);
    // A block that is not the session's is as bad: it could be freed at any time.
    let other = own_block(&mut om, 10);
    assert_eq!(fold(&mut om, other, 9, files).status(), Status::Stale);
    assert_eq!(content(&om, &a, &Blocks::new()), b"kept");
    assert_eq!((om.rows(tables::INLINE), queued(&om)), (1, 2));
}

#[test]
fn a_file_with_many_small_appends_is_due_at_once_and_ends_as_one_extent() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let log = file(&mut om, root, "log");
    let due = |om: &Om| {
        let due = fold_queue::due(&*om.state.store().unwrap(), 1, (None, 10)).unwrap();
        due.into_iter()
            .map(|(_, object)| object)
            .collect::<Vec<_>>()
    };
    let mut expected = Vec::new();
    for n in 0..200u8 {
        assert_eq!(due(&om).is_empty(), n < 64, "append {n}");
        om.commit(&log, session, vec![inline(u64::from(n) * 10, &[n; 10])]);
        expected.extend([n; 10]);
    }
    assert_eq!(due(&om), [id(&log)]);
    let mut data = Vec::new();
    let files = vec![pieces(&om, &log, &mut data)];
    let own = own_block(&mut om, 9);
    fold(&mut om, own, 9, files);
    assert_eq!(
        map(&om, &log),
        [Extent {
            source: Some(Source::Block(BlockSource {
                container: 1,
                local: 9,
                offset: 0,
                bcsid: 5
            })),
            ..extent(0, 2000, 9, 0)
        }]
    );
    assert_eq!(content(&om, &log, &Blocks::from([(9, data)])), expected);
    assert_eq!((om.rows(tables::INLINE), queued(&om)), (0, 0));
}

#[test]
fn inline_bytes_across_rows_of_the_map_survive_the_loss_of_one_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let file = file(&mut om, root, "f");
    // So many extents that the map moves to its table.
    for n in 0..40 {
        om.commit(&file, session, vec![inline(n * 100, b"x")]);
    }
    assert!(row(&om, &file).extents_in_table);
    let border = 4 << 20;
    om.commit(
        &file,
        session,
        vec![inline(border - 8, b"left....right...")],
    );
    om.commit(&file, session, vec![inline(border - 8, b"LEFT....")]);
    let got = content(&om, &file, &Blocks::new());
    assert_eq!(&got[border as usize - 8..], b"LEFT....right...");
    let mut data = Vec::new();
    let files = vec![pieces(&om, &file, &mut data)];
    let own = own_block(&mut om, 9);
    fold(&mut om, own, 9, files);
    assert_eq!(content(&om, &file, &Blocks::from([(9, data)])), got);
    assert_eq!(om.rows(tables::INLINE), 0);
}

#[test]
fn a_file_without_a_word_about_replication_is_kept_and_accounted_as_the_default_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let three = Replication {
        r#type: ReplicationType::Ratis.into(),
        factor: ReplicationFactor::Three.into(),
    };
    om.default_replication = Some(three);
    let (root, session) = om.bucket();
    let f = file(&mut om, root, "f");
    assert_eq!(row(&om, &f).replication, Some(three));
    om.commit(&f, session, vec![inline(0, &[1; 1000])]);
    let used = |om: &Om| {
        let store = om.state.store().unwrap();
        namespace::bucket(&*store, "vol", "bucket")
            .unwrap()
            .used_bytes
    };
    assert_eq!(used(&om), 3000);
    // The default may change; what a file was made with stays.
    om.default_replication = None;
    om.ask(unlink(root, "f", false, None));
    assert_eq!(used(&om), 0);
}

fn ratis(factor: ReplicationFactor) -> Replication {
    Replication {
        r#type: ReplicationType::Ratis.into(),
        factor: factor.into(),
    }
}

/// Files of a batch, by the factor of their replication.
fn found(batch: &Batch, factor: ReplicationFactor) -> Vec<u64> {
    let kind = (ReplicationType::Ratis.into(), factor.into());
    let files = batch.groups.get(&kind).map(|group| &group.files);
    let ids = files.into_iter().flatten().map(|file| file.object_id);
    ids.collect()
}

#[test]
fn files_whose_replication_cannot_be_had_hold_up_no_others_however_many_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let mut make = |name: String, factor| {
        om.default_replication = Some(ratis(factor));
        let f = file(&mut om, root, &name);
        om.commit(&f, session, vec![inline(0, &[1; 100])]);
        id(&f)
    };
    let stuck: Vec<u64> = (0..10)
        .map(|n| make(format!("three{n}"), ReplicationFactor::Three))
        .collect();
    let fine = make("one".to_owned(), ReplicationFactor::One);
    let three = ratis(ReplicationFactor::Three);
    let (store, mut blocked) = (om.state.store().unwrap(), Default::default());
    let look = |after, blocked: &_| {
        let look = Look {
            after,
            now_ms: i64::MAX,
            limit: 4,
            default: three,
            blocked,
        };
        gather(&*store, &look).unwrap()
    };
    let first = look(None, &blocked);
    assert_eq!(found(&first, ReplicationFactor::Three), stuck[..4]);
    blocked.insert((three.r#type, three.factor));
    let second = look(first.next, &blocked);
    assert!(second.groups.is_empty());
    assert_eq!(second.passed_over, 4);
    let third = look(second.next, &blocked);
    assert_eq!(found(&third, ReplicationFactor::One), [fine]);
    assert_eq!(third.next, None);
    // The next pass begins with the first again.
    let again = look(third.next, &Default::default());
    assert_eq!(found(&again, ReplicationFactor::Three), stuck[..4]);
}

#[test]
fn what_does_not_fit_into_a_block_is_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let names = ["a", "b", "c", "d", "e", "f"];
    let files: Vec<u64> = names
        .iter()
        .map(|name| {
            let f = file(&mut om, root, name);
            for offset in (0..1 << 20).step_by(16 << 10) {
                om.commit(&f, session, vec![inline(offset, &[1; 16 << 10])]);
            }
            id(&f)
        })
        .collect();
    let (store, blocked) = (om.state.store().unwrap(), Default::default());
    let one = ratis(ReplicationFactor::One);
    let look = |after| {
        let look = Look {
            after,
            now_ms: i64::MAX,
            limit: 100,
            default: one,
            blocked: &blocked,
        };
        gather(&*store, &look).unwrap()
    };
    let first = look(None);
    assert_eq!(found(&first, ReplicationFactor::One), files[..4]);
    let second = look(first.next);
    assert_eq!(found(&second, ReplicationFactor::One), files[4..]);
    assert_eq!(second.next, None);
}
