//! What to measure, where, and how much of it.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// The mount beside the raw disk and the floor of FUSE; Raft beside the disk's fsync; and S3 beside MinIO.
#[derive(Parser)]
#[command(name = "ozone-bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) helper: Option<Helper>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What the benchmark starts of itself.
#[derive(Subcommand)]
pub(crate) enum Helper {
    /// The in-memory FUSE filesystem, until standard input ends.
    #[command(hide = true)]
    Memfs {
        /// An empty directory.
        mountpoint: PathBuf,
    },
}

/// How many copies of data are kept.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Copies {
    #[value(name = "ONE")]
    One,
    #[value(name = "THREE")]
    Three,
}

impl Copies {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "ONE",
            Self::Three => "THREE",
        }
    }
}

/// A group of workloads.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// One large file.
    Big,
    /// Small files, each fsynced.
    Durable,
    /// Small files as programs make them, and their names.
    Plain,
    /// Source trees: tar and git.
    Tree,
    /// Commits a second of the Raft log.
    Raft,
    /// Snapshots of buckets.
    Snapshots,
    /// Objects by the S3 gateway.
    S3,
}

#[derive(ClapArgs)]
pub(crate) struct RunArgs {
    /// Directory on the disk to measure; everything happens in a directory of its own in it
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Copies of data
    #[arg(long, default_value = "ONE", ignore_case = true)]
    pub(crate) replication: Copies,
    /// Datanodes; as many as copies when not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) datanodes: Option<u16>,
    /// Only these
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Small sizes and one round: about a minute
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds of raw, mount, floor; the median is taken
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: Option<u16>,
    /// MiB of the large file
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    file_mib: Option<u64>,
    /// Durable files made by 8 threads; one thread makes an eighth of them
    #[arg(long, value_parser = clap::value_parser!(u32).range(8..))]
    durable_files: Option<u32>,
    /// Plain files
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    plain_files: Option<u32>,
    /// Files of the source tree
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    tree_files: Option<u32>,
    /// Source trees to take them from; the cargo registry's when not given
    #[arg(long, value_name = "DIR")]
    pub(crate) sources: Option<PathBuf>,
    /// Names in the large bucket whose snapshots are timed
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    names: Option<u32>,
    /// Small objects that 16 clients of S3 put, get and list; one client puts an eighth of them
    #[arg(long, value_parser = clap::value_parser!(u32).range(16..))]
    objects: Option<u32>,
    /// A MinIO binary: it is started on the same disk, and measured beside the S3 gateway
    #[arg(long, value_name = "FILE")]
    pub(crate) minio: Option<PathBuf>,
    /// Seconds for each row of the Raft table
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rounds: usize,
    pub(crate) file_mib: u64,
    pub(crate) durable_files: usize,
    pub(crate) plain_files: usize,
    pub(crate) tree_files: usize,
    pub(crate) raft_seconds: u64,
    pub(crate) names: usize,
    pub(crate) objects: usize,
}

const FULL: Sizes = Sizes {
    rounds: 3,
    file_mib: 1024,
    durable_files: 2000,
    plain_files: 2000,
    tree_files: 2000,
    raft_seconds: 3,
    names: 100_000,
    objects: 10_000,
};

const QUICK: Sizes = Sizes {
    rounds: 1,
    file_mib: 256,
    durable_files: 400,
    plain_files: 1000,
    tree_files: 500,
    raft_seconds: 1,
    names: 10_000,
    objects: 1000,
};

impl RunArgs {
    pub(crate) fn sizes(&self) -> Sizes {
        let base = if self.quick { QUICK } else { FULL };
        let count = |given: Option<u32>, base: usize| given.map_or(base, |n| n as usize);
        Sizes {
            rounds: self.rounds.map_or(base.rounds, usize::from),
            file_mib: self.file_mib.unwrap_or(base.file_mib),
            durable_files: count(self.durable_files, base.durable_files),
            plain_files: count(self.plain_files, base.plain_files),
            tree_files: count(self.tree_files, base.tree_files),
            raft_seconds: self.seconds.unwrap_or(base.raft_seconds),
            names: count(self.names, base.names),
            objects: count(self.objects, base.objects),
        }
    }

    pub(crate) fn datanodes(&self) -> u16 {
        self.datanodes.unwrap_or(match self.replication {
            Copies::One => 1,
            Copies::Three => 3,
        })
    }

    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
