//! Trees of files: random changes of them, and what is seen of them.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rand::Rng;
use rand::rngs::StdRng;

use crate::content::bytes;

/// Names in one directory, so that changes meet.
const NAMES: u32 = 6;
/// Levels of directories.
const DEPTH: u32 = 3;
/// The largest piece that is written: some files are small enough to wait in memory, some are not.
const PIECE: usize = 40_000;

/// What is seen of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    mode: u32,
    nlink: u64,
    size: u64,
    /// Set by the program, else not compared.
    mtime: Option<i64>,
    content: Vec<u8>,
}

/// Times that programs set are before this one.
const SET_BEFORE: i64 = 1_000_000_000;

/// Everything below a directory, by path.
pub fn look(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                left.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            let one = Seen {
                mode: meta.mode(),
                nlink: meta.nlink(),
                // Filesystems differ in what a directory's size is.
                size: if meta.is_dir() { 0 } else { meta.size() },
                mtime: Some(meta.mtime()).filter(|time| *time < SET_BEFORE),
                content,
            };
            seen.insert(path.strip_prefix(root).unwrap().to_owned(), one);
        }
    }
    seen
}

/// Panics when two directories do not look the same.
pub fn compare(local: &Path, other: &Path, when: &str) {
    same(&look(local), &look(other), when);
}

/// Panics when what was seen is not the same.
pub fn same(expected: &BTreeMap<PathBuf, Seen>, found: &BTreeMap<PathBuf, Seen>, when: &str) {
    let names = |seen: &BTreeMap<PathBuf, Seen>| seen.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(expected), names(found), "{when}");
    for (path, seen) in expected {
        assert!(
            found[path] == *seen,
            "{when}: {}: {seen:?} and {:?}",
            path.display(),
            found[path]
        );
    }
}

/// A change, by the same numbers everywhere.
pub struct Change {
    /// What is done.
    pub kind: u32,
    /// To what.
    pub path: PathBuf,
    /// And to what else.
    pub other: PathBuf,
    at: u64,
    data: Vec<u8>,
}

impl Change {
    /// Any change.
    pub fn any(rng: &mut StdRng) -> Self {
        let path = |rng: &mut StdRng| -> PathBuf {
            let depth = rng.random_range(1..=DEPTH);
            (0..depth)
                .map(|_| format!("n{}", rng.random_range(0..NAMES)))
                .collect()
        };
        let length = rng.random_range(0..PIECE);
        Self {
            kind: rng.random_range(0..14),
            path: path(rng),
            other: path(rng),
            at: rng.random_range(0..PIECE as u64),
            data: bytes(rng.random(), length),
        }
    }

    /// Makes it below `root`.
    pub fn make(&self, root: &Path) -> io::Result<()> {
        let (path, other) = (root.join(&self.path), root.join(&self.other));
        match self.kind {
            0..=1 => fs::create_dir(path),
            2..=3 => fs::write(path, &self.data),
            4 => OpenOptions::new()
                .append(true)
                .open(path)?
                .write_all(&self.data),
            5 => OpenOptions::new()
                .write(true)
                .open(path)?
                .write_all_at(&self.data, self.at),
            6 => OpenOptions::new().write(true).open(path)?.set_len(self.at),
            7 => symlink(&self.other, path),
            8 => fs::hard_link(path, other),
            9 => fs::rename(path, other),
            10 => fs::remove_file(path),
            11 => fs::remove_dir(path),
            12 => {
                let bits = 0o600 | (self.at as u32 & 0o177);
                let kept = fs::symlink_metadata(&path)?;
                let bits = if kept.is_dir() { bits | 0o700 } else { bits };
                fs::set_permissions(path, Permissions::from_mode(bits))
            }
            _ => {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.at);
                OpenOptions::new()
                    .write(true)
                    .open(path)?
                    .set_modified(time)
            }
        }
    }
}
