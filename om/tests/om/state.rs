//! What the state machine promises, whatever the log holds.

use bytes::Bytes;
use ozone_om::state_machine::OmState;
use ozone_om::tables;
use ozone_proto::namespace::extent::Source;
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::{CallContext, OmRequest, Status};
use ozone_raft::{ApplyBatch, StateMachine};

use crate::batch::{committed, created, part};
use crate::support::{Om, extent, id, inline, rename, unlink};

/// Which byte of which block each byte of the file is.
fn content(om: &Om, file: &Inode, size: u64) -> Vec<Option<(u64, u64)>> {
    let store = om.state.store().unwrap();
    let found = ozone_om::namespace::find(&*store, file.r#ref.as_ref().unwrap()).unwrap();
    assert_eq!(found.row.size, size);
    let (extents, more) =
        ozone_om::file_map::read(&*store, &found.row, 0, u64::MAX, usize::MAX).unwrap();
    assert!(!more);
    let mut bytes = vec![None; size as usize];
    for e in extents {
        let Some(Source::Block(block)) = e.source else {
            panic!("only blocks were written")
        };
        for i in 0..e.length {
            bytes[(e.file_offset + i) as usize] = Some((block.local, block.offset + i));
        }
    }
    bytes
}

#[test]
fn the_same_log_makes_the_same_state_and_a_restart_keeps_it() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut om = Om::open(one.path());
    let (dir, session) = om.bucket();
    om.block(session, 7);
    let file = om.create(dir, "file", InodeKind::File);
    om.commit(&file, session, vec![extent(0, 100, 7, 0)]);
    let inside = DirRef {
        parent_id: id(&om.create(dir, "d", InodeKind::Directory)),
        ..dir
    };
    om.ask(Body::Rename(rename(dir, "file", inside, "moved")));
    om.ask(unlink(inside, "nothing", false, None));
    let first = om.reserve(session, 10);
    let new = created(dir, "new", first);
    let refused = created(dir, "other", first + 10);
    let bytes = committed(&new, first, session, b"bytes");
    om.batch(session, vec![part(new), part(refused), part(bytes)]);
    let state = om.dump();

    let replayed = OmState::open(two.path(), 4).unwrap();
    let position = om.log.len().to_be_bytes();
    replayed
        .apply(ApplyBatch {
            commands: &om.log,
            position: &position,
        })
        .unwrap();
    let replayed = Om {
        state: replayed,
        log: Vec::new(),
        default_replication: None,
    };
    let mut again = replayed.dump();
    let mut first = state.clone();
    // The positions were stored by batches of another size.
    again.remove("transactionInfoTable");
    first.remove("transactionInfoTable");
    assert_eq!(again, first);

    om.state.flush().unwrap();
    drop(om);
    assert_eq!(Om::open(one.path()).dump(), state);
}

#[test]
fn a_retry_gets_the_first_answer_and_changes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (bucket, _) = om.bucket();
    let context = |call| {
        Some(CallContext {
            client_id: Some(Bytes::from_static(b"0123456789abcdef")),
            call_id: Some(call),
            lowest_pending_call: Some(call),
            ..Default::default()
        })
    };
    let create = CreateRequest {
        dir: Some(bucket),
        name: Bytes::from_static(b"once"),
        kind: InodeKind::File.into(),
        exclusive: true,
        ..Default::default()
    };
    let request = OmRequest {
        context: context(1),
        body: Some(Body::Create(create)),
        ..Default::default()
    };
    let first = om.send(request.clone());
    assert_eq!(first.status(), Status::Ok);
    assert_eq!(om.send(request.clone()), first);
    om.state.flush().unwrap();
    let log = om.log.clone();
    drop(om);
    let mut om = Om {
        log,
        ..Om::open(dir.path())
    };
    assert_eq!(om.send(request.clone()), first, "remembered over a restart");
    let later = OmRequest {
        context: context(2),
        ..request.clone()
    };
    assert_eq!(om.send(later).status(), Status::FileAlreadyExists);
    assert_eq!(
        om.send(request).status(),
        Status::FileAlreadyExists,
        "call 1 is awaited no more"
    );
}

#[test]
fn a_directory_cannot_move_into_itself_and_only_replaces_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, _) = om.bucket();
    let a = DirRef {
        parent_id: id(&om.create(root, "a", InodeKind::Directory)),
        ..root
    };
    let b = DirRef {
        parent_id: id(&om.create(a, "b", InodeKind::Directory)),
        ..root
    };
    let into_itself = om.ask(Body::Rename(rename(root, "a", b, "c")));
    assert_eq!(into_itself.status(), Status::InvalidLoop);
    om.create(root, "full", InodeKind::Directory);
    let over_full = om.ask(Body::Rename(rename(root, "full", root, "a")));
    assert_eq!(over_full.status(), Status::DirectoryNotEmpty);
    om.create(root, "empty", InodeKind::Directory);
    assert_eq!(
        om.ask(Body::Rename(rename(root, "a", root, "empty")))
            .status(),
        Status::Ok
    );
    assert_eq!(
        om.ask(unlink(root, "empty", true, None)).status(),
        Status::DirectoryNotEmpty
    );
}

#[test]
fn blocks_are_freed_when_the_last_reference_goes_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    om.block(session, 1);
    let file = om.create(root, "f", InodeKind::File);
    om.commit(&file, session, vec![extent(0, 100, 1, 0)]);
    // Overwritten, yet the session may append to the block.
    om.block(session, 2);
    om.commit(&file, session, vec![extent(0, 100, 2, 0)]);
    assert_eq!(om.rows(tables::FREED_BLOCK), 0);
    om.release(session, 1);
    assert_eq!(om.rows(tables::FREED_BLOCK), 1);
    om.release(session, 2);
    let link = LinkRequest {
        source: file.r#ref.clone(),
        dir: Some(root),
        name: Bytes::from_static(b"g"),
    };
    om.ask(Body::Link(link));
    om.ask(unlink(root, "f", false, None));
    om.purge();
    assert_eq!(
        om.rows(tables::FREED_BLOCK),
        1,
        "the other name still needs block 2"
    );
    om.ask(unlink(root, "g", false, None));
    om.purge();
    assert_eq!(om.rows(tables::FREED_BLOCK), 2);
    assert_eq!(
        (
            om.rows(tables::BLOCK_REF),
            om.rows(tables::DELETED),
            om.rows(tables::INODE)
        ),
        (0, 0, 0)
    );
}

#[test]
fn a_file_that_took_the_name_meanwhile_is_kept_for_every_session() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, _) = om.bucket();
    let file = om.create(root, "f", InodeKind::File);
    let about_another = Keep {
        object_id: id(&file) + 1,
        sessions: Vec::new(),
    };
    om.ask(unlink(root, "f", false, Some(about_another)));
    assert_eq!((om.rows(tables::ORPHAN), om.rows(tables::DELETED)), (1, 0));
}

#[test]
fn a_file_is_not_kept_for_a_session_that_ended_after_the_leader_looked() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let file = om.create(root, "f", InodeKind::File);
    let keep = Keep {
        object_id: id(&file),
        sessions: vec![session],
    };
    let close = CloseSessionRequest {
        session,
        expired: false,
    };
    assert_eq!(om.ask(Body::CloseSession(close)).status(), Status::Ok);
    om.ask(unlink(root, "f", false, Some(keep)));
    assert_eq!((om.rows(tables::ORPHAN), om.rows(tables::DELETED)), (0, 1));
    assert_eq!(om.rows(tables::SESSION_ORPHAN), 0);
}

#[test]
fn inline_bytes_that_were_damaged_on_their_way_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, _) = om.bucket();
    let file = om.create(root, "f", InodeKind::File);
    let mut extent = inline(0, b"sent");
    if let Some(Source::Inline(source)) = &mut extent.source {
        source.crc32c = Some(1);
    }
    let commit = CommitRequest {
        r#ref: file.r#ref.clone(),
        extents: vec![extent],
        ..Default::default()
    };
    let refused = om.ask(Body::Commit(commit));
    assert_eq!(refused.status(), Status::InvalidRequest);
    assert!(refused.message().contains("damaged"), "{refused:?}");
    assert_eq!(om.rows(tables::INLINE), 0);
}

#[test]
fn an_unlinked_open_file_lives_until_its_session_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let file = om.create(root, "f", InodeKind::File);
    let keep = Keep {
        object_id: id(&file),
        sessions: vec![session],
    };
    om.ask(unlink(root, "f", false, Some(keep)));
    let inline = InlineSource {
        data: Bytes::from_static(b"late"),
        ..Default::default()
    };
    let late = Extent {
        file_offset: 0,
        length: 4,
        source: Some(Source::Inline(inline)),
    };
    assert_eq!(
        om.commit(&file, session, vec![late.clone()]).status(),
        Status::Ok
    );
    assert_eq!((om.rows(tables::ORPHAN), om.rows(tables::INLINE)), (1, 1));
    om.ask(Body::CloseSession(CloseSessionRequest {
        session,
        expired: true,
    }));
    om.purge();
    assert_eq!(
        (
            om.rows(tables::ORPHAN),
            om.rows(tables::INLINE),
            om.rows(tables::DELETED)
        ),
        (0, 0, 0)
    );
    let fenced = om.commit(&file, session, vec![late]);
    assert_eq!(
        fenced.status(),
        Status::SessionExpired,
        "a late write of the ended session"
    );
}

#[test]
fn a_scattered_map_equals_a_byte_array_and_leaves_no_reference_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let file = om.create(root, "f", InodeKind::File);
    let mut model: Vec<Option<(u64, u64)>> = Vec::new();
    let mut random = 42u64;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    for local in 1..=150 {
        if next(10) == 0 {
            let size = next(9 << 20);
            let request = SetAttrRequest {
                r#ref: file.r#ref.clone(),
                size: Some(size),
                ..Default::default()
            };
            assert_eq!(om.ask(Body::SetAttr(request)).status(), Status::Ok);
            model.resize(size as usize, None);
            continue;
        }
        om.block(session, local);
        let (at, length) = (next(9 << 20), 1 + next(20_000));
        om.commit(&file, session, vec![extent(at, length, local, 0)]);
        om.release(session, local);
        let end = (at + length) as usize;
        model.resize(model.len().max(end), None);
        (0..length).for_each(|i| model[(at + i) as usize] = Some((local, i)));
    }
    assert!(
        om.rows(tables::EXTENT) > 0,
        "the map has moved to its table"
    );
    assert!(
        content(&om, &file, model.len() as u64) == model,
        "the map is not what was written"
    );
    om.ask(unlink(root, "f", false, None));
    om.purge();
    assert_eq!(
        (
            om.rows(tables::EXTENT),
            om.rows(tables::BLOCK_REF),
            om.rows(tables::DELETED)
        ),
        (0, 0, 0)
    );
    let place = InodeRef {
        object_id: id(&file),
        ..file.r#ref.clone().unwrap()
    };
    let gone = om.ask(Body::SetAttr(SetAttrRequest {
        r#ref: Some(place),
        ..Default::default()
    }));
    assert_eq!(gone.status(), Status::Stale);
}

#[test]
fn a_refused_operation_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let file = om.create(root, "f", InodeKind::File);
    om.block(session, 1);
    let before = om.dump();
    // The first extent is fine, the second speaks of a block that was never handed out.
    let refused = om.commit(
        &file,
        session,
        vec![extent(0, 10, 1, 0), extent(10, 10, 99, 0)],
    );
    assert_eq!(refused.status(), Status::Stale);
    let mut after = om.dump();
    after.insert(
        "transactionInfoTable",
        before["transactionInfoTable"].clone(),
    );
    assert_eq!(after, before);
}
