//! Snapshots against a model: what each one shows, which blocks it keeps, what the difference of two is.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ozone_om::rows::Row;
use ozone_om::rows::Rows;
use ozone_om::snapshots;
use ozone_om::snapshots::change_log::Changes;
use ozone_om::snapshots::diff::{Comparison, Place};
use ozone_om::snapshots::difference::Difference;
use ozone_om::snapshots::reports::{Report, Reports};
use ozone_om::tables::Table;
use ozone_om::{file_map, namespace, reads, tables};
use ozone_proto::namespace::extent::Source;
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::*;
use ozone_raft::{ApplyBatch, StateMachine};

use crate::support::{Om, extent, id, rename, unlink};

/// What is at a place of a tree.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    path: Vec<u8>,
    row: InodeRow,
    /// File offset, length, block, offset in it.
    map: Vec<(u64, u64, u64, u64)>,
}

type Tree = BTreeMap<Place, Entry>;

/// The tree of the bucket in `rows`.
fn tree(rows: &impl Rows, root: DirRef) -> Tree {
    let mut found = Tree::new();
    let mut left = vec![(root.parent_id, Vec::new())];
    while let Some((parent_id, path)) = left.pop() {
        let dir = DirRef { parent_id, ..root };
        for inode in reads::listing::children(rows, &dir, b"", usize::MAX).unwrap() {
            let name = inode.r#ref.unwrap().name.to_vec();
            let row = namespace::child(rows, &dir, &name).unwrap().unwrap().row;
            let path = [path.as_slice(), &name].concat();
            if namespace::is_dir(&row) {
                left.push((row.object_id, [path.as_slice(), b"/"].concat()));
            }
            let (extents, _) = file_map::read(rows, &row, 0, u64::MAX, usize::MAX).unwrap();
            let map = extents.iter().map(|e| match &e.source {
                Some(Source::Block(b)) => (e.file_offset, e.length, b.local, b.offset),
                other => panic!("only blocks were written: {other:?}"),
            });
            let map = map.collect();
            found.insert((parent_id, name), Entry { path, row, map });
        }
    }
    found
}

fn blocks(tree: &Tree) -> BTreeSet<u64> {
    let maps = tree.values().flat_map(|entry| &entry.map);
    maps.map(|(_, _, local, _)| *local).collect()
}

/// The difference of two trees, found by comparing all of them.
fn oracle(from: &Tree, to: &Tree, root: u64) -> Vec<Difference> {
    let by_object = |tree: &Tree| {
        let mut places = BTreeMap::<u64, Vec<Place>>::new();
        for (place, entry) in tree {
            places
                .entry(entry.row.object_id)
                .or_default()
                .push(place.clone());
        }
        places
    };
    let (before, after) = (by_object(from), by_object(to));
    let seen = |row: &InodeRow| {
        let attributes = (row.mode, row.uid, row.gid);
        let content = (row.size, row.data_version, row.mtime_ns);
        (attributes, (!namespace::is_dir(row)).then_some(content))
    };
    let mut found = Vec::new();
    let objects: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for object in objects {
        let (old, new) = (before.get(object), after.get(object));
        let (old, new) = (
            old.cloned().unwrap_or_default(),
            new.cloned().unwrap_or_default(),
        );
        let stayed: Vec<_> = old.iter().filter(|place| new.contains(place)).collect();
        let lost: Vec<_> = old.iter().filter(|place| !new.contains(place)).collect();
        let gained: Vec<_> = new.iter().filter(|place| !old.contains(place)).collect();
        let pairs = lost.len().min(gained.len());
        for place in stayed {
            if seen(&from[place].row) != seen(&to[place].row) {
                found.push(Difference::Modified(from[place].path.clone()));
            }
        }
        for (lost, gained) in lost.iter().zip(&gained) {
            let (old, new) = (&from[*lost], &to[*gained]);
            found.push(Difference::Renamed(old.path.clone(), new.path.clone()));
            if seen(&old.row) != seen(&new.row) {
                found.push(Difference::Modified(old.path.clone()));
            }
        }
        for place in &lost[pairs..] {
            if place.0 == root || after.contains_key(&place.0) {
                found.push(Difference::Deleted(from[*place].path.clone()));
            }
        }
        for place in &gained[pairs..] {
            found.push(Difference::Created(to[*place].path.clone()));
        }
    }
    found.sort();
    found
}

struct World {
    om: Om,
    root: DirRef,
    session: u64,
    random: u64,
    next_block: u64,
    next_name: u64,
    recorded: BTreeMap<String, (u64, Tree)>,
}

impl World {
    fn new(dir: &Path, seed: u64) -> Self {
        let mut om = Om::open(dir);
        let (root, session) = om.bucket();
        Self {
            om,
            root,
            session,
            random: seed,
            next_block: 1,
            next_name: 1,
            recorded: BTreeMap::new(),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    fn live(&self) -> Tree {
        tree(&*self.om.state.store().unwrap(), self.root)
    }

    fn pick(&mut self, wanted: impl Fn(&Entry) -> bool) -> Option<(Place, Entry)> {
        let mut found: Vec<_> = self.live().into_iter().filter(|(_, e)| wanted(e)).collect();
        match found.len() as u64 {
            0 => None,
            count => Some(found.swap_remove(self.below(count) as usize)),
        }
    }

    /// A directory, the bucket's root among them.
    fn directory(&mut self) -> DirRef {
        let found = self.pick(|entry| namespace::is_dir(&entry.row));
        let root = self.root;
        match found {
            Some((_, entry)) if self.below(3) > 0 => DirRef {
                parent_id: entry.row.object_id,
                ..root
            },
            _ => root,
        }
    }

    fn name(&mut self) -> String {
        self.next_name += 1;
        // Some names are used again.
        format!("n{}", self.next_name % 40)
    }

    fn at(&self, place: &Place) -> DirRef {
        DirRef {
            parent_id: place.0,
            ..self.root
        }
    }

    fn write(&mut self, place: &Place, entry: &Entry) {
        let inode = namespace::inode(&self.at(place), &place.1, entry.row.clone());
        let local = self.next_block;
        self.next_block += 1;
        let (at, length) = (self.below(6) * 100, 50 + self.below(200));
        self.om.block(self.session, local);
        self.om
            .commit(&inode, self.session, vec![extent(at, length, local, 0)]);
        self.om.release(self.session, local);
    }

    fn snapshot_request(&mut self, kind: Type, body: Body) -> OmResponse {
        self.om.send(OmRequest {
            cmd_type: kind.into(),
            body: Some(body),
            ..Default::default()
        })
    }

    fn snapshot(&mut self) {
        let name = format!("snap{}", self.next_name);
        self.next_name += 1;
        let tree = self.live();
        let request = CreateSnapshotRequest {
            volume_name: Some("vol".into()),
            bucket_name: Some("bucket".into()),
            snapshot_name: Some(name.clone()),
            snapshot_id: Some(ozone_proto::hdds::Uuid {
                most_sig_bits: 7,
                least_sig_bits: self.next_name.cast_signed(),
            }),
            ..Default::default()
        };
        let body = Body::CreateSnapshotRequest(request);
        let answer = self.snapshot_request(Type::CreateSnapshot, body);
        assert_eq!(answer.status(), Status::Ok, "{answer:?}");
        let index = self.om.log.len() as u64;
        self.recorded.insert(name, (index, tree));
    }

    fn delete_snapshot(&mut self) {
        let count = self.recorded.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.below(count) as usize;
        let name = self.recorded.keys().nth(at).unwrap().clone();
        let (index, _) = self.recorded.remove(&name).unwrap();
        let request = DeleteSnapshotRequest {
            volume_name: Some("vol".into()),
            bucket_name: Some("bucket".into()),
            snapshot_name: Some(name),
            ..Default::default()
        };
        let body = Body::DeleteSnapshotRequest(request);
        let answer = self.snapshot_request(Type::DeleteSnapshot, body);
        assert_eq!(answer.status(), Status::Ok, "{answer:?}");
        if self.below(2) == 0 {
            self.reclaim(index);
        }
    }

    fn reclaim(&mut self, index: u64) {
        loop {
            let request = ReclaimSnapshotRequest {
                bucket_id: self.root.bucket_id,
                index,
                limit: 2,
            };
            let body = Body::ReclaimSnapshot(request);
            let answer = self.snapshot_request(Type::ReclaimSnapshot, body);
            match answer.body {
                Some(Reply::ReclaimSnapshot(done)) if done.done => return,
                Some(Reply::ReclaimSnapshot(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn reclaim_all(&mut self) {
        while self.om.rows(tables::DELETED) + self.om.rows(tables::DELETED_DIRECTORY) > 0 {
            self.om.purge();
        }
        let store = self.om.state.store().unwrap();
        let deleted = store.scan(tables::SNAPSHOT_DELETED, &[], None, usize::MAX);
        drop(store);
        for (key, _) in deleted.unwrap() {
            let [_, index] = tables::parse_number_key::<2>(&key).unwrap();
            self.reclaim(index);
        }
    }

    fn delete_tree(&mut self) {
        if let Some((_, entry)) = self.pick(|entry| namespace::is_dir(&entry.row)) {
            let key_args = KeyArgs {
                volume_name: "vol".into(),
                bucket_name: "bucket".into(),
                key_name: String::from_utf8(entry.path).unwrap(),
                recursive: Some(true),
                ..Default::default()
            };
            let request = DeleteKeyRequest {
                key_args,
                keep: None,
                as_object: None,
            };
            let answer = self.om.ask(Body::DeleteKeyRequest(request));
            assert_eq!(answer.status(), Status::Ok, "{answer:?}");
        }
    }

    fn link(&mut self) {
        let Some((place, entry)) = self.pick(|entry| !namespace::is_dir(&entry.row)) else {
            return;
        };
        let source = namespace::inode(&self.at(&place), &place.1, entry.row);
        let dir = self.directory();
        let name = self.name();
        self.om.ask(Body::Link(LinkRequest {
            source: source.r#ref,
            dir: Some(dir),
            name: name.into(),
        }));
    }

    fn step(&mut self) {
        match self.below(20) {
            0..4 => {
                let (dir, name) = (self.directory(), self.name());
                if self.free(dir, &name) {
                    self.om.create(dir, &name, InodeKind::File);
                }
            }
            4..6 => {
                let (dir, name) = (self.directory(), self.name());
                if self.free(dir, &name) {
                    self.om.create(dir, &name, InodeKind::Directory);
                }
            }
            6..11 => {
                if let Some((place, entry)) = self.pick(|e| !namespace::is_dir(&e.row)) {
                    self.write(&place, &entry);
                }
            }
            11 => self.change_attributes(),
            12 => self.link(),
            13..15 => {
                if let Some((place, _)) = self.pick(|_| true) {
                    let (to, name) = (self.directory(), self.name());
                    let from_name = String::from_utf8(place.1.clone()).unwrap();
                    let from = self.at(&place);
                    self.om
                        .ask(Body::Rename(rename(from, &from_name, to, &name)));
                }
            }
            15..17 => {
                if let Some((place, entry)) = self.pick(|_| true) {
                    let name = String::from_utf8(place.1.clone()).unwrap();
                    let directory = namespace::is_dir(&entry.row);
                    self.om.ask(unlink(self.at(&place), &name, directory, None));
                }
            }
            17 => self.delete_tree(),
            18 => self.snapshot(),
            _ if self.below(2) == 0 => self.delete_snapshot(),
            _ => self.om.purge(),
        }
    }

    fn change_attributes(&mut self) {
        let Some((place, entry)) = self.pick(|_| true) else {
            return;
        };
        let size = (!namespace::is_dir(&entry.row)).then(|| self.below(300));
        let inode = namespace::inode(&self.at(&place), &place.1, entry.row);
        self.om.ask(Body::SetAttr(SetAttrRequest {
            r#ref: inode.r#ref,
            mode: Some(0o600 + self.next_name as u32 % 64),
            size,
            ..Default::default()
        }));
    }

    fn free(&self, dir: DirRef, name: &str) -> bool {
        let store = self.om.state.store().unwrap();
        namespace::child(&*store, &dir, name.as_bytes())
            .unwrap()
            .is_none()
    }

    /// The difference of two snapshots, as what is looked at in the checkpoints.
    fn difference<R: Rows>(
        &self,
        reports: &Reports,
        (first, from): (u64, &R),
        (last, to): (u64, &R),
    ) -> Report {
        let store = self.om.state.store().unwrap();
        let mut report = reports.begin().unwrap();
        let comparison = Comparison {
            changes: Changes::between(&*store, self.root.bucket_id, first, last),
            from,
            to,
            root: self.root,
        };
        assert!(comparison.compute(&mut report, || true).unwrap());
        report
    }

    /// Every snapshot shows what was recorded, every difference is the oracle's.
    fn check_snapshots(&self) {
        let store = self.om.state.store().unwrap();
        let opened: Vec<_> = self
            .recorded
            .values()
            .map(|(index, recorded)| {
                let row = snapshots::at(&*store, self.root.bucket_id, *index).unwrap();
                let then = self.om.state.checkpoints.open(&row).unwrap();
                assert_eq!(tree(&then, self.root), *recorded, "snapshot {}", row.name);
                (*index, then, recorded)
            })
            .collect();
        let scratch = tempfile::tempdir().unwrap();
        let reports = Reports::new(scratch.path()).unwrap();
        for (first, from, old) in &opened {
            for (last, to, new) in &opened {
                if first > last {
                    continue;
                }
                let report = self.difference(&reports, (*first, from), (*last, to));
                let found = report.page(0, usize::MAX).unwrap();
                assert_eq!(found.len() as u64, report.len());
                assert_eq!(found, oracle(old, new, self.root.parent_id));
            }
        }
    }

    /// Exactly the blocks that nothing sees are freed.
    fn check_blocks(&mut self) {
        self.reclaim_all();
        let mut seen = blocks(&self.live());
        seen.extend(self.recorded.values().flat_map(|(_, tree)| blocks(tree)));
        let store = self.om.state.store().unwrap();
        let rows = store
            .scan(tables::FREED_BLOCK, &[], None, usize::MAX)
            .unwrap();
        let freed: BTreeSet<u64> = rows
            .iter()
            .map(|(key, _)| tables::parse_number_key::<2>(key).unwrap()[1])
            .collect();
        let all: BTreeSet<u64> = (1..self.next_block).collect();
        let expected: BTreeSet<u64> = all.difference(&seen).copied().collect();
        assert_eq!(freed, expected);
    }

    /// Opens the state again, with everything that was not flushed lost and given by the log once more.
    fn crash(&mut self, dir: &Path) {
        let log = self.om.log.clone();
        // One process at a time has a database open.
        self.om = Om::open(tempfile::tempdir().unwrap().path());
        self.om = Om {
            log: log.clone(),
            ..Om::open(dir)
        };
        let from = match self.om.state.load().unwrap() {
            Some(position) => u64::from_be_bytes(position.try_into().unwrap()),
            None => 0,
        };
        for command in &log[from as usize..] {
            let position = command.index.to_be_bytes();
            let commands = std::slice::from_ref(command);
            let batch = ApplyBatch {
                commands,
                position: &position,
            };
            self.om.state.apply(batch).unwrap();
        }
    }
}

#[test]
fn snapshots_show_what_was_there_and_keep_exactly_its_blocks() {
    for seed in 1..=4 {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(dir.path(), seed);
        for step in 1..=240 {
            world.step();
            if step % 60 == 0 {
                world.check_snapshots();
                world.check_blocks();
            }
            if step % 80 == 0 {
                world.crash(dir.path());
                world.check_snapshots();
            }
        }
        while !world.recorded.is_empty() {
            world.delete_snapshot();
        }
        while let Some((place, entry)) = world.pick(|_| true) {
            let name = String::from_utf8(place.1.clone()).unwrap();
            let directory = namespace::is_dir(&entry.row);
            world
                .om
                .ask(unlink(world.at(&place), &name, directory, None));
        }
        world.check_blocks();
        let left = [
            tables::BLOCK_REF,
            tables::SNAPSHOT_BLOCK,
            tables::SNAPSHOT_DELETED,
            tables::CHANGE_LOG,
            tables::LINK,
        ];
        assert_eq!(
            left.map(|table| world.om.rows(table)),
            [0; 5],
            "seed {seed}"
        );
        let checkpoints = dir.path().join("om.db/snapshots");
        let kept = std::fs::read_dir(checkpoints).map_or(0, Iterator::count);
        assert_eq!(kept, 0, "checkpoints of deleted snapshots");
    }
}

#[test]
fn a_copy_of_the_state_has_the_snapshots_too() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut world = World::new(one.path(), 99);
    (0..60).for_each(|_| world.step());
    world.snapshot();
    (0..30).for_each(|_| world.step());
    let copy = tempfile::tempdir().unwrap();
    world.om.state.checkpoint(copy.path()).unwrap();
    let other = Om::open(two.path());
    other.state.restore(copy.path()).unwrap();
    world.om = Om {
        log: world.om.log.clone(),
        ..other
    };
    world.check_snapshots();
    world.check_blocks();
}

#[test]
fn a_snapshot_whose_checkpoint_a_crash_cut_off_is_completed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), 5);
    (0..40).for_each(|_| world.step());
    world.snapshot();
    world.om.state.flush().unwrap();
    let log = world.om.log.clone();
    let store = world.om.state.store().unwrap();
    let row = snapshots::at(&*store, world.root.bucket_id, log.len() as u64).unwrap();
    drop(store);
    world.om = Om::open(tempfile::tempdir().unwrap().path());
    // As if the power had gone between the flush and the last hard link.
    let checkpoints = dir.path().join("om.db/snapshots");
    let name = format!("om.db-{}", snapshots::id(&row));
    let cut_off = checkpoints.join(format!("{name}.tmp"));
    std::fs::rename(checkpoints.join(&name), &cut_off).unwrap();
    world.om = Om {
        log,
        ..Om::open(dir.path())
    };
    world.check_snapshots();
    assert!(!cut_off.exists());
}

#[test]
fn a_file_that_was_deleted_before_a_snapshot_is_not_kept_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), 1);
    let file = world.om.create(world.root, "f", InodeKind::File);
    world.om.block(world.session, 1);
    world
        .om
        .commit(&file, world.session, vec![extent(0, 10, 1, 0)]);
    world.om.release(world.session, 1);
    let keep = Keep {
        object_id: id(&file),
        sessions: vec![world.session],
    };
    world.om.ask(unlink(world.root, "f", false, Some(keep)));
    world.snapshot();
    // Open for a while longer, and written to.
    world.om.block(world.session, 2);
    world
        .om
        .commit(&file, world.session, vec![extent(0, 5, 2, 0)]);
    world.om.release(world.session, 2);
    world.om.ask(Body::CloseSession(CloseSessionRequest {
        session: world.session,
        expired: false,
    }));
    world.next_block = 3;
    world.check_blocks();
}

/// Rows, and how many of them were looked at.
struct Counted<R> {
    rows: R,
    looked_at: Cell<usize>,
}

impl<R: Rows> Rows for Counted<R> {
    fn get_raw(&self, table: Table, key: &[u8]) -> ozone_om::error::Result<Option<Vec<u8>>> {
        self.looked_at.set(self.looked_at.get() + 1);
        self.rows.get_raw(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> ozone_om::error::Result<Vec<Row>> {
        let found = self.rows.scan(table, prefix, after, limit)?;
        self.looked_at.set(self.looked_at.get() + found.len() + 1);
        Ok(found)
    }
}

/// How many rows a difference looks at, and how long it is, of a bucket of `names` in which `changes` of them are
/// written, renamed and deleted each.
fn looks(names: usize, changes: usize) -> (usize, u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path(), 1);
    let mut dirs = Vec::new();
    for n in 0..names {
        if n % 100 == 0 {
            let name = format!("d{n}");
            let made = world.om.create(world.root, &name, InodeKind::Directory);
            dirs.push(DirRef {
                parent_id: id(&made),
                ..world.root
            });
        }
        let dir = *dirs.last().unwrap();
        world.om.create(dir, &format!("f{n}"), InodeKind::File);
    }
    world.snapshot();
    let dir = dirs[0];
    for n in 0..changes {
        let [written, renamed, deleted] = [3 * n, 3 * n + 1, 3 * n + 2].map(|n| format!("f{n}"));
        let store = world.om.state.store().unwrap();
        let found = namespace::child(&*store, &dir, written.as_bytes()).unwrap();
        drop(store);
        let place = (dir.parent_id, written.into_bytes());
        let entry = Entry {
            path: Vec::new(),
            row: found.unwrap().row,
            map: Vec::new(),
        };
        world.write(&place, &entry);
        let to = format!("{renamed}x");
        world.om.ask(Body::Rename(rename(dir, &renamed, dir, &to)));
        world.om.ask(unlink(dir, &deleted, false, None));
    }
    world.snapshot();
    let store = world.om.state.store().unwrap();
    let opened = world.recorded.values().map(|(index, _)| {
        let row = snapshots::at(&*store, world.root.bucket_id, *index).unwrap();
        let rows = Counted {
            rows: world.om.state.checkpoints.open(&row).unwrap(),
            looked_at: Cell::new(0),
        };
        (*index, rows)
    });
    let mut opened: Vec<_> = opened.collect();
    opened.sort_by_key(|(index, _)| *index);
    let [(first, from), (last, to)] = &opened[..] else {
        panic!("two snapshots were made");
    };
    let scratch = tempfile::tempdir().unwrap();
    let reports = Reports::new(scratch.path()).unwrap();
    let report = world.difference(&reports, (*first, from), (*last, to));
    (from.looked_at.get() + to.looked_at.get(), report.len())
}

#[test]
fn a_difference_looks_at_what_changed_whatever_the_size_of_the_bucket() {
    let (few, entries) = looks(100, 5);
    let (many, same) = looks(5000, 5);
    assert_eq!((entries, same), (15, 15));
    assert_eq!(few, many, "rows that were looked at");
    let (more, entries) = looks(5000, 30);
    assert_eq!(entries, 90);
    assert!(
        more <= 6 * many,
        "{more} rows for six times what {many} were for"
    );
}
