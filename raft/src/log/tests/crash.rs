//! Power cuts and kills at random moments: every acknowledged change must be there afterwards, and
//! whatever a start has found is there for good.

use std::collections::BTreeMap;

use ozone_common::disk::{Cut, FaultyDisk, OpenMode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::frame;
use super::super::segment::FILE_HEADER;
use super::*;
use crate::types::{LogId, Vote};

/// What must be in the log, and what may be.
#[derive(Default)]
struct Model {
    /// Acknowledged entries.
    kept: BTreeMap<u64, Entry>,
    /// Submitted after, in order; any first part of them may be there too.
    open: Vec<Entry>,
    vote: Option<Vote>,
    vote_open: Option<Vote>,
    purged: Option<LogId>,
    term: u64,
}

impl Model {
    fn next(&self) -> u64 {
        let last = self.kept.keys().next_back().map(|index| index + 1);
        let purged = self.purged.map(|id| id.index() + 1);
        last.max(purged).unwrap_or(0) + self.open.len() as u64
    }

    fn check(&self, found: &[Entry], vote: Option<Vote>, seed: u64, round: u32) {
        let at = format!("seed {seed}, end {round}");
        let by_index: BTreeMap<u64, &Entry> = found.iter().map(|e| (e.log_id.index(), e)).collect();
        for (index, entry) in &self.kept {
            assert_eq!(
                by_index.get(index),
                Some(&entry),
                "{at}: entry {index} lost"
            );
        }
        let extra = self.kept.keys().next_back().map_or(0, |last| last + 1);
        let more = found.iter().filter(|e| e.log_id.index() >= extra);
        for (got, submitted) in more.zip(self.open.iter().map(Some).chain(std::iter::repeat(None)))
        {
            assert_eq!(
                Some(got),
                submitted,
                "{at}: an entry that was never submitted"
            );
        }
        assert!(
            vote == self.vote || vote == self.vote_open,
            "{at}: vote lost"
        );
    }

    /// Takes what was found as the truth for the next round.
    fn adopt(&mut self, found: Vec<Entry>, vote: Option<Vote>) {
        self.kept = found.into_iter().map(|e| (e.log_id.index(), e)).collect();
        self.open.clear();
        (self.vote, self.vote_open) = (vote, vote);
    }
}

struct Run {
    rng: StdRng,
    model: Model,
    log: LogStore,
    disk: Arc<FaultyDisk>,
}

impl Run {
    fn batch(&mut self) -> Vec<Entry> {
        let first = self.model.next();
        let count = self.rng.random_range(1..8);
        let size = self.rng.random_range(0..2500);
        (first..first + count)
            .map(|index| entry(self.model.term, index, size))
            .collect()
    }

    /// One change; an error means that the power went off in the midst of it.
    async fn step(&mut self) -> std::io::Result<()> {
        match self.rng.random_range(0..20) {
            0 => {
                self.model.term += 1;
                let vote = Vote::new(self.model.term, 5.into());
                self.model.vote_open = Some(vote);
                self.log.save_vote(&vote).await?;
                self.model.vote = Some(vote);
                Ok(())
            }
            1 | 2 => self.truncate().await,
            3 => self.purge().await,
            _ => self.append().await,
        }
    }

    /// Appends a few batches before waiting for any.
    async fn append(&mut self) -> std::io::Result<()> {
        let mut waiting = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            let entries = self.batch();
            let told = submit(&mut self.log, entries.clone()).await?;
            waiting.push((entries.len(), told));
            self.model.open.extend(entries);
        }
        for (count, told) in waiting {
            told.await.map_err(std::io::Error::other)??;
            let acknowledged = self.model.open.drain(..count);
            self.model
                .kept
                .extend(acknowledged.map(|e| (e.log_id.index(), e)));
        }
        Ok(())
    }

    async fn truncate(&mut self) -> std::io::Result<()> {
        let indexes: Vec<u64> = self.model.kept.keys().copied().skip(1).collect();
        if indexes.is_empty() {
            return Ok(());
        }
        let keep = indexes[self.rng.random_range(0..indexes.len())];
        let last = self.model.kept[&(keep - 1)].log_id;
        let cut = self.model.kept.split_off(&keep);
        self.model.open = cut.into_values().collect();
        self.log.truncate_after(Some(last)).await?;
        self.model.open.clear();
        Ok(())
    }

    async fn purge(&mut self) -> std::io::Result<()> {
        let indexes: Vec<u64> = self.model.kept.keys().copied().collect();
        if indexes.len() < 2 {
            return Ok(());
        }
        let upto = indexes[self.rng.random_range(0..indexes.len() / 2)];
        let id = self.model.kept[&upto].log_id;
        self.model.purged = Some(id);
        self.model.kept = self.model.kept.split_off(&(upto + 1));
        self.log.purge(id).await
    }

    /// Goes on until it ends somewhere among the writes, fsyncs and renames.
    async fn until_the_end(&mut self) {
        self.disk.power_off_after(self.rng.random_range(0..60));
        while self.step().await.is_ok() {}
        self.disk.power_off();
        // Fails, but not before the fsync threads are done with this log.
        let _ = self.log.drain().await;
        self.end();
    }

    /// A power cut, or a kill that leaves what was not fsynced to be lost in a later one.
    fn end(&mut self) {
        if self.rng.random() {
            return self.disk.kill();
        }
        let seed = self.rng.random();
        self.disk.crash(Cut::Random(seed)).unwrap();
    }

    /// Opens the log again; now and then that is interrupted too.
    async fn reopen(&mut self, bench: &Bench, at: &str) -> LogStore {
        if self.rng.random() {
            self.disk.power_off_after(self.rng.random_range(0..6));
            match bench.open() {
                Ok(log) => drop(log.drain().await),
                Err(RaftError::Io { .. }) => {}
                Err(other) => panic!("{at}: {other}"),
            }
            self.end();
        }
        bench.open().unwrap_or_else(|e| panic!("{at}: {e}"))
    }
}

async fn ends(seed: u64) {
    let disk = FaultyDisk::with_power_cuts(Arc::new(RealDisk));
    let mut bench = Bench::new(disk.clone());
    bench.segment_bytes = 16 << 10;
    let log = bench.open().unwrap();
    let rng = StdRng::seed_from_u64(seed);
    let mut run = Run {
        rng,
        model: Model {
            term: 1,
            ..Model::default()
        },
        log,
        disk,
    };
    for round in 0..12 {
        run.until_the_end().await;
        run.log = run
            .reopen(&bench, &format!("seed {seed}, end {round}"))
            .await;
        let found = read_all(&mut run.log).await;
        let vote = run.log.vote();
        run.model.check(&found, vote, seed, round);
        run.model.adopt(found, vote);
        run.model.purged = run.log.get_log_state().await.unwrap().last_purged_log_id;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_entry_survives_power_cuts_and_kills() {
    let first: u64 = rand::rng().random_range(0..u64::MAX / 2);
    println!("seeds from {first}");
    for seed in first..first + 100 {
        ends(seed).await;
    }
}

#[tokio::test]
async fn what_a_killed_process_left_unsynced_is_durable_once_a_start_has_found_it() {
    let disk = FaultyDisk::with_power_cuts(Arc::new(RealDisk));
    let bench = Bench::new(disk.clone());
    let mut log = bench.open().unwrap();
    append(&mut log, vec![entry(1, 0, 700)]).await.unwrap();
    // Killed between the write and its fsync.
    let path = bench.path("log_inprogress_0");
    let mut written = Vec::new();
    frame::encode(&entry(1, 1, 700), 0, &mut written);
    let file = disk.open(&path, OpenMode::Write).unwrap();
    file.write_at(&written, FILE_HEADER + 40 + 704).unwrap();
    disk.kill();
    drop(log);
    let mut log = bench.open().unwrap();
    let found = [entry(1, 0, 700), entry(1, 1, 700)];
    assert_eq!(read_all(&mut log).await, found);
    disk.crash(Cut::Clean).unwrap();
    drop(log);
    assert_eq!(read_all(&mut bench.open().unwrap()).await, found);
}
