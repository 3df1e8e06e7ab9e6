//! Putting another database in the place of one: what a replica does that was sent a copy of the
//! state.
//!
//! Whatever moment a crash chooses, [`finish_swap`] leaves one database under the name, the old or
//! the new one, whole. The old database is closed before a swap, and the name is opened only after
//! `finish_swap`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use ozone_common::disk::Disk;

use crate::error::KvError;

/// Ending of the name that the old database has until the new one is in its place.
const OLD_SUFFIX: &str = ".replaced";

/// Gives the database `copy`, which is durable and on the same disk, the name `path`, and removes the
/// one that had it.
pub fn swap_in(disk: &dyn Disk, path: &Path, copy: &Path) -> Result<(), KvError> {
    let old = old_name(path);
    // Each is durable before the next: a disk may keep the later of two changes and lose the first.
    rename(disk, path, &old)?;
    rename(disk, copy, path)?;
    remove(disk, &old)
}

/// Brings a swap that a crash cut short to an end: the old database counts until the new one has its
/// name.
pub fn finish_swap(disk: &dyn Disk, path: &Path) -> Result<(), KvError> {
    let old = old_name(path);
    let exists = |path: &Path| disk.exists(path).map_err(failed("look for", path));
    if !exists(&old)? {
        return Ok(());
    }
    if !exists(path)? {
        return rename(disk, &old, path);
    }
    // A process that was killed may have left the new name to the system's memory alone.
    sync_parent(disk, path)?;
    remove(disk, &old)
}

fn old_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(OLD_SUFFIX);
    PathBuf::from(name)
}

fn rename(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), KvError> {
    disk.rename(from, to).map_err(failed("rename", from))?;
    sync_parent(disk, to)
}

fn remove(disk: &dyn Disk, dir: &Path) -> Result<(), KvError> {
    disk.remove_dir_all(dir).map_err(failed("remove", dir))
}

fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<(), KvError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(parent).map_err(failed("fsync", parent))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KvError {
    let path = path.to_owned();
    move |source| KvError::Io {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::fs;
    use std::sync::Arc;

    use ozone_common::disk::{Cut, FaultyDisk, RealDisk};

    use super::*;

    fn make(dir: &Path, content: &str) {
        fs::create_dir_all(dir).unwrap();
        for name in ["CURRENT", "MANIFEST"] {
            fs::write(dir.join(name), content).unwrap();
        }
    }

    /// The database under the name, which has to be whole and the only one.
    fn content(dir: &Path) -> String {
        let names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("a.db"))
            .collect();
        assert_eq!(names, ["a.db"]);
        let [one, other] = ["CURRENT", "MANIFEST"].map(|name| {
            let path = dir.join("a.db").join(name);
            fs::read_to_string(path).unwrap()
        });
        assert_eq!(one, other);
        one
    }

    /// Swaps until the power goes off or the process is killed after some changes; what is there after
    /// the next start, and whether the swap had come to its end.
    fn cut_short(changes: u64, end: impl Fn(&FaultyDisk)) -> (String, bool) {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("a.db"), dir.path().join("received/a.db"));
        make(&path, "old");
        make(&copy, "new");
        let disk = FaultyDisk::with_power_cuts(Arc::new(RealDisk));
        disk.power_off_after(changes);
        let done = swap_in(&*disk, &path, &copy).is_ok();
        end(&disk);
        // The next start may be cut short as well.
        disk.power_off_after(changes % 3);
        let _ = finish_swap(&*disk, &path);
        end(&disk);
        finish_swap(&*disk, &path).unwrap();
        // What a start has found stays found.
        let found = content(dir.path());
        disk.crash(Cut::Clean).unwrap();
        finish_swap(&*disk, &path).unwrap();
        assert_eq!(content(dir.path()), found);
        (found, done)
    }

    #[test]
    fn a_swap_cut_short_anywhere_leaves_the_old_or_the_new_database() {
        let mut seen = Vec::new();
        for changes in 0..8 {
            for seed in 0..20 {
                let crash = |disk: &FaultyDisk| disk.crash(Cut::Random(seed)).unwrap();
                seen.push(cut_short(changes, crash));
            }
            seen.push(cut_short(changes, |disk| disk.crash(Cut::Clean).unwrap()));
            seen.push(cut_short(changes, FaultyDisk::kill));
        }
        let expected = |(found, done): &(String, bool)| found == "new" || !done && found == "old";
        assert!(seen.iter().all(expected), "{seen:?}");
        assert!(seen.iter().any(|(found, _)| found == "old"));
        assert!(seen.iter().any(|(found, done)| found == "new" && !done));
        assert!(seen.iter().any(|(_, done)| *done));
    }
}
