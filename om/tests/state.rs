//! The OM's state machine, driven by its commands, on a real database.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ozone_om::rows::{Row, Rows};
use ozone_om::state_machine::OmState;
use ozone_om::tables::{self, Table};
use ozone_proto::namespace::extent::Source;
use ozone_proto::namespace::{
    AllocateBlocksRequest, BlockLocation, BlockSource, CloseSessionRequest, CommitRequest,
    CreateRequest, DirRef, Extent, InlineSource, Inode, InodeKind, InodeRef, LinkRequest,
    OpenSessionRequest, PurgeRequest, ReleaseBlocksRequest, RenameRequest, SetAttrRequest,
    UnlinkRequest,
};
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::{CallContext, Decided, OmRequest, OmResponse, Status};
use ozone_raft::{ApplyBatch, Command, StateMachine};
use prost::Message;

const ROOT: DirRef = DirRef {
    volume_id: 0,
    bucket_id: 0,
    parent_id: 0,
};

/// A state machine and the log that it was given.
struct Om {
    state: OmState,
    log: Vec<Command>,
}

impl Om {
    fn open(dir: &Path) -> Self {
        Self {
            state: OmState::open(dir).unwrap(),
            log: Vec::new(),
        }
    }

    fn send(&mut self, request: OmRequest) -> OmResponse {
        let index = self.log.len() as u64 + 1;
        let decided = Some(Decided {
            time_ns: Some(index * 1_000_000_000),
        });
        let request = OmRequest {
            client_id: "test".into(),
            decided,
            ..request
        };
        let command = Command {
            index,
            term: 1,
            data: request.encode_to_vec().into(),
        };
        self.log.push(command.clone());
        let position = index.to_be_bytes();
        let batch = ApplyBatch {
            commands: &[command],
            position: &position,
        };
        let replies = self.state.apply(batch).unwrap();
        OmResponse::decode(replies[0].clone()).unwrap()
    }

    fn ask(&mut self, body: Body) -> OmResponse {
        self.send(OmRequest {
            body: Some(body),
            ..Default::default()
        })
    }

    fn create(&mut self, dir: DirRef, name: &str, kind: InodeKind) -> Inode {
        let request = CreateRequest {
            dir: Some(dir),
            name: Bytes::copy_from_slice(name.as_bytes()),
            kind: kind.into(),
            mode: 0o755,
            exclusive: true,
            ..Default::default()
        };
        let answer = self.ask(Body::Create(request));
        match answer.body {
            Some(Reply::Create(reply)) => reply.inode.unwrap(),
            _ => panic!("create {name}: {:?} {:?}", answer.status(), answer.message),
        }
    }

    /// `/vol/bucket`, and a session.
    fn bucket(&mut self) -> (DirRef, u64) {
        let volume = id(&self.create(ROOT, "vol", InodeKind::Directory));
        let in_volume = DirRef {
            volume_id: volume,
            bucket_id: 0,
            parent_id: volume,
        };
        let bucket = id(&self.create(in_volume, "bucket", InodeKind::Directory));
        let answer = self.ask(Body::OpenSession(OpenSessionRequest::default()));
        let Some(Reply::OpenSession(session)) = answer.body else {
            panic!("no session")
        };
        (
            DirRef {
                volume_id: volume,
                bucket_id: bucket,
                parent_id: bucket,
            },
            session.session,
        )
    }

    fn block(&mut self, session: u64, local: u64) {
        let block = BlockLocation {
            container: 1,
            local,
            pipeline: None,
            token: String::new(),
        };
        let request = AllocateBlocksRequest {
            session,
            allocated: vec![block],
            ..Default::default()
        };
        let answer = self.ask(Body::AllocateBlocks(request));
        assert_eq!(answer.status(), Status::Ok);
    }

    fn release(&mut self, session: u64, local: u64) {
        let blocks = vec![BlockSource {
            container: 1,
            local,
            ..Default::default()
        }];
        self.ask(Body::ReleaseBlocks(ReleaseBlocksRequest {
            session,
            blocks,
        }));
    }

    fn commit(&mut self, file: &Inode, session: u64, extents: Vec<Extent>) -> OmResponse {
        let request = CommitRequest {
            r#ref: file.r#ref.clone(),
            extents,
            session,
            ..Default::default()
        };
        self.ask(Body::Commit(request))
    }

    fn rows(&self, table: Table) -> usize {
        self.state
            .store()
            .unwrap()
            .scan(table, &[], None, usize::MAX)
            .unwrap()
            .len()
    }

    fn purge(&mut self) {
        let store = self.state.store().unwrap();
        let keys = |table| {
            let rows = store.scan(table, &[], None, usize::MAX).unwrap();
            rows.into_iter()
                .map(|(key, _)| Bytes::from(key))
                .collect::<Vec<_>>()
        };
        let request = PurgeRequest {
            deleted_rows: keys(tables::DELETED),
            deleted_dirs: keys(tables::DELETED_DIRECTORY),
            limit: 1000,
            ..Default::default()
        };
        drop(store);
        self.ask(Body::Purge(request));
    }

    /// Everything in the database, by table.
    fn dump(&self) -> BTreeMap<&'static str, Vec<Row>> {
        let store = self.state.store().unwrap();
        tables::ALL
            .iter()
            .map(|t| (t.0, store.scan(*t, &[], None, usize::MAX).unwrap()))
            .collect()
    }
}

fn id(inode: &Inode) -> u64 {
    inode.row.as_ref().unwrap().object_id
}

fn extent(file_offset: u64, length: u64, local: u64, offset: u64) -> Extent {
    let block = BlockSource {
        container: 1,
        local,
        offset,
        bcsid: 1,
    };
    Extent {
        file_offset,
        length,
        source: Some(Source::Block(block)),
    }
}

fn unlink(dir: DirRef, name: &str, directory: bool, keep_for: Vec<u64>) -> Body {
    let name = Bytes::copy_from_slice(name.as_bytes());
    Body::Unlink(UnlinkRequest {
        dir: Some(dir),
        name,
        object_id: 0,
        directory,
        keep_for,
    })
}

fn rename(from: DirRef, from_name: &str, to: DirRef, to_name: &str) -> RenameRequest {
    RenameRequest {
        from_dir: Some(from),
        from_name: Bytes::copy_from_slice(from_name.as_bytes()),
        to_dir: Some(to),
        to_name: Bytes::copy_from_slice(to_name.as_bytes()),
        ..Default::default()
    }
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
    om.ask(unlink(inside, "nothing", false, vec![]));
    let state = om.dump();

    let replayed = OmState::open(two.path()).unwrap();
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
        om.ask(unlink(root, "empty", true, vec![])).status(),
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
    om.ask(unlink(root, "f", false, vec![]));
    om.purge();
    assert_eq!(
        om.rows(tables::FREED_BLOCK),
        1,
        "the other name still needs block 2"
    );
    om.ask(unlink(root, "g", false, vec![]));
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
fn an_unlinked_open_file_lives_until_its_session_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let file = om.create(root, "f", InodeKind::File);
    om.ask(unlink(root, "f", false, vec![session]));
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
    om.ask(unlink(root, "f", false, vec![]));
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
