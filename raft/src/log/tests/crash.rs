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

    async fn step(&mut self) {
        match self.rng.random_range(0..20) {
            0 => {
                self.model.term += 1;
                let vote = Vote::new(self.model.term, 5.into());
                self.model.vote_open = Some(vote);
                self.log.save_vote(&vote).await.unwrap();
                self.model.vote = Some(vote);
            }
            1 => self.truncate().await,
            2 => self.purge().await,
            _ => {
                let entries = self.batch();
                append(&mut self.log, entries.clone()).await.unwrap();
                self.model
                    .kept
                    .extend(entries.into_iter().map(|e| (e.log_id.index(), e)));
            }
        }
    }

    async fn truncate(&mut self) {
        let indexes: Vec<u64> = self.model.kept.keys().copied().collect();
        let Some(first) = indexes.first() else { return };
        let keep = indexes[self.rng.random_range(0..indexes.len())];
        if keep == *first {
            return;
        }
        let last = self.model.kept[&(keep - 1)].log_id;
        self.log.truncate_after(Some(last)).await.unwrap();
        self.model.kept.split_off(&keep);
    }

    async fn purge(&mut self) {
        let indexes: Vec<u64> = self.model.kept.keys().copied().collect();
        if indexes.len() < 2 {
            return;
        }
        let upto = indexes[self.rng.random_range(0..indexes.len() / 2)];
        let id = self.model.kept[&upto].log_id;
        self.log.purge(id).await.unwrap();
        self.model.purged = Some(id);
        self.model.kept = self.model.kept.split_off(&(upto + 1));
    }

    /// Leaves appends under way and cuts the power somewhere among their writes and fsyncs.
    async fn crash(&mut self, seed: u64) {
        let mut waiting = Vec::new();
        for _ in 0..self.rng.random_range(0..6) {
            let entries = self.batch();
            self.model.open.extend(entries.iter().cloned());
            waiting.push((entries.len(), submit(&mut self.log, entries).await.unwrap()));
        }
        if self.rng.random() {
            tokio::task::yield_now().await;
        }
        self.disk.power_off();
        for (count, told) in waiting {
            if told.await.is_ok_and(|done| done.is_ok()) {
                let acknowledged = self.model.open.drain(..count);
                self.model
                    .kept
                    .extend(acknowledged.map(|e| (e.log_id.index(), e)));
            }
        }
        // Fails, but not before the fsync thread is done with this log.
        let _ = self.log.drain().await;
        self.disk.crash(Cut::Random(seed)).unwrap();
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
    for round in 0..8 {
        for _ in 0..run.rng.random_range(1..25) {
            run.step().await;
        }
        let cut_seed = run.rng.random();
        run.crash(cut_seed).await;
        run.log = bench
            .open()
            .unwrap_or_else(|e| panic!("seed {seed}, power cut {round}: {e}"));
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
    for seed in first..first + 60 {
        power_cuts(seed).await;
    }
}
