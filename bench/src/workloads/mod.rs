//! What is measured. A scenario is a chain of workloads in one directory of one place, since a read
//! needs what was written before it.

mod big;
mod durable;
mod plain;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use big::BigFile;
pub(crate) use durable::DurableFiles;
pub(crate) use plain::PlainFiles;
pub(crate) use tree::SourceTree;

use crate::error::{Result, io_error};
use crate::measure::Results;
use crate::place::{Kind, Places};

/// Bytes of a small file.
const SMALL: usize = 4 << 10;

/// A chain of workloads.
pub(crate) trait Scenario {
    fn name(&self) -> &'static str;

    /// Runs all of it once, in `at.dir`.
    fn run(&self, at: At, places: &mut Places, results: &mut Results) -> Result<()>;
}

/// Where a scenario runs.
pub(crate) struct At {
    pub(crate) kind: Kind,
    /// Empty at first, and removed after.
    pub(crate) dir: PathBuf,
}

/// Runs a scenario everywhere, one place after the other, round after round: what the machine does
/// beside it hits all of them.
pub(crate) fn run_rounds(
    scenario: &dyn Scenario,
    rounds: usize,
    places: &mut Places,
    results: &mut Results,
) -> Result<()> {
    for round in 1..=rounds {
        eprintln!("{}, round {round} of {rounds}", scenario.name());
        for kind in Kind::ALL {
            places.settle()?;
            let dir = places.fresh(kind)?;
            let at = At {
                kind,
                dir: dir.clone(),
            };
            scenario.run(at, places, results)?;
            remove(&dir)?;
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir).map_err(io_error("remove", dir))
}
