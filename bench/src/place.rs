//! Where workloads run: the raw disk, the mount on a cluster that keeps its data beside it, and the
//! in-memory filesystem.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::unistd::syncfs;
use ozone_tests::{Cluster, ClusterOptions};

use crate::args::RunArgs;
use crate::error::{BenchError, Result, io_error};
use crate::machine::memory_field;

/// Lets go of clean pages, names and inodes.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// A place's position in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Raw,
    Mount,
    Floor,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Raw, Self::Mount, Self::Floor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mount => "mount",
            Self::Floor => "floor",
        }
    }
}

/// The three places.
pub(crate) struct Places {
    /// On the disk that is measured; holds the data of the raw place and of the cluster.
    disk: PathBuf,
    raw: PathBuf,
    cluster: Cluster,
    bucket: PathBuf,
    floor: Floor,
}

impl Places {
    /// Starts what has to be started, with all data in `disk`.
    pub(crate) fn start(disk: &Path, args: &RunArgs) -> Result<Self> {
        let raw = disk.join("raw");
        fs::create_dir(&raw).map_err(io_error("create", &raw))?;
        let cluster = Cluster::start(ClusterOptions {
            datanodes: args.datanodes(),
            replication: Some(args.replication.name()),
            dir: Some(disk.join("cluster")),
            ..ClusterOptions::default()
        });
        let bucket = cluster.bucket("vol", "bench");
        let floor = Floor::start(&disk.join("memfs"))?;
        Ok(Self {
            disk: disk.to_owned(),
            raw,
            cluster,
            bucket,
            floor,
        })
    }

    /// An empty directory in a place.
    pub(crate) fn fresh(&self, kind: Kind) -> Result<PathBuf> {
        let root = match kind {
            Kind::Raw => &self.raw,
            Kind::Mount => &self.bucket,
            Kind::Floor => &self.floor.mountpoint,
        };
        let dir = root.join("work");
        fs::create_dir(&dir).map_err(io_error("create", &dir))?;
        Ok(dir)
    }

    /// Files of the mount that were opened to be read by the kernel alone, since the cluster was last started.
    pub(crate) fn passed(&self) -> u64 {
        self.cluster.metric("fs_passed_through_total", &[])
    }

    /// Lets the disk finish what was left to it, so that no workload pays for another.
    pub(crate) fn settle(&self) -> Result<()> {
        let dir = File::open(&self.disk).map_err(io_error("open", &self.disk))?;
        syncfs(dir).map_err(|e| io_error("sync", &self.disk)(e.into()))
    }

    /// Makes the next read of `files` in the place come from the disk: what the cluster holds in
    /// memory goes with its processes, what the kernel holds is dropped.
    pub(crate) fn cool(&mut self, kind: Kind, file: &Path) -> Result<()> {
        self.settle()?;
        match kind {
            Kind::Mount => {
                self.cluster.stop();
                self.cluster.restart();
                // After the start, which reads from the disk too.
                drop_caches(&[self.cluster.dir()])?;
            }
            Kind::Raw | Kind::Floor => drop_caches(&[file])?,
        }
        touch_memory(file)
    }
}

/// How caches are dropped on this machine.
pub(crate) fn cold_means() -> &'static str {
    match nix::unistd::Uid::effective().is_root() {
        true => "the mount's cluster restarted, the kernel's caches dropped, memory used once",
        false => {
            "the mount's cluster restarted, pages of its files given up (not root), memory used once"
        }
    }
}

/// Drops all caches of the kernel, or what it holds of `paths` where only root may do more.
fn drop_caches(paths: &[&Path]) -> Result<()> {
    if nix::unistd::Uid::effective().is_root() {
        let path = Path::new(DROP_CACHES);
        return fs::write(path, "3").map_err(io_error("write", path));
    }
    paths.iter().try_for_each(|path| give_up_pages(path))
}

/// Uses as much memory as reading `file` may take. The host of a virtual machine gives and takes memory when it is
/// used and when it has not been for some seconds: what was measured was who had waited for longer.
fn touch_memory(file: &Path) -> Result<()> {
    let length = fs::metadata(file).map_err(io_error("look at", file))?.len();
    let free = memory_field("MemAvailable")? << 10;
    let bytes = usize::try_from((3 * length).min(free / 2)).unwrap_or(usize::MAX);
    std::hint::black_box(vec![1_u8; bytes]);
    Ok(())
}

fn give_up_pages(path: &Path) -> Result<()> {
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(io_error("list", path))?;
        for entry in entries {
            let entry = entry.map_err(io_error("list", path))?;
            give_up_pages(&entry.path())?;
        }
        return Ok(());
    }
    if !path.is_file() {
        return Ok(());
    }
    let file = File::open(path).map_err(io_error("open", path))?;
    let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    posix_fadvise(&file, 0, 0, advice).map_err(|e| io_error("give up pages of", path)(e.into()))
}

/// The in-memory filesystem, a process of its own as the cluster is.
struct Floor {
    child: Child,
    mountpoint: PathBuf,
}

impl Floor {
    fn start(mountpoint: &Path) -> Result<Self> {
        fs::create_dir(mountpoint).map_err(io_error("create", mountpoint))?;
        let program = std::env::current_exe().map_err(io_error("find", Path::new("myself")))?;
        let mut child = Command::new(&program)
            .arg("memfs")
            .arg(mountpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C at the terminal is not for it: it unmounts when its input ends.
            .process_group(0)
            .spawn()
            .map_err(io_error("start", &program))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let read = BufReader::new(stdout).read_line(&mut line);
            read.map_err(io_error("read from", &program))?;
        }
        let floor = Self {
            child,
            mountpoint: mountpoint.to_owned(),
        };
        match line.trim() {
            "mounted" => Ok(floor),
            _ => Err(BenchError::Floor),
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It was started, so it can be waited for.
        let _ = self.child.wait();
    }
}
