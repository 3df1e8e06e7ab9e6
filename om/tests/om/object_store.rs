//! Object-store buckets: keys by S3's rules, in one table, through the operations that trees have.

use std::collections::{BTreeMap, BTreeSet};

use ozone_om::rows::Rows;
use ozone_om::snapshots;
use ozone_om::snapshots::change_log::Changes;
use ozone_om::snapshots::diff::Comparison;
use ozone_om::snapshots::difference::Difference;
use ozone_om::snapshots::reports::Reports;
use ozone_om::state_machine::OmState;
use ozone_om::{namespace, reads, tables};
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::*;
use ozone_raft::{ApplyBatch, StateMachine};

use crate::objects::{args, delete, expected, list, put};
use crate::support::{Om, extent, inline};

/// `/vol/bucket`, of the layout, without a session.
pub(crate) fn object_store(om: &mut Om) -> DirRef {
    let volume_info = VolumeInfo {
        admin_name: "root".into(),
        owner_name: "root".into(),
        volume: "vol".into(),
        ..Default::default()
    };
    let answer = om.ask(Body::CreateVolumeRequest(CreateVolumeRequest {
        volume_info,
    }));
    assert_eq!(answer.status(), Status::Ok);
    let bucket_info = BucketInfo {
        volume_name: "vol".into(),
        bucket_name: "bucket".into(),
        bucket_layout: Some(BucketLayoutProto::ObjectStore.into()),
        ..Default::default()
    };
    let answer = om.ask(Body::CreateBucketRequest(CreateBucketRequest {
        bucket_info,
    }));
    assert_eq!(answer.status(), Status::Ok, "{:?}", answer.message);
    let store = om.state.store().unwrap();
    let row = namespace::bucket(&*store, "vol", "bucket").unwrap();
    let root = namespace::bucket_root(&row);
    assert!(root.is_object_store());
    root
}

fn row(om: &Om, root: &DirRef, key: &str) -> Option<InodeRow> {
    let store = om.state.store().unwrap();
    let found = namespace::child(&*store, root, key.as_bytes()).unwrap();
    found.map(|found| found.row)
}

fn used(om: &Om) -> (u64, u64) {
    let store = om.state.store().unwrap();
    let row = namespace::bucket(&*store, "vol", "bucket").unwrap();
    (row.used_namespace, row.used_bytes)
}

/// Every kind of key that a tree would refuse, or take for another.
const ANY: &[&str] = &[
    "a",
    "a/",
    "a/b",
    "a//b",
    "a/b/",
    "a/b/c",
    "/",
    "//",
    "/a",
    "a-",
    "a-b/x",
    "a.b",
    ".",
    "..",
    "./a",
    "../a",
    "a/../b",
    "a/./b",
    "ü/日本/ ",
    " ",
    "d d/e+f=g?h#i%j",
    "x\u{1}",
    "~",
    "z/",
    "z//",
    "\u{10ffff}",
    "a\\b",
    "A",
    "a!",
    "a0",
];

#[test]
fn every_key_of_s3_is_a_key_of_its_own_and_listed_in_the_order_of_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let root = object_store(&mut om);
    let mut keys: BTreeSet<String> = ANY.iter().map(|key| (*key).to_owned()).collect();
    keys.insert("long/".repeat(204) + "1234");
    keys.extend((0..400).map(|n| format!("many/{n:04}")));
    keys.extend((0..300).map(|n| format!("group{}/{n:04}", n % 3)));
    for key in &keys {
        assert_eq!(put(&mut om, key), Status::Ok, "{key:?}");
    }
    assert_eq!(om.rows(tables::KEY), keys.len());
    assert_eq!(om.rows(tables::DIRECTORY) + om.rows(tables::FILE), 0);
    for key in &keys {
        let size = row(&om, &root, key).map(|row| row.size);
        let content = if key.ends_with('/') {
            0
        } else {
            key.len() as u64
        };
        assert_eq!(size, Some(content), "{key:?}");
    }
    for prefix in [
        "", "a", "a/", "/", "a//", "many/", "many/01", "group1", "nothing", "z", ".",
    ] {
        for delimiter in ["", "/", "//", "-", "b"] {
            for after in [
                "",
                "a",
                "a/",
                "a/b",
                "group1/",
                "group1/0100",
                "many/0300",
                "zz",
                "/",
            ] {
                let wanted = expected(&keys, prefix, delimiter, after);
                for limit in [1000, 7, 1] {
                    if limit == 1 && wanted.len() > 40 {
                        continue;
                    }
                    let found = list(&om, prefix, delimiter, after, limit);
                    assert_eq!(found, wanted, "{prefix:?} {delimiter:?} {after:?} {limit}");
                }
            }
        }
    }
    for key in &keys {
        assert_eq!(delete(&mut om, key), Status::Ok, "{key:?}");
        assert_eq!(delete(&mut om, key), Status::KeyNotFound, "{key:?}");
    }
    assert_eq!(used(&om), (0, 0));
}

#[test]
fn keys_are_listed_for_the_shell_from_a_key_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    object_store(&mut om);
    for key in ANY {
        put(&mut om, key);
    }
    let mut sorted: Vec<&str> = ANY.to_vec();
    sorted.sort_unstable();
    let page = |prefix: &str, start: &str, count: i32| {
        let store = om.state.store().unwrap();
        let body = Body::ListKeysRequest(ListKeysRequest {
            volume_name: "vol".into(),
            bucket_name: "bucket".into(),
            start_key: Some(start.into()),
            prefix: Some(prefix.into()),
            count: Some(count),
        });
        match reads::answer(&body, &*store).unwrap() {
            reads::Answer::Done(reply) => match *reply {
                Reply::ListKeysResponse(page) => page,
                other => panic!("{other:?}"),
            },
            _ => panic!("no listing"),
        }
    };
    let (mut found, mut start) = (Vec::new(), String::new());
    loop {
        let page = page("", &start, 4);
        found.extend(page.key_info.iter().map(|key| key.key_name.clone()));
        match page.is_truncated() {
            true => start = found.last().unwrap().clone(),
            false => break,
        }
    }
    assert_eq!(found, sorted);
    let inside = page("a/", "a/b", 1000);
    let names: Vec<_> = inside.key_info.iter().map(|key| &*key.key_name).collect();
    assert_eq!(names, ["a/b/", "a/b/c"]);
    assert!(inside.key_info.iter().all(KeyInfo::is_file));
}

#[test]
fn what_is_no_key_is_refused_and_so_is_what_only_a_filesystem_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let root = object_store(&mut om);
    assert_eq!(put(&mut om, ""), Status::InvalidKeyName);
    assert_eq!(put(&mut om, &"x".repeat(1025)), Status::NameTooLong);
    for reserved in [".snapshot", ".snapshot/x", "/.snapshot/x"] {
        assert_eq!(put(&mut om, reserved), Status::InvalidKeyName, "{reserved}");
    }
    assert_eq!(put(&mut om, "a\0b"), Status::InvalidKeyName);
    assert_eq!(put(&mut om, ".snapshots/x"), Status::Ok);
    assert_eq!(put(&mut om, "key"), Status::Ok);
    let found = row(&om, &root, "key").unwrap();
    let inode = namespace::inode(&root, b"key", found);
    for kind in [InodeKind::File, InodeKind::Directory, InodeKind::Symlink] {
        let create = CreateRequest {
            dir: Some(root),
            name: "made".into(),
            kind: kind.into(),
            ..Default::default()
        };
        let answer = om.ask(Body::Create(create));
        assert_eq!(answer.status(), Status::NotSupportedOperation);
    }
    let link = LinkRequest {
        source: inode.r#ref.clone(),
        dir: Some(root),
        name: "other".into(),
    };
    let answer = om.ask(Body::Link(link));
    assert_eq!(answer.status(), Status::NotSupportedOperation);
    let answer = om.commit(&inode, 0, vec![inline(0, b"!")]);
    assert_eq!(answer.status(), Status::NotSupportedOperation);
    let cut = SetAttrRequest {
        r#ref: inode.r#ref.clone(),
        size: Some(1),
        ..Default::default()
    };
    let answer = om.ask(Body::SetAttr(cut));
    assert_eq!(answer.status(), Status::NotSupportedOperation);
    let mode = SetAttrRequest {
        r#ref: inode.r#ref.clone(),
        mode: Some(0o600),
        ..Default::default()
    };
    assert_eq!(om.ask(Body::SetAttr(mode)).status(), Status::Ok);
    assert_eq!(row(&om, &root, "key").unwrap().mode, 0o600);
}

#[test]
fn a_change_of_a_key_is_told_to_whoever_believes_something_of_the_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let root = object_store(&mut om);
    let told = |changes: &[Change], key: &str| {
        let name = |change: &Change| change.object_id == root.bucket_id && change.name == key;
        changes.iter().any(name)
    };
    let key_args = args("a/b");
    let made = om.ask(Body::PutKey(PutKeyRequest { key_args }));
    assert!(told(&made.changes, "a/b"));
    let rename = RenameKeyRequest {
        key_args: args("a/b"),
        to_key_name: "a//c".into(),
        update_id: None,
    };
    let moved = om.ask(Body::RenameKeyRequest(rename));
    assert_eq!(moved.status(), Status::Ok);
    assert!(told(&moved.changes, "a/b") && told(&moved.changes, "a//c"));
}

#[test]
fn a_key_that_is_read_stays_for_its_reader_when_it_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let root = object_store(&mut om);
    let answer = om.ask(Body::OpenSession(OpenSessionRequest::default()));
    let Some(Reply::OpenSession(opened)) = answer.body else {
        panic!("no session")
    };
    put(&mut om, "a//b");
    let old = row(&om, &root, "a//b").unwrap();
    let place = namespace::inode(&root, b"a//b", old.clone()).r#ref.unwrap();
    let replace = KeyArgs {
        keep: Some(Keep {
            object_id: old.object_id,
            sessions: vec![opened.session],
        }),
        ..args("a//b")
    };
    let request = PutKeyRequest { key_args: replace };
    assert_eq!(om.ask(Body::PutKey(request)).status(), Status::Ok);
    let store = om.state.store().unwrap();
    let found = namespace::find(&*store, &place).unwrap();
    assert_eq!(found.row.object_id, old.object_id);
    drop(store);
    let close = CloseSessionRequest {
        session: opened.session,
        expired: false,
    };
    om.ask(Body::CloseSession(close));
    let store = om.state.store().unwrap();
    let gone = namespace::find(&*store, &place).unwrap_err();
    assert_eq!(gone.status(), Status::Stale);
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn key(&mut self) -> &'static str {
        ANY[self.below(ANY.len() as u64) as usize]
    }
}

/// A bucket, and what it has to be: by key, the block that it is in.
struct Model {
    om: Om,
    root: DirRef,
    session: u64,
    keys: BTreeMap<String, u64>,
    next_block: u64,
}

impl Model {
    fn new(dir: &std::path::Path) -> Self {
        let mut om = Om::open(dir);
        let root = object_store(&mut om);
        let answer = om.ask(Body::OpenSession(OpenSessionRequest::default()));
        let Some(Reply::OpenSession(opened)) = answer.body else {
            panic!("no session")
        };
        Self {
            om,
            root,
            session: opened.session,
            keys: BTreeMap::new(),
            next_block: 1,
        }
    }

    /// Nobody has open what a key has.
    fn unopened(&self, key: &str) -> Option<Keep> {
        row(&self.om, &self.root, key).map(|row| Keep {
            object_id: row.object_id,
            sessions: Vec::new(),
        })
    }

    fn put(&mut self, key: &str) {
        let block = self.next_block;
        self.next_block += 1;
        self.om.block(self.session, block);
        let key_args = KeyArgs {
            data_size: Some(100),
            extents: vec![extent(0, 100, block, 0)],
            session: Some(self.session),
            keep: self.unopened(key),
            ..args(key)
        };
        let answer = self.om.ask(Body::PutKey(PutKeyRequest { key_args }));
        assert_eq!(answer.status(), Status::Ok, "{key:?} {:?}", answer.message);
        self.om.release(self.session, block);
        self.keys.insert(key.to_owned(), block);
    }

    fn remove(&mut self, key: &str) {
        let request = DeleteKeyRequest {
            key_args: args(key),
            keep: self.unopened(key),
            as_object: Some(true),
        };
        let deleted = self.om.ask(Body::DeleteKeyRequest(request)).status();
        let wanted = match self.keys.remove(key) {
            Some(_) => Status::Ok,
            None => Status::KeyNotFound,
        };
        assert_eq!(deleted, wanted, "{key:?}");
    }

    fn rename(&mut self, from: &str, to: &str) {
        let request = RenameKeyRequest {
            key_args: args(from),
            to_key_name: to.into(),
            update_id: None,
        };
        let renamed = self.om.ask(Body::RenameKeyRequest(request)).status();
        let wanted = match (self.keys.get(from).copied(), self.keys.contains_key(to)) {
            (None, _) => Status::KeyNotFound,
            (Some(_), true) => Status::KeyAlreadyExists,
            (Some(block), false) => {
                self.keys.remove(from);
                self.keys.insert(to.to_owned(), block);
                Status::Ok
            }
        };
        assert_eq!(renamed, wanted, "{from:?} {to:?}");
    }

    fn copy(&mut self, from: &str, to: &str) {
        let request = CopyKeyRequest {
            source: args(from),
            key_args: KeyArgs {
                keep: self.unopened(to),
                ..args(to)
            },
            ..Default::default()
        };
        let copied = self.om.ask(Body::CopyKey(request)).status();
        match self.keys.get(from).copied() {
            None => assert_eq!(copied, Status::KeyNotFound),
            Some(block) => {
                assert_eq!(copied, Status::Ok, "{from:?} {to:?}");
                self.keys.insert(to.to_owned(), block);
            }
        }
    }

    /// What the bucket has.
    fn found(&self, rows: &impl Rows) -> BTreeMap<String, u64> {
        let children = reads::listing::children(rows, &self.root, b"", usize::MAX).unwrap();
        let names = children.into_iter().map(|inode| inode.r#ref.unwrap().name);
        names
            .map(|name| {
                let found = namespace::child(rows, &self.root, &name).unwrap().unwrap();
                let Some(extent::Source::Block(block)) = &found.row.extents[0].source else {
                    panic!("no block")
                };
                (String::from_utf8(name.to_vec()).unwrap(), block.local)
            })
            .collect()
    }

    fn snapshot(&mut self, name: &str) -> u64 {
        let request = CreateSnapshotRequest {
            volume_name: Some("vol".into()),
            bucket_name: Some("bucket".into()),
            snapshot_name: Some(name.into()),
            snapshot_id: Some(ozone_proto::hdds::Uuid {
                most_sig_bits: 7,
                least_sig_bits: self.next_block.cast_signed(),
            }),
            ..Default::default()
        };
        let answer = self.om.send(OmRequest {
            cmd_type: Type::CreateSnapshot.into(),
            body: Some(Body::CreateSnapshotRequest(request)),
            ..Default::default()
        });
        assert_eq!(answer.status(), Status::Ok, "{:?}", answer.message);
        self.om.log.len() as u64
    }

    fn check(&self) {
        let store = self.om.state.store().unwrap();
        assert_eq!(self.found(&*store), self.keys);
        drop(store);
        let count = self.keys.len() as u64;
        assert_eq!(used(&self.om), (count, count * 100));
        let blocks: BTreeSet<_> = self.keys.values().collect();
        let refs = self.om.rows(tables::BLOCK_REF);
        assert!(
            refs >= blocks.len(),
            "{refs} references to {}",
            blocks.len()
        );
    }
}

#[test]
fn random_histories_leave_what_a_map_would_and_replay_to_the_same_rows() {
    for seed in 1..6 {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut model = Model::new(one.path());
        let mut numbers = Numbers(seed * 7919);
        for step in 0..400 {
            let (a, b) = (numbers.key(), numbers.key());
            match numbers.below(6) {
                0 | 1 => model.put(a),
                2 => model.remove(a),
                3 => model.rename(a, b),
                4 if a != b => model.copy(a, b),
                _ => model.om.purge(),
            }
            if step % 20 == 0 {
                model.check();
            }
        }
        model.check();
        let state = model.om.dump();
        let replayed = OmState::open(two.path(), 4).unwrap();
        let position = model.om.log.len().to_be_bytes();
        let batch = ApplyBatch {
            commands: &model.om.log,
            position: &position,
        };
        replayed.apply(batch).unwrap();
        let replayed = Om {
            state: replayed,
            log: Vec::new(),
            default_replication: None,
        };
        for (table, rows) in replayed.dump() {
            // The positions were stored by batches of another size.
            assert!(
                table == "transactionInfoTable" || rows == state[table],
                "{table}"
            );
        }
        for key in ANY {
            if model.keys.contains_key(*key) {
                model.remove(key);
            }
        }
        model.om.purge();
        model.check();
        assert_eq!(model.om.rows(tables::BLOCK_REF), 0);
        let delete = DeleteBucketRequest {
            volume_name: "vol".into(),
            bucket_name: "bucket".into(),
        };
        let answer = model.om.ask(Body::DeleteBucketRequest(delete));
        assert_eq!(answer.status(), Status::Ok);
    }
}

#[test]
fn a_snapshot_shows_the_keys_that_there_were_and_the_difference_names_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new(dir.path());
    for key in ["a", "a/b", "a//b", "gone", "old", "same"] {
        model.put(key);
    }
    let then = model.keys.clone();
    let first = model.snapshot("one");
    model.remove("gone");
    model.rename("old", "new/er");
    model.put("made/");
    model.put("a//b");
    let second = model.snapshot("two");
    model.put("later");
    let store = model.om.state.store().unwrap();
    let find = |name| snapshots::find(&*store, "vol", "bucket", name).unwrap();
    let (one, two) = (find("one"), find("two"));
    let from = model.om.state.checkpoints.open(&one).unwrap();
    let to = model.om.state.checkpoints.open(&two).unwrap();
    assert_eq!(model.found(&from), then);
    let scratch = tempfile::tempdir().unwrap();
    let mut report = Reports::new(scratch.path()).unwrap().begin().unwrap();
    let comparison = Comparison {
        changes: Changes::between(&*store, model.root.bucket_id, first, second),
        from: &from,
        to: &to,
        root: model.root,
    };
    assert!(comparison.compute(&mut report, || true).unwrap());
    let found = report.page(0, usize::MAX).unwrap();
    let path = |text: &str| text.as_bytes().to_vec();
    assert_eq!(
        found,
        [
            Difference::Deleted(path("a//b")),
            Difference::Deleted(path("gone")),
            Difference::Renamed(path("old"), path("new/er")),
            Difference::Created(path("a//b")),
            Difference::Created(path("made/")),
        ]
    );
    let delete = DeleteBucketRequest {
        volume_name: "vol".into(),
        bucket_name: "bucket".into(),
    };
    drop(store);
    for key in model.keys.clone().keys() {
        model.remove(key);
    }
    let answer = model.om.ask(Body::DeleteBucketRequest(delete));
    assert_eq!(answer.status(), Status::ContainsSnapshot);
}
