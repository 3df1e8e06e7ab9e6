//! A state machine, fed with commands as the log would.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ozone_om::namespace;
use ozone_om::rows::{Row, Rows};
use ozone_om::state_machine::OmState;
use ozone_om::tables::{self, Table};
use ozone_proto::namespace::extent::Source;
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::{CallContext, Decided, OmRequest, OmResponse, Status};
use ozone_raft::{ApplyBatch, Command, StateMachine, StateMachineError};
use prost::Message;

pub(crate) const ROOT: DirRef = DirRef {
    volume_id: 0,
    bucket_id: 0,
    parent_id: 0,
    snapshot: 0,
};

/// A state machine and the log that it was given.
pub(crate) struct Om {
    pub(crate) state: OmState,
    pub(crate) log: Vec<Command>,
    pub(crate) default_replication: Option<Replication>,
}

impl Om {
    pub(crate) fn open(dir: &Path) -> Self {
        Self {
            state: OmState::open(dir, 4).unwrap(),
            log: Vec::new(),
            default_replication: None,
        }
    }

    pub(crate) fn send(&mut self, request: OmRequest) -> OmResponse {
        let index = self.log.len() as u64 + 1;
        let decided = Some(Decided {
            time_ns: Some(index * 1_000_000_000),
            replication: self.default_replication,
        });
        let request = OmRequest {
            client_id: "test".into(),
            decided,
            ..request
        };
        self.log(request).unwrap()
    }

    /// As it is.
    pub(crate) fn log(&mut self, request: OmRequest) -> Result<OmResponse, StateMachineError> {
        let index = self.log.len() as u64 + 1;
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
        let replies = self.state.apply(batch)?;
        Ok(OmResponse::decode(replies[0].clone()).unwrap())
    }

    /// A file that loses its name is kept for nobody, unless the request says otherwise.
    pub(crate) fn ask(&mut self, mut body: Body) -> OmResponse {
        let store = self.state.store().unwrap();
        let at = |dir: Option<DirRef>, name: &[u8]| {
            let found = namespace::child(&*store, &dir.unwrap(), name).unwrap();
            found.map(|found| Keep {
                object_id: found.row.object_id,
                sessions: Vec::new(),
            })
        };
        match &mut body {
            Body::Unlink(r) if r.keep.is_none() => r.keep = at(r.dir, &r.name),
            Body::Rename(r) if r.keep.is_none() => r.keep = at(r.to_dir, &r.to_name),
            _ => {}
        }
        self.send(OmRequest {
            body: Some(body),
            ..Default::default()
        })
    }

    /// In the name of a session, as a call that is sent once.
    pub(crate) fn ask_as(&mut self, session: u64, body: Body) -> OmResponse {
        self.send(OmRequest {
            context: Some(CallContext {
                session: Some(session),
                ..Default::default()
            }),
            body: Some(body),
            ..Default::default()
        })
    }

    /// Object ids for the session to give; the first of them.
    pub(crate) fn reserve(&mut self, session: u64, count: u64) -> u64 {
        let body = Body::ReserveIds(ReserveIdsRequest { count });
        match self.ask_as(session, body).body {
            Some(Reply::ReserveIds(reserved)) => {
                assert_eq!(reserved.count, count);
                reserved.first
            }
            other => panic!("no ids: {other:?}"),
        }
    }

    pub(crate) fn batch(&mut self, session: u64, parts: Vec<BatchPart>) -> Vec<BatchOutcome> {
        let count = parts.len();
        let answer = self.ask_as(session, Body::Batch(BatchRequest { parts }));
        let Some(Reply::Batch(done)) = answer.body else {
            panic!("batch: {:?} {:?}", answer.status(), answer.message)
        };
        assert_eq!(done.outcomes.len(), count);
        done.outcomes
    }

    pub(crate) fn create(&mut self, dir: DirRef, name: &str, kind: InodeKind) -> Inode {
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
    pub(crate) fn bucket(&mut self) -> (DirRef, u64) {
        let volume = id(&self.create(ROOT, "vol", InodeKind::Directory));
        let in_volume = DirRef {
            volume_id: volume,
            bucket_id: 0,
            parent_id: volume,
            snapshot: 0,
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
                snapshot: 0,
            },
            session.session,
        )
    }

    pub(crate) fn block(&mut self, session: u64, local: u64) {
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

    pub(crate) fn release(&mut self, session: u64, local: u64) {
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

    pub(crate) fn commit(
        &mut self,
        file: &Inode,
        session: u64,
        extents: Vec<Extent>,
    ) -> OmResponse {
        let request = CommitRequest {
            r#ref: file.r#ref.clone(),
            extents,
            session,
            ..Default::default()
        };
        self.ask(Body::Commit(request))
    }

    pub(crate) fn rows(&self, table: Table) -> usize {
        self.state
            .store()
            .unwrap()
            .scan(table, &[], None, usize::MAX)
            .unwrap()
            .len()
    }

    pub(crate) fn purge(&mut self) {
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
    pub(crate) fn dump(&self) -> BTreeMap<&'static str, Vec<Row>> {
        let store = self.state.store().unwrap();
        tables::ALL
            .iter()
            .map(|t| (t.0, store.scan(*t, &[], None, usize::MAX).unwrap()))
            .collect()
    }
}

pub(crate) fn id(inode: &Inode) -> u64 {
    inode.row.as_ref().unwrap().object_id
}

pub(crate) fn inline(file_offset: u64, data: &[u8]) -> Extent {
    let source = InlineSource {
        data: Bytes::copy_from_slice(data),
        ..Default::default()
    };
    Extent {
        file_offset,
        length: data.len() as u64,
        source: Some(Source::Inline(source)),
    }
}

pub(crate) fn extent(file_offset: u64, length: u64, local: u64, offset: u64) -> Extent {
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

pub(crate) fn unlink(dir: DirRef, name: &str, directory: bool, keep: Option<Keep>) -> Body {
    let name = Bytes::copy_from_slice(name.as_bytes());
    Body::Unlink(UnlinkRequest {
        dir: Some(dir),
        name,
        object_id: 0,
        directory,
        keep,
    })
}

pub(crate) fn rename(from: DirRef, from_name: &str, to: DirRef, to_name: &str) -> RenameRequest {
    RenameRequest {
        from_dir: Some(from),
        from_name: Bytes::copy_from_slice(from_name.as_bytes()),
        to_dir: Some(to),
        to_name: Bytes::copy_from_slice(to_name.as_bytes()),
        ..Default::default()
    }
}
