//! `make bench`: what the cluster costs, beside what the disk and FUSE cost by themselves.
//!
//! It starts an `ozone up` of its own and runs the same workloads on the raw disk, on the mount and
//! on an in-memory FUSE filesystem, in turns, so that whatever else the machine does hits all three.
//! Figures in seconds mean nothing away from their machine; ratios do. Slowness is no failure: the
//! exit code says only whether everything could be measured.

mod args;
mod commits;
mod error;
mod machine;
mod measure;
mod memfs;
mod place;
mod s3;
mod snapshots;
mod table;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ozone_tests::sources;

use crate::args::{Args, Helper, Part, RunArgs, Sizes};
use crate::error::{BenchError, Result, io_error};
use crate::measure::Results;
use crate::place::Places;
use crate::workloads::{BigFile, DurableFiles, PlainFiles, Scenario, SourceTree, run_rounds};

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.helper {
        Some(Helper::Memfs { mountpoint }) => {
            memfs::serve(mountpoint).map_err(io_error("serve", mountpoint))
        }
        None => bench(&args.run),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ozone-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Beside the build's own files, when no directory is given.
fn default_dir() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(io_error("find", Path::new("myself")))?;
    Ok(program.with_file_name("bench"))
}

fn bench(args: &RunArgs) -> Result<()> {
    let base = match &args.dir {
        Some(dir) => std::path::absolute(dir).map_err(io_error("find", dir))?,
        None => default_dir()?,
    };
    fs::create_dir_all(&base).map_err(io_error("create", &base))?;
    let dir = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(&base)
        .map_err(io_error("create a directory in", &base))?;
    let sizes = args.sizes();
    println!("{}\n", machine::header(dir.path(), args, &sizes)?);
    if [Part::Big, Part::Durable, Part::Plain, Part::Tree]
        .iter()
        .any(|part| args.wants(*part))
    {
        let results = files(dir.path(), args, &sizes)?;
        println!("{}\n", table::render(&results, args.replication));
    }
    if args.wants(Part::Raft) {
        commits::run(&dir.path().join("raft"), sizes.raft_seconds)?;
    }
    if args.wants(Part::Snapshots) {
        let dir = dir.path().join("snapshots");
        fs::create_dir(&dir).map_err(io_error("create", &dir))?;
        snapshots::run(&dir, args, sizes.names)?;
    }
    if args.wants(Part::S3) {
        let dir = dir.path().join("s3");
        fs::create_dir(&dir).map_err(io_error("create", &dir))?;
        s3::run(&dir, args, &sizes)?;
    }
    Ok(())
}

/// Runs the workloads on files.
fn files(dir: &Path, args: &RunArgs, sizes: &Sizes) -> Result<Results> {
    let scenarios = scenarios(dir, args, sizes)?;
    let mut places = Places::start(dir, args)?;
    let mut results = Results::default();
    for scenario in &scenarios {
        run_rounds(scenario.as_ref(), sizes.rounds, &mut places, &mut results)?;
    }
    // A cached re-read says little about a kernel that reads through the mount.
    println!("files that the kernel read by itself: {}", places.passed());
    Ok(results)
}

fn scenarios(dir: &Path, args: &RunArgs, sizes: &Sizes) -> Result<Vec<Box<dyn Scenario>>> {
    let mut scenarios: Vec<Box<dyn Scenario>> = Vec::new();
    if args.wants(Part::Big) {
        scenarios.push(Box::new(BigFile::new(sizes.file_mib)));
    }
    if args.wants(Part::Durable) {
        scenarios.push(Box::new(DurableFiles::new(sizes.durable_files)));
    }
    if args.wants(Part::Plain) {
        scenarios.push(Box::new(PlainFiles::new(sizes.plain_files)));
    }
    if args.wants(Part::Tree) {
        let sources = args.sources.clone().or_else(sources::registry);
        let sources = sources.ok_or(BenchError::NoSources)?;
        scenarios.push(Box::new(SourceTree::make(dir, &sources, sizes.tree_files)?));
    }
    Ok(scenarios)
}
