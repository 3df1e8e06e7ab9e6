//! Power cuts at random moments: every acknowledged change must be there afterwards.

use std::collections::BTreeMap;

use ozone_common::disk::{Cut, FaultyDisk};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

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
        let at = format!("seed {seed}, power cut {round}");
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

    /// Goes on until the power goes off somewhere among the writes, fsyncs and renames.
    async fn until_the_cut(&mut self) {
        self.disk.power_off_after(self.rng.random_range(0..60));
        while self.step().await.is_ok() {}
        self.disk.power_off();
        // Fails, but not before the fsync threads are done with this log.
        let _ = self.log.drain().await;
        let seed = self.rng.random();
        self.disk.crash(Cut::Random(seed)).unwrap();
    }

    /// Opens the log again; now and then the power goes off during that too.
    async fn reopen(&mut self, bench: &Bench, at: &str) -> LogStore {
        if self.rng.random() {
            self.disk.power_off_after(self.rng.random_range(0..6));
            match bench.open() {
                Ok(log) => drop(log.drain().await),
                Err(RaftError::Io { .. }) => {}
                Err(other) => panic!("{at}: {other}"),
            }
            let seed = self.rng.random();
            self.disk.crash(Cut::Random(seed)).unwrap();
        }
        bench.open().unwrap_or_else(|e| panic!("{at}: {e}"))
    }
}

async fn power_cuts(seed: u64) {
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
        run.until_the_cut().await;
        run.log = run
            .reopen(&bench, &format!("seed {seed}, power cut {round}"))
            .await;
        let found = read_all(&mut run.log).await;
        let vote = run.log.vote();
        run.model.check(&found, vote, seed, round);
        run.model.adopt(found, vote);
        run.model.purged = run.log.get_log_state().await.unwrap().last_purged_log_id;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_entry_survives_power_cuts() {
    let first: u64 = rand::rng().random_range(0..u64::MAX / 2);
    println!("seeds from {first}");
    for seed in first..first + 100 {
        power_cuts(seed).await;
    }
}
