//! Small files that are on disk when their maker goes on, as mail servers and databases make them.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;

use ozone_tests::content;

use super::{At, SMALL, Scenario};
use crate::error::{BenchError, Result, io_error};
use crate::measure::{Results, Workload, timed};
use crate::place::Places;

const THREADS: usize = 8;

const MANY: Workload = Workload {
    name: "durable creates, 8 threads",
    unit: "files/s",
    goal: Some(0.3),
};
const ONE: Workload = Workload {
    name: "durable creates, 1 thread",
    unit: "files/s",
    goal: None,
};

/// The scenario.
pub(crate) struct DurableFiles {
    per_thread: usize,
    content: Vec<u8>,
}

impl DurableFiles {
    pub(crate) fn new(files: usize) -> Self {
        Self {
            per_thread: files / THREADS,
            content: content::bytes(files as u64, SMALL),
        }
    }

    /// One thread's files: each is written, fsynced and closed before the next.
    fn make(&self, dir: &Path, thread: &str) -> Result<()> {
        for n in 0..self.per_thread {
            let path = dir.join(format!("{thread}-{n}"));
            let mut file = File::create_new(&path).map_err(io_error("create", &path))?;
            file.write_all(&self.content)
                .map_err(io_error("write", &path))?;
            file.sync_all().map_err(io_error("fsync", &path))?;
        }
        Ok(())
    }

    fn make_in_parallel(&self, dir: &Path) -> Result<()> {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|n| scope.spawn(move || self.make(dir, &format!("many{n}"))))
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().map_err(|_| BenchError::Panicked)?)
        })
    }
}

impl Scenario for DurableFiles {
    fn name(&self) -> &'static str {
        "durable small files"
    }

    fn run(&self, at: At, _: &mut Places, results: &mut Results) -> Result<()> {
        let ((), time) = timed(|| self.make_in_parallel(&at.dir))?;
        results.record(MANY, at.kind, ((self.per_thread * THREADS) as f64, time));
        let ((), time) = timed(|| self.make(&at.dir, "one"))?;
        results.record(ONE, at.kind, (self.per_thread as f64, time));
        Ok(())
    }
}
