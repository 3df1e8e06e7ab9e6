//! What the state machine promises: same log, same tables; nothing half there; nothing lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use ozone_common::ids::ContainerId;
use ozone_proto::hdds::LifeCycleState;
use ozone_raft::Command as LogEntry;

use super::*;
use crate::ops::testing::{add_datanode, add_pipeline, pipeline_id};
use crate::ops::{
    AddContainer, AddDeletedBlocks, ClosePipeline, Command, ContainerBlocks, MoveContainer,
    OpenPipeline, RemoveDeletedBlocks, ReplyCode, RotateSecretKey, SequenceRange, StoreCertificate,
};
use crate::rows::uuid_bytes;

fn entry(command: Command) -> Bytes {
    let entry = Entry {
        version: COMMAND_VERSION,
        command: Some(command),
    };
    Bytes::from(entry.encode_to_vec())
}

impl Store {
    /// Every row of every table.
    fn dump(&self) -> Vec<(&'static str, Vec<ozone_kv::Row>)> {
        let dump = self.with_db(|db| {
            let names = tables::ALL.iter().map(|table| table.name);
            let read = |name| Ok((name, db.scan(name, b"", b"", usize::MAX)?));
            names.map(read).collect::<Result<Vec<_>, TableError>>()
        });
        dump.unwrap()
    }
}

/// A log that touches every table.
fn log() -> Vec<Bytes> {
    let pipeline = uuid_bytes(pipeline_id(9));
    let add_container = Command::AddContainer(AddContainer {
        pipeline: pipeline.clone(),
        owner: "om".to_owned(),
        at_ms: 5,
    });
    let blocks = |container, local_ids| ContainerBlocks {
        container,
        local_ids,
    };
    let commands = vec![
        Command::AddDatanode(add_datanode(1)),
        Command::AddPipeline(add_pipeline(9, &[1])),
        Command::AddPipeline(add_pipeline(9, &[1])),
        Command::OpenPipeline(OpenPipeline {
            id: pipeline.clone(),
        }),
        add_container.clone(),
        add_container,
        Command::SequenceRange(SequenceRange {
            name: "localId".to_owned(),
            count: 1000,
        }),
        Command::MoveContainer(MoveContainer {
            id: 1,
            to: LifeCycleState::Closing as i32,
            used_bytes: 10,
            ..MoveContainer::default()
        }),
        Command::AddDeletedBlocks(AddDeletedBlocks {
            containers: vec![
                blocks(1, vec![1, 2]),
                blocks(2, vec![3]),
                blocks(77, vec![4]),
            ],
        }),
        Command::RemoveDeletedBlocks(RemoveDeletedBlocks {
            transactions: vec![1],
        }),
        Command::RotateSecretKey(RotateSecretKey {
            id: uuid_bytes(uuid::Uuid::from_u128(5)),
            created_ms: 10,
            expires_ms: 20,
            key: vec![1; 32],
            previous: vec![],
        }),
        Command::StoreCertificate(StoreCertificate {
            serial: vec![7],
            pem: "pem".to_owned(),
            node_type: "OM".to_owned(),
            ..StoreCertificate::default()
        }),
        Command::ClosePipeline(ClosePipeline {
            id: pipeline,
            at_ms: 9,
        }),
    ];
    commands.into_iter().map(entry).collect()
}

/// Applies `log[from..]` in batches of `size`; the position is the index as text.
fn feed(store: &Store, log: &[Bytes], from: usize, size: usize) -> Vec<Reply> {
    let mut replies = Vec::new();
    let rest: Vec<_> = log.iter().enumerate().skip(from).collect();
    for batch in rest.chunks(size) {
        let commands: Vec<_> = batch
            .iter()
            .map(|(index, data)| LogEntry {
                index: *index as u64,
                term: 1,
                data: (*data).clone(),
            })
            .collect();
        let position = (batch.last().unwrap().0 + 1).to_string();
        let batch = ApplyBatch {
            commands: &commands,
            position: position.as_bytes(),
        };
        let answers = store.apply(batch).unwrap();
        replies.extend(
            answers
                .iter()
                .map(|bytes| Reply::decode(bytes.as_ref()).unwrap()),
        );
    }
    replies
}

fn reached(store: &Store) -> usize {
    let position = store.load().unwrap();
    position.map_or(0, |bytes| {
        String::from_utf8(bytes).unwrap().parse().unwrap()
    })
}

#[test]
fn the_same_log_makes_the_same_tables_however_it_is_batched() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let stores = dirs
        .each_ref()
        .map(|dir| Store::open(&dir.path().join("scm.db")).unwrap());
    let replies = [
        feed(&stores[0], &log(), 0, 1),
        feed(&stores[1], &log(), 0, 100),
    ];
    assert_eq!(replies[0], replies[1]);
    assert_eq!(stores[0].dump(), stores[1].dump());
    assert_eq!(*stores[0].model(), *stores[1].model());
    assert_eq!(replies[0][2].code, ReplyCode::BadState as i32);
    assert_eq!(replies[0][5].value, 2);
    for (table, rows) in stores[0].dump() {
        let unused = [tables::META, tables::VALID_SCM_CERTS];
        assert!(
            unused.contains(&table) || !rows.is_empty(),
            "{table} is empty"
        );
    }
}

#[test]
fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scm.db");
    let store = Store::open(&path).unwrap();
    feed(&store, &log(), 0, 4);
    store.flush().unwrap();
    let (dump, model) = (store.dump(), store.model().clone());
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.dump(), dump);
    assert_eq!(*store.model(), model);
    assert_eq!(reached(&store), log().len());
}

#[test]
fn what_was_not_flushed_is_replayed_from_where_the_tables_say() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = (dir.path().join("scm.db"), dir.path().join("whole.db"));
    let store = Store::open(&path).unwrap();
    feed(&store, &log()[..6], 0, 2);
    store.flush().unwrap();
    feed(&store, &log(), 6, 2);
    // A crash: what is in memory only is gone.
    let copy = dir.path().join("crashed");
    copy_dir(&path, &copy);
    let crashed = Store::open(&copy).unwrap();
    assert_eq!(reached(&crashed), 6);
    feed(&crashed, &log(), reached(&crashed), 3);
    let expected = Store::open(&whole).unwrap();
    feed(&expected, &log(), 0, 1);
    assert_eq!(crashed.dump(), expected.dump());
    assert_eq!(*crashed.model(), *expected.model());
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_restored_replica_equals_the_one_it_was_copied_from() {
    let dir = tempfile::tempdir().unwrap();
    let from = Store::open(&dir.path().join("from/scm.db")).unwrap();
    feed(&from, &log(), 0, 5);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    from.checkpoint(&copy).unwrap();
    let path = dir.path().join("to/scm.db");
    let to = Store::open(&path).unwrap();
    feed(&to, &log()[..3], 0, 1);
    to.restore(&copy).unwrap();
    assert_eq!(to.dump(), from.dump());
    assert_eq!(*to.model(), *from.model());
    drop(to);
    assert_eq!(Store::open(&path).unwrap().dump(), from.dump());
}

#[test]
fn a_replacement_cut_short_leaves_the_old_state() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scm.db");
    let store = Store::open(&path).unwrap();
    feed(&store, &log(), 0, 5);
    store.flush().unwrap();
    let dump = store.dump();
    drop(store);
    fs::rename(&path, dir.path().join("scm.db.replaced")).unwrap();
    assert_eq!(Store::open(&path).unwrap().dump(), dump);
}

#[test]
fn nonsense_is_answered_and_newer_commands_stop_the_replica() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("scm.db")).unwrap();
    let bad = [Bytes::from_static(b"\xff\xff"), Bytes::new()];
    let replies = feed(&store, &bad, 0, 2);
    assert!(
        replies
            .iter()
            .all(|reply| reply.code == ReplyCode::Malformed as i32)
    );
    let newer = Entry {
        version: COMMAND_VERSION + 1,
        command: None,
    }
    .encode_to_vec();
    let commands = [LogEntry {
        index: 2,
        term: 1,
        data: Bytes::from(newer),
    }];
    let batch = ApplyBatch {
        commands: &commands,
        position: b"3",
    };
    assert!(
        store
            .apply(batch)
            .unwrap_err()
            .to_string()
            .contains("newer")
    );
    assert_eq!(reached(&store), 2);
}

#[test]
fn pages_of_the_deletion_queue_follow_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("scm.db")).unwrap();
    feed(&store, &log(), 0, 5);
    let add = Command::AddDeletedBlocks(AddDeletedBlocks {
        containers: vec![ContainerBlocks {
            container: 2,
            local_ids: vec![8, 9],
        }],
    });
    feed(&store, &[entry(add)], 0, 1);
    let ids = |after, limit| -> Vec<u64> {
        let page = store.deleted_blocks(after, limit).unwrap();
        page.into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(ids(0, 10), [2, 3]);
    assert_eq!(ids(0, 1), [2]);
    assert_eq!(ids(2, 10), [3]);
    assert!(store.model().container(ContainerId(2)).is_some());
}
