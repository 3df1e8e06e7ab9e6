//! Damage done to the files of a stopped cluster.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files under `dir` whose path satisfies `wanted`. What goes while it is looked for is passed over.
pub fn find(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    assert!(dir.is_dir(), "{} is no directory", dir.display());
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.unwrap_or_else(|e| panic!("{}: {e}", dir.display())),
        };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found
}

/// Turns all bits of the byte at `offset`.
pub fn flip(path: &Path, offset: u64) {
    let file = open(path);
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)
        .expect("a byte to flip");
    file.write_all_at(&[!byte[0]], offset).expect("flipping");
}

/// Writes what a crash may leave of an interrupted write, behind the last bytes that are not zero.
/// The file keeps its size.
pub fn tear(path: &Path) {
    let content = fs::read(path).expect("the file");
    let used = content
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("content");
    let at = (used + 512).next_multiple_of(8);
    assert!(at + 100 < content.len(), "no room left in the file");
    open(path)
        .write_all_at(&[0xab; 100], at as u64)
        .expect("tearing");
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
