#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crash;
mod damage;
mod suite;
mod turns;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use openraft::alias::OneshotReceiverOf;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, RaftLogReader};
use ozone_common::disk::{Disk, RealDisk};

use super::{Flushers, LogOptions, LogStore};
use crate::RaftError;
use crate::types::{CommandData, Entry, Types, log_id};

/// A log in a directory of its own.
struct Bench {
    _guard: tempfile::TempDir,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
}

impl Bench {
    fn new(disk: Arc<dyn Disk>) -> Self {
        let guard = tempfile::tempdir().unwrap();
        let dir = guard.path().join("group").join("current");
        Self {
            _guard: guard,
            dir,
            disk,
            segment_bytes: 64 << 10,
        }
    }

    fn real() -> Self {
        Self::new(Arc::new(RealDisk))
    }

    fn open(&self) -> Result<LogStore, RaftError> {
        self.open_beside(&Flushers::default())
    }

    /// Opens it in a process that has other logs too.
    fn open_beside(&self, flushers: &Flushers) -> Result<LogStore, RaftError> {
        let options = LogOptions {
            disk: self.disk.clone(),
            segment_bytes: self.segment_bytes,
            cache_bytes: 4096,
        };
        LogStore::open(&self.dir, options, flushers)
    }

    fn files(&self) -> Vec<String> {
        let list = self.disk.list(&self.dir).unwrap();
        list.into_iter().map(|entry| entry.name).collect()
    }

    fn path(&self, prefix: &str) -> PathBuf {
        let name = self
            .files()
            .into_iter()
            .find(|name| name.starts_with(prefix));
        self.dir
            .join(name.unwrap_or_else(|| panic!("no {prefix}* in {:?}", self.files())))
    }
}

fn entry(term: u64, index: u64, size: usize) -> Entry {
    // The content tells which entry it is, and not only in its first bytes.
    let data: Vec<u8> = (0..size)
        .map(|at| (index + term * 7 + at as u64) as u8)
        .collect();
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(CommandData(Bytes::from(data))),
    }
}

type Told = OneshotReceiverOf<Types, std::io::Result<()>>;

/// Appends and returns a receiver that is told when that is durable.
async fn submit(log: &mut LogStore, entries: Vec<Entry>) -> std::io::Result<Told> {
    let (tell, told) = Types::oneshot();
    log.append(entries, IOFlushed::signal(tell)).await?;
    Ok(told)
}

async fn append(log: &mut LogStore, entries: Vec<Entry>) -> std::io::Result<()> {
    submit(log, entries).await?.await.unwrap()
}

async fn read_all(log: &mut LogStore) -> Vec<Entry> {
    log.try_get_log_entries(..).await.unwrap()
}

fn flip_byte(path: &Path, offset: u64) {
    let mut content = std::fs::read(path).unwrap();
    content[usize::try_from(offset).unwrap()] ^= 0x55;
    std::fs::write(path, content).unwrap();
}

#[tokio::test]
async fn entries_over_many_segments_are_read_back_after_a_restart() {
    let bench = Bench::real();
    let entries: Vec<Entry> = (0..500)
        .map(|index| entry(1 + index / 100, index, 700))
        .collect();
    let mut log = bench.open().unwrap();
    for chunk in entries.chunks(37) {
        append(&mut log, chunk.to_vec()).await.unwrap();
    }
    assert_eq!(read_all(&mut log).await, entries);
    drop(log);
    let closed = bench
        .files()
        .iter()
        .filter(|name| name.contains('-') && name.starts_with("log_"))
        .count();
    assert!(closed >= 4, "{:?}", bench.files());
    let mut log = bench.open().unwrap();
    assert_eq!(read_all(&mut log).await, entries);
    let some = log.limited_get_log_entries(123, 400).await.unwrap();
    assert_eq!(some[0], entries[123]);
}

#[tokio::test]
async fn an_entry_larger_than_a_segment_is_kept() {
    let bench = Bench::real();
    let entries = vec![entry(1, 0, 10), entry(1, 1, 200_000), entry(1, 2, 10)];
    let mut log = bench.open().unwrap();
    append(&mut log, entries.clone()).await.unwrap();
    drop(log);
    assert_eq!(read_all(&mut bench.open().unwrap()).await, entries);
}

#[tokio::test]
async fn truncation_across_segments_is_durable_and_new_entries_follow() {
    let bench = Bench::real();
    let mut log = bench.open().unwrap();
    let entries: Vec<Entry> = (0..300).map(|index| entry(1, index, 700)).collect();
    append(&mut log, entries.clone()).await.unwrap();
    log.truncate_after(Some(log_id(1, 100))).await.unwrap();
    drop(log);
    let mut log = bench.open().unwrap();
    assert_eq!(read_all(&mut log).await, entries[..=100]);
    let newer: Vec<Entry> = (101..250).map(|index| entry(2, index, 500)).collect();
    append(&mut log, newer.clone()).await.unwrap();
    log.truncate_after(Some(log_id(2, 200))).await.unwrap();
    let expected: Vec<Entry> = entries[..=100]
        .iter()
        .chain(&newer[..100])
        .cloned()
        .collect();
    assert_eq!(read_all(&mut log).await, expected);
    drop(log);
    assert_eq!(read_all(&mut bench.open().unwrap()).await, expected);
    let mut log = bench.open().unwrap();
    log.truncate_after(None).await.unwrap();
    append(&mut log, vec![entry(3, 0, 5)]).await.unwrap();
    drop(log);
    assert_eq!(read_all(&mut bench.open().unwrap()).await, [entry(3, 0, 5)]);
}

#[tokio::test]
async fn purge_removes_whole_segments_and_nothing_else() {
    let bench = Bench::real();
    let mut log = bench.open().unwrap();
    let entries: Vec<Entry> = (0..500).map(|index| entry(1, index, 700)).collect();
    append(&mut log, entries.clone()).await.unwrap();
    log.purge(log_id(1, 250)).await.unwrap();
    assert_eq!(read_all(&mut log).await, entries[251..]);
    log.drain().await.unwrap();
    drop(log);
    let mut log = bench.open().unwrap();
    assert_eq!(read_all(&mut log).await, entries[251..]);
    assert!(
        !bench.files().iter().any(|name| name.starts_with("log_0-")),
        "{:?}",
        bench.files()
    );
    // A copy of the state was installed that is far ahead of this log.
    log.purge(log_id(3, 900)).await.unwrap();
    append(&mut log, vec![entry(3, 901, 20)]).await.unwrap();
    drop(log);
    let mut log = bench.open().unwrap();
    assert_eq!(read_all(&mut log).await, [entry(3, 901, 20)]);
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(3, 900)));
}

#[tokio::test]
async fn the_vote_survives_a_restart() {
    let bench = Bench::real();
    let mut log = bench.open().unwrap();
    assert!(log.is_pristine());
    let vote = crate::types::Vote::new_committed(7, 42.into());
    log.save_vote(&vote).await.unwrap();
    drop(log);
    let log = bench.open().unwrap();
    assert_eq!(log.vote(), Some(vote));
    assert!(!log.is_pristine());
    let meta = std::fs::read_to_string(bench.path("raft-meta")).unwrap();
    assert!(meta.contains("term=7\n"), "{meta}");
}
