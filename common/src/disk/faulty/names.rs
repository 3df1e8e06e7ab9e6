//! Names of files and directories that a power cut may take back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;

use super::buffered::Tracked;
use crate::disk::{Disk, OpenMode};

/// Where removed and replaced things wait until their removal is durable.
const HIDDEN_PREFIX: &str = ".cut-";

pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(HIDDEN_PREFIX)
}

enum Step {
    Created {
        path: PathBuf,
    },
    CreatedDir {
        path: PathBuf,
    },
    Removed {
        path: PathBuf,
        hidden: PathBuf,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
        replaced: Option<PathBuf>,
    },
}

struct Unsettled {
    /// Directory whose fsync settles it.
    dir: PathBuf,
    step: Step,
}

/// Open files by path, and the changes of names in the order they were made.
#[derive(Default)]
pub(super) struct Names {
    files: BTreeMap<PathBuf, Arc<Tracked>>,
    unsettled: Vec<Unsettled>,
    next_hidden: u64,
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_path_buf()
}

/// Removal of something that may be gone with a directory above it.
fn discard(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.metadata(path) {
        Ok(info) if info.is_dir => disk.remove_dir_all(path),
        Ok(_) => disk.remove_file(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

impl Names {
    pub(super) fn tracked(&self, path: &Path) -> Option<&Arc<Tracked>> {
        self.files.get(path)
    }

    /// The file at `path`, shared with all who have it open.
    pub(super) fn track(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<Arc<Tracked>> {
        self.files
            .retain(|_, file| Arc::strong_count(file) > 1 || !file.is_clean());
        if let Some(file) = self.files.get(path) {
            return Ok(file.clone());
        }
        let file = Arc::new(Tracked::new(disk.open(path, OpenMode::Write)?));
        self.files.insert(path.to_path_buf(), file.clone());
        Ok(file)
    }

    pub(super) fn created(&mut self, path: &Path) {
        self.note(
            parent(path),
            Step::Created {
                path: path.to_path_buf(),
            },
        );
    }

    pub(super) fn created_dir(&mut self, path: &Path) {
        self.note(
            parent(path),
            Step::CreatedDir {
                path: path.to_path_buf(),
            },
        );
    }

    pub(super) fn linked(&mut self, from: &Path, to: &Path) {
        if let Some(file) = self.files.get(from).cloned() {
            self.files.insert(to.to_path_buf(), file);
        }
        self.created(to);
    }

    fn note(&mut self, dir: PathBuf, step: Step) {
        self.unsettled.push(Unsettled { dir, step });
    }

    /// Follows a rename in the table of open files.
    pub(super) fn moved(&mut self, from: &Path, to: &Path) {
        self.forget(to);
        let inside: Vec<PathBuf> = self
            .files
            .keys()
            .filter(|path| path.starts_with(from))
            .cloned()
            .collect();
        for old in inside {
            let (Some(file), Ok(rest)) = (self.files.remove(&old), old.strip_prefix(from)) else {
                continue;
            };
            let new = if rest.as_os_str().is_empty() {
                to.to_path_buf()
            } else {
                to.join(rest)
            };
            self.files.insert(new, file);
        }
    }

    pub(super) fn forget(&mut self, path: &Path) {
        self.files.retain(|open, _| !open.starts_with(path));
    }

    fn put_away(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<PathBuf> {
        self.next_hidden += 1;
        let hidden = parent(path).join(format!("{HIDDEN_PREFIX}{}", self.next_hidden));
        disk.rename(path, &hidden)?;
        self.moved(path, &hidden);
        Ok(hidden)
    }

    /// Removes `path` in a way that can be undone.
    pub(super) fn hide(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        let hidden = self.put_away(disk, path)?;
        self.note(
            parent(path),
            Step::Removed {
                path: path.to_path_buf(),
                hidden,
            },
        );
        Ok(())
    }

    /// Renames in a way that can be undone.
    pub(super) fn rename(&mut self, disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
        disk.metadata(from)?;
        let replaced = match disk.exists(to)? {
            true => Some(self.put_away(disk, to)?),
            false => None,
        };
        disk.rename(from, to)?;
        self.moved(from, to);
        let step = Step::Renamed {
            from: from.to_path_buf(),
            to: to.to_path_buf(),
            replaced,
        };
        self.note(parent(to), step);
        Ok(())
    }

    /// The fsync of a directory.
    pub(super) fn settle(&mut self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let (settled, rest) = std::mem::take(&mut self.unsettled)
            .into_iter()
            .partition(|u| u.dir == dir);
        self.unsettled = rest;
        settled
            .into_iter()
            .try_for_each(|u: Unsettled| self.make_final(disk, u.step))
    }

    fn make_final(&mut self, disk: &dyn Disk, step: Step) -> io::Result<()> {
        let (Step::Removed { hidden, .. }
        | Step::Renamed {
            replaced: Some(hidden),
            ..
        }) = step
        else {
            return Ok(());
        };
        self.forget(&hidden);
        discard(disk, &hidden)
    }

    /// The power cut: of each directory the first few changes survive (none without `rng`), the
    /// later ones are taken back, then the content of files is cut.
    pub(super) fn cut(&mut self, disk: &dyn Disk, rng: &mut Option<StdRng>) -> io::Result<()> {
        for file in std::mem::take(&mut self.files).into_values() {
            file.cut(rng)?;
        }
        let unsettled = std::mem::take(&mut self.unsettled);
        let mut keep: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for u in &unsettled {
            *keep.entry(u.dir.clone()).or_default() += 1;
        }
        for count in keep.values_mut() {
            *count = rng.as_mut().map_or(0, |rng| rng.random_range(0..=*count));
        }
        let mut undo = Vec::new();
        for u in unsettled {
            match keep.get_mut(&u.dir) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    self.make_final(disk, u.step)?;
                }
                _ => undo.push(u.step),
            }
        }
        undo.into_iter()
            .rev()
            .try_for_each(|step| take_back(disk, step))
    }
}

fn take_back(disk: &dyn Disk, step: Step) -> io::Result<()> {
    match step {
        Step::Created { path } | Step::CreatedDir { path } => discard(disk, &path),
        Step::Removed { path, hidden } => bring_back(disk, &hidden, &path),
        Step::Renamed { from, to, replaced } => {
            bring_back(disk, &to, &from)?;
            replaced.map_or(Ok(()), |hidden| bring_back(disk, &hidden, &to))
        }
    }
}

/// A rename of something that may be gone with a directory that was taken back.
fn bring_back(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    match disk.rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
