//! One large file: written and fsynced, read from the disk, read again from memory.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use ozone_tests::content;

use super::{At, Scenario};
use crate::error::{BenchError, Result, io_error};
use crate::measure::{Results, Workload, timed};
use crate::place::Places;

/// Bytes of a read or write.
const BLOCK: usize = 1 << 20;
/// How often is read again what is in memory: once takes a tenth of a second, in which anything may happen.
const AGAIN: u32 = 5;

const WRITE: Workload = Workload {
    name: "sequential write, fsync",
    unit: "MiB/s",
    goal: Some(0.6),
};
const COLD: Workload = Workload {
    name: "cold read",
    unit: "MiB/s",
    goal: Some(0.3),
};
const CACHED: Workload = Workload {
    name: "cached re-read",
    unit: "MiB/s",
    goal: Some(0.9),
};

/// The scenario.
pub(crate) struct BigFile {
    blocks: u64,
    block: Vec<u8>,
}

impl BigFile {
    pub(crate) fn new(mib: u64) -> Self {
        Self {
            blocks: mib,
            block: content::bytes(mib, BLOCK),
        }
    }

    /// Each block begins with its number.
    fn write(&self, path: &Path) -> Result<()> {
        let mut block = self.block.clone();
        let mut file = File::create(path).map_err(io_error("create", path))?;
        for n in 0..self.blocks {
            block[..8].copy_from_slice(&n.to_le_bytes());
            file.write_all(&block).map_err(io_error("write", path))?;
        }
        file.sync_all().map_err(io_error("fsync", path))
    }

    /// Reads all, and looks at both ends of each block.
    fn read(&self, path: &Path) -> Result<()> {
        let mut block = vec![0; BLOCK];
        let mut file = File::open(path).map_err(io_error("open", path))?;
        for n in 0..self.blocks {
            file.read_exact(&mut block)
                .map_err(io_error("read", path))?;
            let tail = BLOCK - 8;
            if block[..8] != n.to_le_bytes() || block[tail..] != self.block[tail..] {
                let path = path.to_owned();
                return Err(BenchError::OtherBytes { path, block: n });
            }
        }
        Ok(())
    }
}

impl Scenario for BigFile {
    fn name(&self) -> &'static str {
        "large file"
    }

    fn run(&self, at: At, places: &mut Places, results: &mut Results) -> Result<()> {
        let path = at.dir.join("large");
        let mib = self.blocks as f64;
        let ((), time) = timed(|| self.write(&path))?;
        results.record(WRITE, at.kind, (mib, time));
        places.cool(at.kind, &path)?;
        let ((), time) = timed(|| self.read(&path))?;
        results.record(COLD, at.kind, (mib, time));
        let ((), time) = timed(|| (0..AGAIN).try_for_each(|_| self.read(&path)))?;
        results.record(CACHED, at.kind, (mib * f64::from(AGAIN), time));
        Ok(())
    }
}
