//! Small files as most programs make them, without a word about durability, and their names.

use std::fs;
use std::path::{Path, PathBuf};

use ozone_tests::content;

use super::{At, SMALL, Scenario};
use crate::error::{BenchError, Result, io_error};
use crate::measure::{Results, Workload, timed};
use crate::place::Places;

const fn files(name: &'static str) -> Workload {
    Workload {
        name,
        unit: "files/s",
        goal: None,
    }
}

const CREATE: Workload = files("plain creates");
const STAT: Workload = files("stat");
const READDIR: Workload = files("readdir");
const UNLINK: Workload = files("unlink");

/// The scenario.
pub(crate) struct PlainFiles {
    count: usize,
    content: Vec<u8>,
}

impl PlainFiles {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            count,
            content: content::bytes(count as u64, SMALL),
        }
    }

    fn list(&self, dir: &Path) -> Result<()> {
        let mut found = 0;
        for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
            entry.map_err(io_error("list", dir))?;
            found += 1;
        }
        if found == self.count {
            return Ok(());
        }
        Err(BenchError::Names {
            path: dir.to_owned(),
            found,
            expected: self.count,
        })
    }
}

fn stat(path: &PathBuf) -> Result<()> {
    let info = fs::symlink_metadata(path).map_err(io_error("stat", path))?;
    match info.len() == SMALL as u64 {
        true => Ok(()),
        false => Err(BenchError::OtherBytes {
            path: path.clone(),
            block: 0,
        }),
    }
}

impl Scenario for PlainFiles {
    fn name(&self) -> &'static str {
        "plain small files"
    }

    fn run(&self, at: At, _: &mut Places, results: &mut Results) -> Result<()> {
        let path = |n| at.dir.join(format!("file-{n}"));
        let paths: Vec<PathBuf> = (0..self.count).map(path).collect();
        let write =
            |path: &PathBuf| fs::write(path, &self.content).map_err(io_error("write", path));
        let unlink = |path: &PathBuf| fs::remove_file(path).map_err(io_error("unlink", path));
        let mut step = |workload, work: &dyn Fn() -> Result<()>| {
            let ((), time) = timed(work)?;
            results.record(workload, at.kind, (self.count as f64, time));
            Result::Ok(())
        };
        step(CREATE, &|| paths.iter().try_for_each(write))?;
        step(STAT, &|| paths.iter().try_for_each(stat))?;
        step(READDIR, &|| self.list(&at.dir))?;
        step(UNLINK, &|| paths.iter().try_for_each(unlink))
    }
}
