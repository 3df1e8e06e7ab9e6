//! Source trees: `tar x` and `git clone` of what the cargo registry holds.

use std::fs;
use std::path::{Path, PathBuf};

use ozone_tests::shell::run;

use super::{At, Scenario};
use crate::error::{BenchError, Result, io_error};
use crate::measure::{Results, Workload, timed};
use crate::place::Places;

const TAR: Workload = Workload {
    name: "tar x",
    unit: "files/s",
    goal: None,
};
const CLONE: Workload = Workload {
    name: "git clone",
    unit: "files/s",
    goal: None,
};

/// The scenario: an archive and a repository of the same files, on the raw disk.
pub(crate) struct SourceTree {
    files: usize,
    archive: PathBuf,
    repository: PathBuf,
}

impl SourceTree {
    /// Makes both in `dir` from the crates in `sources`: as many whole crates as it takes for
    /// `files` files, a commit each, the last one cut.
    pub(crate) fn make(dir: &Path, sources: &Path, files: usize) -> Result<Self> {
        let tree = Self {
            files,
            archive: dir.join("tree.tar"),
            repository: dir.join("repository"),
        };
        let repository = &tree.repository;
        fs::create_dir(repository).map_err(io_error("create", repository))?;
        git(repository, &["init", "-q"]);
        let mut left = files;
        for source in sorted(sources)? {
            let Some(name) = source.file_name().filter(|_| source.is_dir()) else {
                continue;
            };
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if left == 0 {
                break;
            }
            let before = left;
            copy(&source, &repository.join(name), &mut left)?;
            if left < before {
                let name = name.to_string_lossy();
                git(repository, &["add", "-f", &name]);
                git(repository, &["commit", "-q", "-m", &name]);
            }
        }
        if left == files {
            return Err(BenchError::NoFiles(sources.to_owned()));
        }
        let archive = tree.archive.to_string_lossy().into_owned();
        run(
            repository,
            "tar",
            &["cf", &archive, "--exclude=./.git", "."],
        );
        Ok(Self {
            files: files - left,
            ..tree
        })
    }
}

fn git(dir: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"];
    // No repacking in the background, which would still run when the measuring begins.
    let quiet = ["-c", "gc.auto=0", "-c", "maintenance.auto=false"];
    run(dir, "git", &[&identity[..], &quiet, args].concat());
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(io_error("list", dir))?;
    let paths: std::io::Result<Vec<_>> = entries.map(|e| e.map(|e| e.path())).collect();
    let mut paths = paths.map_err(io_error("list", dir))?;
    paths.sort();
    Ok(paths)
}

/// Copies regular files, at most `left` of them.
fn copy(from: &Path, to: &Path, left: &mut usize) -> Result<()> {
    fs::create_dir_all(to).map_err(io_error("create", to))?;
    for path in sorted(from)? {
        if *left == 0 {
            return Ok(());
        }
        let Some(name) = path.file_name() else {
            continue;
        };
        let info = fs::symlink_metadata(&path).map_err(io_error("stat", &path))?;
        if info.is_dir() {
            copy(&path, &to.join(name), left)?;
        } else if info.is_file() {
            fs::copy(&path, to.join(name)).map_err(io_error("copy", &path))?;
            *left -= 1;
        }
    }
    Ok(())
}

impl Scenario for SourceTree {
    fn name(&self) -> &'static str {
        "source tree"
    }

    fn run(&self, at: At, places: &mut Places, results: &mut Results) -> Result<()> {
        let unpacked = at.dir.join("unpacked");
        fs::create_dir(&unpacked).map_err(io_error("create", &unpacked))?;
        let [archive, repository] =
            [&self.archive, &self.repository].map(|path| path.to_string_lossy().into_owned());
        let files = self.files as f64;
        let (_, time) = timed(|| Ok(run(&unpacked, "tar", &["xf", &archive])))?;
        results.record(TAR, at.kind, (files, time));
        places.settle()?;
        // Over the protocol that carries objects from elsewhere: a clone by hard links would
        // measure nothing where it is possible.
        let clone = ["clone", "-q", "--no-local", &repository, "clone"];
        let (_, time) = timed(|| Ok(run(&at.dir, "git", &clone)))?;
        results.record(CLONE, at.kind, (files, time));
        Ok(())
    }
}
