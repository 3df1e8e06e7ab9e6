//! What a mount has held back, sent as one command: each part stands or falls alone.

use bytes::Bytes;
use ozone_om::{file_map, namespace, tables};
use ozone_proto::namespace::batch_part::Change;
use ozone_proto::namespace::extent::Source;
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::{CallContext, OmRequest, Status};

use crate::support::{Om, id, inline};

const THEN: u64 = 77_000_000_000;

pub(crate) fn created(dir: DirRef, name: &str, object_id: u64) -> Change {
    Change::Create(CreateRequest {
        dir: Some(dir),
        name: Bytes::copy_from_slice(name.as_bytes()),
        kind: InodeKind::File.into(),
        mode: 0o644,
        exclusive: true,
        object_id,
        ..Default::default()
    })
}

fn made_directory(dir: DirRef, name: &str, object_id: u64) -> Change {
    let Change::Create(request) = created(dir, name, object_id) else {
        unreachable!()
    };
    Change::Create(CreateRequest {
        kind: InodeKind::Directory.into(),
        ..request
    })
}

/// Bytes for the file that `new` makes.
pub(crate) fn committed(new: &Change, object_id: u64, session: u64, data: &[u8]) -> Change {
    Change::Commit(CommitRequest {
        r#ref: Some(place(new, object_id)),
        extents: vec![inline(0, data)],
        session,
        ..Default::default()
    })
}

fn place(new: &Change, object_id: u64) -> InodeRef {
    let Change::Create(new) = new else {
        panic!("it makes nothing")
    };
    InodeRef {
        dir: new.dir,
        name: new.name.clone(),
        object_id,
    }
}

fn chmod(inode: InodeRef, mode: u32) -> Change {
    Change::SetAttr(SetAttrRequest {
        r#ref: Some(inode),
        mode: Some(mode),
        ..Default::default()
    })
}

pub(crate) fn part(change: Change) -> BatchPart {
    BatchPart {
        time_ns: THEN,
        change: Some(change),
    }
}

fn parts(changes: impl IntoIterator<Item = Change>) -> Vec<BatchPart> {
    changes.into_iter().map(part).collect()
}

fn statuses(outcomes: &[BatchOutcome]) -> Vec<Status> {
    let status = |o: &BatchOutcome| Status::try_from(o.status as i32).unwrap();
    outcomes.iter().map(status).collect()
}

fn row(om: &Om, inode: &InodeRef) -> InodeRow {
    let store = om.state.store().unwrap();
    namespace::find(&*store, inode).unwrap().row
}

fn content(om: &Om, inode: &InodeRef) -> Vec<u8> {
    let store = om.state.store().unwrap();
    let row = row(om, inode);
    let (map, _) = file_map::read(&*store, &row, 0, u64::MAX, usize::MAX).unwrap();
    let mut bytes = vec![0; row.size as usize];
    for e in map {
        let Some(Source::Inline(i)) = &e.source else {
            panic!("only inline bytes were written")
        };
        let data = file_map::inline_bytes(&*store, row.object_id, i, e.length as usize).unwrap();
        bytes[e.file_offset as usize..][..data.len()].copy_from_slice(&data);
    }
    bytes
}

fn bucket(om: &Om, dir: DirRef) -> BucketRow {
    let store = om.state.store().unwrap();
    let row = namespace::bucket_by_id(&*store, dir.volume_id, dir.bucket_id);
    row.unwrap().unwrap()
}

#[test]
fn each_part_is_applied_over_those_before_it_or_refused_on_its_own() {
    let temp = tempfile::tempdir().unwrap();
    let mut om = Om::open(temp.path());
    let (root, session) = om.bucket();
    om.create(root, "taken", InodeKind::File);
    let first = om.reserve(session, 10);
    let inside = DirRef {
        parent_id: first,
        ..root
    };
    let file = created(inside, "file", first + 1);
    let nowhere = DirRef {
        parent_id: 999,
        ..root
    };
    let mut all = parts([
        made_directory(root, "dir", first),
        file.clone(),
        created(root, "taken", first + 2),
        committed(&file, first + 1, session, b"bytes"),
        created(nowhere, "lost", first + 3),
        chmod(place(&file, first + 1), 0o600),
        chmod(place(&file, first + 2), 0o600),
    ]);
    all.push(BatchPart::default());
    let outcomes = om.batch(session, all);
    assert_eq!(
        statuses(&outcomes),
        [
            Status::Ok,
            Status::Ok,
            Status::FileAlreadyExists,
            Status::Ok,
            Status::DirectoryNotFound,
            Status::Ok,
            Status::Stale,
            Status::InvalidRequest,
        ]
    );
    assert!(outcomes[2].inode.is_none() && outcomes[2].message.contains("taken"));
    assert_eq!(id(outcomes[0].inode.as_ref().unwrap()), first);
    let now = row(&om, &place(&file, first + 1));
    assert_eq!(outcomes[5].inode.as_ref().unwrap().row.as_ref(), Some(&now));
    assert_eq!((now.mode, now.size, now.ctime_ns), (0o600, 5, THEN));
    assert_eq!(content(&om, &place(&file, first + 1)), b"bytes");
    let bucket = bucket(&om, root);
    assert_eq!((bucket.used_namespace, bucket.used_bytes), (3, 5));
    assert_eq!(bucket.inode.unwrap().nlink, 3);
}

#[test]
fn the_answer_names_every_change_once_for_those_who_believe_otherwise() {
    let temp = tempfile::tempdir().unwrap();
    let mut om = Om::open(temp.path());
    let (root, session) = om.bucket();
    let first = om.reserve(session, 10);
    let all = parts([
        created(root, "a", first),
        created(root, "b", first + 1),
        created(root, "b", first + 2),
    ]);
    let answer = om.ask_as(session, Body::Batch(BatchRequest { parts: all }));
    let names: Vec<&[u8]> = answer.changes.iter().map(|c| &c.name[..]).collect();
    assert_eq!(names, [&b"a"[..], b"", b"b"]);
    assert!(answer.changes.iter().all(|c| c.object_id == root.bucket_id));
}

#[test]
fn commits_of_one_file_in_one_batch_all_keep_their_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let mut om = Om::open(temp.path());
    let (root, session) = om.bucket();
    let first = om.reserve(session, 1);
    let file = created(root, "f", first);
    let written = |at: u64, data: &[u8]| {
        Change::Commit(CommitRequest {
            r#ref: Some(place(&file, first)),
            extents: vec![inline(at, data)],
            session,
            ..Default::default()
        })
    };
    let outcomes = om.batch(
        session,
        parts([
            file.clone(),
            written(0, b"abcd"),
            written(4, b"efgh"),
            written(2, b"XY"),
        ]),
    );
    assert_eq!(statuses(&outcomes), [Status::Ok; 4]);
    assert_eq!(content(&om, &place(&file, first)), b"abXYefgh");
}

#[test]
fn a_batch_sent_again_as_another_call_makes_nothing_twice() {
    let temp = tempfile::tempdir().unwrap();
    let mut om = Om::open(temp.path());
    let (root, session) = om.bucket();
    let first = om.reserve(session, 10);
    let inside = DirRef {
        parent_id: first,
        ..root
    };
    let file = created(inside, "file", first + 1);
    let names = vec![part(made_directory(root, "dir", first)), part(file.clone())];
    let call = |number, parts| OmRequest {
        context: Some(CallContext {
            client_id: Some(Bytes::from_static(b"0123456789abcdef")),
            call_id: Some(number),
            lowest_pending_call: Some(number),
            session: Some(session),
            ..Default::default()
        }),
        body: Some(Body::Batch(BatchRequest { parts })),
        ..Default::default()
    };
    let made = om.send(call(1, names.clone()));
    let state = om.dump();
    let again = om.send(call(2, names.clone()));
    assert_eq!(again.body, made.body);
    assert!(again.changes.is_empty());
    let mut after = om.dump();
    for table in [tables::TRANSACTION_INFO, tables::REPLY] {
        after.insert(table.0, state[table.0].clone());
    }
    assert_eq!(after, state);

    let mut all = names;
    all.push(part(committed(&file, first + 1, session, b"bytes")));
    for number in 3..5 {
        let answer = om.send(call(number, all.clone()));
        let Some(Reply::Batch(done)) = answer.body else {
            panic!("no outcomes")
        };
        assert_eq!(statuses(&done.outcomes), [Status::Ok; 3]);
        assert_eq!(content(&om, &place(&file, first + 1)), b"bytes");
        let bucket = bucket(&om, root);
        assert_eq!((bucket.used_namespace, bucket.used_bytes), (2, 5));
        assert_eq!((om.rows(tables::FILE), om.rows(tables::INLINE)), (1, 1));
    }
}

#[test]
fn only_ids_that_the_asking_session_has_reserved_and_not_used_are_given() {
    let temp = tempfile::tempdir().unwrap();
    let mut om = Om::open(temp.path());
    let (root, session) = om.bucket();
    let answer = om.ask(Body::OpenSession(OpenSessionRequest::default()));
    let Some(Reply::OpenSession(other)) = answer.body else {
        panic!("no session")
    };
    let make = |om: &mut Om, session, name: &str, object| {
        let outcomes = om.batch(session, parts([created(root, name, object)]));
        statuses(&outcomes)[0]
    };
    let nothing = make(&mut om, session, "a", 1000);
    assert_eq!(nothing, Status::InvalidRequest, "nothing is reserved");
    let first = om.reserve(session, 3);
    assert_eq!(make(&mut om, session, "b", first + 1), Status::Ok);
    for (object, why) in [
        (first, "an id below one that was used"),
        (first + 1, "an id that was used"),
        (first + 3, "an id past the end"),
    ] {
        let status = make(&mut om, session, "c", object);
        assert_eq!(status, Status::InvalidRequest, "{why}");
    }
    let foreign = make(&mut om, other.session, "c", first + 2);
    assert_eq!(foreign, Status::InvalidRequest, "of another session");
    let nobodys = make(&mut om, 0, "c", first + 2);
    assert_eq!(nobodys, Status::SessionExpired, "of no session");
    assert_eq!(
        make(&mut om, session, "b", first + 2),
        Status::FileAlreadyExists
    );
    assert_eq!(make(&mut om, session, "c", first + 2), Status::Ok);
    // Nobody else has got one of them.
    let free = id(&om.create(root, "d", InodeKind::File));
    assert_eq!(free, first + 3);
    let next = om.reserve(session, 2);
    assert_eq!(next, free + 1);
}

#[test]
fn ids_are_reserved_for_sessions_that_live_and_in_bounds() {
    let temp = tempfile::tempdir().unwrap();
    let mut om = Om::open(temp.path());
    let (_, session) = om.bucket();
    let mut status = |session, count| {
        let body = Body::ReserveIds(ReserveIdsRequest { count });
        om.ask_as(session, body).status()
    };
    assert_eq!(status(session, 0), Status::InvalidRequest);
    assert_eq!(status(session, 1_000_001), Status::InvalidRequest);
    assert_eq!(status(session, 1_000_000), Status::Ok);
    assert_eq!(status(999, 1), Status::SessionExpired);
}

#[test]
fn a_part_that_has_no_number_left_for_its_bytes_is_refused() {
    const PIECES: u64 = 16;
    let temp = tempfile::tempdir().unwrap();
    let mut om = Om::open(temp.path());
    let (root, session) = om.bucket();
    let first = om.reserve(session, 2);
    let file = created(root, "f", first);
    let write = part(Change::Commit(CommitRequest {
        r#ref: Some(place(&file, first)),
        extents: (0..PIECES).map(|at| inline(at, b"x")).collect(),
        session,
        ..Default::default()
    }));
    let writes = (1 << 16) / PIECES as usize;
    let mut all = vec![part(file)];
    all.extend(std::iter::repeat_n(write, writes + 1));
    all.push(part(created(root, "g", first + 1)));
    let outcomes = statuses(&om.batch(session, all));
    let refused: Vec<usize> = (0..outcomes.len())
        .filter(|n| outcomes[*n] != Status::Ok)
        .collect();
    assert_eq!(refused, [writes + 1]);
    assert_eq!(outcomes[writes + 1], Status::InvalidRequest);
    assert_eq!(om.rows(tables::INLINE), PIECES as usize);
}
