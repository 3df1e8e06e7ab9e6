//! Damage done to the files of a stopped cluster.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files under `dir` whose path satisfies `wanted`.
pub fn find(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(find(&path, wanted));
        } else if wanted(&path) {
            found.push(path);
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
