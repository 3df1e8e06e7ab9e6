//! What a database promises, on a real disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{Batch, Db, DbOptions, KeyRange, KvError, Overlay, Raw, ReadView, Table, WriteTarget};

const NAMES: Table<String, String> = Table::new("names");
const COUNTS: Table<u64, u64> = Table::new("counts");
const QUEUE: Table<Vec<u8>, Raw> = Table::queue("queue");

fn open(dir: &Path, options: DbOptions) -> Db {
    let tables = [NAMES.spec(), COUNTS.spec(), QUEUE.spec()];
    Db::open(dir, &tables, options).unwrap()
}

fn set(db: &Db, key: &str, value: &str, sync: bool) {
    let mut batch = Batch::new();
    NAMES.put(&mut batch, key, &value.to_owned());
    COUNTS.put(&mut batch, &(value.len() as u64), &1);
    db.write(&batch, sync).unwrap();
}

/// What a killed process leaves of a database: its files as they are at one moment. Copying takes
/// longer than a moment, so it is done again until no flush or compaction came in between.
fn kill_and_copy(from: &Path, to: &Path) {
    loop {
        let before = listing(from);
        if to.exists() {
            fs::remove_dir_all(to).unwrap();
        }
        fs::create_dir_all(to).unwrap();
        let copied = before
            .iter()
            .all(|(name, _)| fs::copy(from.join(name), to.join(name)).is_ok());
        if copied && listing(from) == before {
            return;
        }
    }
}

/// Names and lengths of the files in a directory, but for RocksDB's own log.
fn listing(dir: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(dir).unwrap().filter_map(Result::ok);
    let files = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let length = entry.metadata().ok().filter(|found| found.is_file())?.len();
        (!name.starts_with("LOG")).then_some((name, length))
    });
    files.collect()
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for options in [DbOptions::default(), DbOptions::without_wal()] {
        let path = dir.path().join(options.wal.to_string());
        let db = open(&path, options.clone());
        set(&db, "a", "one", false);
        drop(db);
        let db = open(&path, options);
        assert_eq!(NAMES.get(&db, "a").unwrap().as_deref(), Some("one"));
        assert_eq!(COUNTS.get(&db, &3).unwrap(), Some(1));
        assert!(!NAMES.contains(&db, "b").unwrap());
    }
}

#[test]
fn a_batch_takes_effect_as_a_whole_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), DbOptions::default());
    for key in ["a", "b", "c", "d"] {
        set(&db, key, "x", false);
    }
    let mut batch = Batch::new();
    batch.delete_range(NAMES.name(), b"b".to_vec(), b"d".to_vec());
    NAMES.put(&mut batch, "c", &"back".to_owned());
    NAMES.delete(&mut batch, "a");
    db.write(&batch, true).unwrap();
    let rows = NAMES.scan(&db, b"", b"", 10).unwrap();
    let want = [("c", "back"), ("d", "x")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(rows, want);
}

#[test]
fn a_database_that_was_never_closed_opens_with_all_its_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (live, cut) = (dir.path().join("live"), dir.path().join("cut"));
    let db = open(&live, DbOptions::default());
    set(&db, "a", "kept", false);
    kill_and_copy(&live, &cut);
    let after = open(&cut, DbOptions::default());
    assert_eq!(NAMES.get(&after, "a").unwrap().as_deref(), Some("kept"));
}

#[test]
fn without_wal_a_kill_takes_what_came_after_the_last_flush_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (live, cut) = (dir.path().join("live"), dir.path().join("cut"));
    let db = open(&live, DbOptions::without_wal());
    set(&db, "a", "flushed", false);
    db.flush().unwrap();
    set(&db, "a", "lost", false);
    set(&db, "b", "lost", false);
    let flushed = db.get_flushed(NAMES.name(), b"a").unwrap();
    assert_eq!(
        flushed.unwrap(),
        prost::Message::encode_to_vec(&"flushed".to_owned())
    );
    assert!(db.get_flushed(NAMES.name(), b"b").unwrap().is_none());
    kill_and_copy(&live, &cut);
    let after = open(&cut, DbOptions::without_wal());
    assert_eq!(NAMES.get(&after, "a").unwrap().as_deref(), Some("flushed"));
    assert!(!NAMES.contains(&after, "b").unwrap());
    assert_eq!(COUNTS.get(&after, &7).unwrap(), Some(1));
    assert_eq!(COUNTS.get(&after, &4).unwrap(), None);
}

#[test]
fn without_wal_memtables_that_fill_up_are_flushed_for_all_tables_at_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (live, cut) = (dir.path().join("live"), dir.path().join("cut"));
    let options = DbOptions {
        memtable_total: 256 << 10,
        ..DbOptions::without_wal()
    };
    let db = open(&live, options.clone());
    // Two tables, one big and one small, always written together.
    for index in 0..2000u64 {
        let mut batch = Batch::new();
        NAMES.put(&mut batch, "last", &index.to_string());
        COUNTS.put(&mut batch, &0, &index);
        QUEUE.put(
            &mut batch,
            &index.to_be_bytes().to_vec(),
            &Raw(vec![7; 512]),
        );
        db.write(&batch, false).unwrap();
    }
    kill_and_copy(&live, &cut);
    let after = open(&cut, options);
    let last = COUNTS
        .get(&after, &0)
        .unwrap()
        .expect("something was flushed");
    assert_eq!(NAMES.get(&after, "last").unwrap(), Some(last.to_string()));
    let newest = QUEUE.scan_range(&after, &KeyRange::all(), true, 1).unwrap();
    assert_eq!(newest[0].0, last.to_be_bytes());
}

#[test]
fn a_synced_write_without_wal_is_durable_too() {
    let dir = tempfile::tempdir().unwrap();
    let (live, cut) = (dir.path().join("live"), dir.path().join("cut"));
    let db = open(&live, DbOptions::without_wal());
    set(&db, "a", "kept", true);
    kill_and_copy(&live, &cut);
    let after = open(&cut, DbOptions::without_wal());
    assert_eq!(NAMES.get(&after, "a").unwrap().as_deref(), Some("kept"));
}

#[test]
fn a_checkpoint_holds_everything_shares_files_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let db = open(&live, DbOptions::without_wal());
    set(&db, "a", "old", false);
    db.checkpoint(&copy).unwrap();
    set(&db, "a", "new", false);
    let shared = fs::read_dir(&copy).unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        let twin = live.join(path.file_name().unwrap());
        let is_sst = path.extension().is_some_and(|ext| ext == "sst");
        let inode = |path: &Path| fs::metadata(path).map(|meta| meta.ino()).ok();
        is_sst && inode(&path) == inode(&twin)
    });
    assert!(shared.count() >= 2);
    let tables = [NAMES.spec(), COUNTS.spec()];
    let old = Db::open_read_only(&copy, &tables, DbOptions::default()).unwrap();
    assert_eq!(NAMES.get(&old, "a").unwrap().as_deref(), Some("old"));
    assert_eq!(NAMES.get(&db, "a").unwrap().as_deref(), Some("new"));
    let mut batch = Batch::new();
    NAMES.put(&mut batch, "b", &"x".to_owned());
    assert!(old.write(&batch, false).is_err());
    assert!(db.checkpoint(&copy).is_err());
}

#[test]
fn tables_newer_than_a_checkpoint_read_as_empty_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let db = Db::open(&live, &[NAMES.spec()], DbOptions::default()).unwrap();
    set_name(&db, "a");
    db.checkpoint(&copy).unwrap();
    let tables = [NAMES.spec(), COUNTS.spec()];
    let old = Db::open_read_only(&copy, &tables, DbOptions::default()).unwrap();
    assert!(NAMES.contains(&old, "a").unwrap());
    assert_eq!(COUNTS.get(&old, &1).unwrap(), None);
    assert!(COUNTS.scan(&old, b"", b"", 5).unwrap().is_empty());
    assert_eq!(COUNTS.multi_get(&old, &[1, 2]).unwrap(), [None, None]);
}

fn set_name(db: &Db, key: &str) {
    let mut batch = Batch::new();
    NAMES.put(&mut batch, key, &key.to_owned());
    db.write(&batch, false).unwrap();
}

#[test]
fn scans_are_bounded_ordered_and_go_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), DbOptions::default());
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        set_name(&db, key);
    }
    let keys =
        |rows: Vec<(String, String)>| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let scan = |from: &[u8], limit| keys(NAMES.scan(&db, b"a/", from, limit).unwrap());
    assert_eq!(scan(b"", 10), ["a/1", "a/2", "a/3"]);
    assert_eq!(scan(b"", 2), ["a/1", "a/2"]);
    assert_eq!(scan(b"a/2", 10), ["a/2", "a/3"]);
    assert_eq!(scan(b"", 0), [""; 0]);
    let back = NAMES
        .scan_range(&db, &KeyRange::prefix(b"a/"), true, 2)
        .unwrap();
    assert_eq!(keys(back), ["a/3", "a/2"]);
    let below = |at: &[u8]| db.last_at_or_below(NAMES.name(), b"a/", at).unwrap();
    assert_eq!(below(b"a/25").unwrap().0, b"a/2");
    assert_eq!(below(b"a/2").unwrap().0, b"a/2");
    assert!(below(b"a/0").is_none());
}

#[test]
fn an_overlay_over_a_database_becomes_one_batch() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), DbOptions::without_wal());
    for key in ["a", "b", "c"] {
        set_name(&db, key);
    }
    let mut overlay = Overlay::new(&db);
    NAMES.delete(&mut overlay, "b");
    NAMES.put(&mut overlay, "bb", &"new".to_owned());
    assert!(!NAMES.contains(&overlay, "b").unwrap());
    let seen = NAMES.scan(&overlay, b"", b"", 10).unwrap();
    let keys: Vec<_> = seen.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "bb", "c"]);
    assert!(NAMES.contains(&db, "b").unwrap());
    let batch = overlay.into_batch();
    db.write(&batch, false).unwrap();
    assert_eq!(NAMES.scan(&db, b"", b"", 10).unwrap(), seen);
}

#[test]
fn a_snapshot_does_not_move() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), DbOptions::default());
    set(&db, "a", "before", false);
    let snapshot = db.snapshot();
    set(&db, "a", "after", false);
    set(&db, "b", "after", false);
    assert_eq!(
        NAMES.get(&snapshot, "a").unwrap().as_deref(),
        Some("before")
    );
    assert_eq!(NAMES.scan(&snapshot, b"", b"", 10).unwrap().len(), 1);
}

#[test]
fn a_read_of_what_is_in_memory_alone_never_goes_to_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), DbOptions::default());
    set(&db, "a", "1", true);
    let value = |found: Result<Option<String>, KvError>| found.unwrap();
    assert_eq!(
        value(NAMES.get(&db.snapshot_in_memory(), "a")),
        Some("1".to_owned())
    );
    assert_eq!(value(NAMES.get(&db.snapshot_in_memory(), "b")), None);
    db.flush().unwrap();
    drop(db);
    let db = open(dir.path(), DbOptions::default());
    let cold = NAMES.get(&db.snapshot_in_memory(), "a");
    assert!(matches!(cold, Err(KvError::NotInMemory)), "{cold:?}");
    let cold = db.snapshot_in_memory().scan("names", b"", b"", 9);
    assert!(matches!(cold, Err(KvError::NotInMemory)), "{cold:?}");
    assert_eq!(value(NAMES.get(&db.snapshot(), "a")), Some("1".to_owned()));
    assert_eq!(
        value(NAMES.get(&db.snapshot_in_memory(), "a")),
        Some("1".to_owned())
    );
}

#[test]
fn many_values_come_in_the_order_of_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), DbOptions::default());
    set_name(&db, "a");
    set_name(&db, "c");
    let keys = ["c", "b", "a"].map(str::to_owned);
    let got = NAMES.multi_get(&db, &keys).unwrap();
    assert_eq!(got, [Some("c".to_owned()), None, Some("a".to_owned())]);
}

#[test]
fn one_process_writes_and_mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), DbOptions::default());
    let second = Db::open(dir.path(), &[NAMES.spec()], DbOptions::default());
    let text = second.unwrap_err().to_string();
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains("in use by this process"), "{text}");
    let unknown = db.get("nowhere", b"k");
    assert!(matches!(unknown, Err(KvError::UnknownTable { .. })));
    let mut batch = Batch::new();
    batch.put(COUNTS.name(), b"short".to_vec(), vec![]);
    db.write(&batch, false).unwrap();
    let error = COUNTS.scan(&db, b"", b"", 1).unwrap_err();
    assert!(
        matches!(error, KvError::Codec { .. }) && error.to_string().contains("counts"),
        "{error}"
    );
}
