//! Why a benchmark could not go on.

use std::io;
use std::path::{Path, PathBuf};

/// What stopped the benchmarks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A file or directory did not do what was asked of it.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A place gave other bytes than were written to it.
    #[error("{}: block {block} read back other bytes than were written", path.display())]
    OtherBytes { path: PathBuf, block: u64 },
    /// A directory does not list what was made in it.
    #[error("{}: {found} names instead of {expected}", path.display())]
    Names {
        path: PathBuf,
        found: usize,
        expected: usize,
    },
    /// There is nothing to make a source tree of.
    #[error(
        "no sources of crates: run cargo fetch, or give a directory of source trees with --sources"
    )]
    NoSources,
    /// Nor there.
    #[error("no files in {}: give a directory of source trees with --sources", .0.display())]
    NoFiles(PathBuf),
    /// The in-memory filesystem did not start.
    #[error("the in-memory filesystem did not mount: its errors are above")]
    Floor,
    /// The command line of the cluster failed.
    #[error("ozone failed: {0}")]
    Program(String),
    /// A store of objects did not do what was asked of it.
    #[error("S3 at {endpoint}: {problem}")]
    S3 { endpoint: String, problem: String },
    /// A worker thread ended with a panic.
    #[error("a worker ended with a panic")]
    Panicked,
    /// Raft did not do what was asked of it.
    #[error(transparent)]
    Raft(#[from] ozone_raft::RaftError),
}

pub(crate) type Result<T, E = BenchError> = std::result::Result<T, E>;

/// Names what was done to `path` when it failed.
pub(crate) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BenchError {
    move |source| BenchError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}
