//! What the figures were measured on.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::utsname::uname;
use ozone_common::disk::{Disk, OpenMode, RealDisk};

use crate::args::{RunArgs, Sizes};
use crate::error::{Result, io_error};
use crate::place::cold_means;

/// Bytes of a write before an fdatasync.
const SYNCED: usize = 256;
/// Bytes of the file that is overwritten.
const FILE: u64 = 8 << 20;
/// For how long the disk is asked.
const SYNC_TIME: Duration = Duration::from_secs(1);

/// Fdatasyncs a second of one thread that overwrites an allocated file in `dir`.
pub(crate) fn fdatasync_rate(dir: &Path, time: Duration) -> Result<f64> {
    let path = dir.join("fdatasync");
    let rate = || -> std::io::Result<f64> {
        let file = RealDisk.open(&path, OpenMode::Truncate)?;
        file.zero(0, FILE)?;
        file.sync_data()?;
        let block = [1; SYNCED];
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time {
            file.write_at(&block, count * SYNCED as u64 % FILE)?;
            file.sync_data()?;
            count += 1;
        }
        let rate = count as f64 / start.elapsed().as_secs_f64();
        RealDisk.remove_file(&path)?;
        Ok(rate)
    };
    rate().map_err(io_error("measure fdatasync with", &path))
}

/// A field of /proc/meminfo, KiB.
pub(crate) fn memory_field(name: &str) -> Result<u64> {
    let text = field("/proc/meminfo", name)?;
    let number = text
        .split_whitespace()
        .next()
        .and_then(|kib| kib.parse().ok());
    let unknown = || std::io::Error::other(format!("no number in {name}"));
    number.ok_or_else(|| io_error("read memory from", Path::new("/proc/meminfo"))(unknown()))
}

/// The header of all tables.
pub(crate) fn header(dir: &Path, args: &RunArgs, sizes: &Sizes) -> Result<String> {
    let rate = fdatasync_rate(dir, SYNC_TIME)?;
    let kernel = uname().map_err(|e| io_error("ask for the kernel of", dir)(e.into()))?;
    let (filesystem, device) = filesystem_of(dir)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gib = memory_field("MemTotal")? as f64 / f64::from(1 << 20);
    Ok([
        format!(
            "machine      {}, {cores} cores, {gib:.1} GiB of memory, Linux {}",
            field("/proc/cpuinfo", "model name")?,
            kernel.release().display()
        ),
        format!("disk         {filesystem} on {device}: {rate:.0} fdatasync/s"),
        "fsync        on: what fsync acknowledges is on disk. On the mount so is every rename and unlink, and what"
            .to_owned(),
        "             close commits; the last 16 KiB of a file and new names follow within two seconds."
            .to_owned(),
        "             On the raw disk all but fsync waits for nothing".to_owned(),
        format!(
            "cluster      replication {}, datanodes {}, one process with the mount",
            args.replication.name(),
            args.datanodes()
        ),
        "floor        FUSE in memory, alone: the kernel believes names and attributes".to_owned(),
        format!("cold         {}", cold_means()),
        format!(
            "build        cargo profile {}, opt-level {}",
            env!("BENCH_PROFILE"),
            env!("BENCH_OPT_LEVEL")
        ),
        format!(
            "amounts      {} MiB, {} durable, {} plain files, trees of {}, {} objects; medians of rounds: {}",
            sizes.file_mib,
            sizes.durable_files,
            sizes.plain_files,
            sizes.tree_files,
            sizes.objects,
            sizes.rounds
        ),
    ]
    .join("\n"))
}

/// The value of the first line that begins with `name`.
fn field(path: &str, name: &str) -> Result<String> {
    let path = Path::new(path);
    let text = fs::read_to_string(path).map_err(io_error("read", path))?;
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    Ok(value
        .map_or("unknown", |(_, value)| value.trim())
        .to_owned())
}

/// Type and device of the filesystem that holds `dir`.
fn filesystem_of(dir: &Path) -> Result<(String, String)> {
    let dir = dir.canonicalize().map_err(io_error("find", dir))?;
    let table = Path::new("/proc/self/mounts");
    let text = fs::read_to_string(table).map_err(io_error("read", table))?;
    let holds = |line: &&str| {
        let mounted = line.split(' ').nth(1);
        mounted.is_some_and(|path| dir.starts_with(path))
    };
    let length = |line: &&str| line.split(' ').nth(1).map_or(0, str::len);
    // Of several at one path, the last is on top: max_by_key gives the last of equals.
    let line = text.lines().filter(holds).max_by_key(length);
    let mut words = line.unwrap_or_default().split(' ');
    let device = words.next().unwrap_or_default().to_owned();
    Ok((words.nth(1).unwrap_or("unknown").to_owned(), device))
}
