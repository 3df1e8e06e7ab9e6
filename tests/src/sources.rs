//! Source trees as people have them: what cargo has fetched for this workspace.

use std::fs;
use std::path::PathBuf;

/// Where cargo keeps the sources of crates, in the directory of the registry that has most. None if
/// nothing was fetched yet.
pub fn registry() -> Option<PathBuf> {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| Some(std::env::home_dir()?.join(".cargo")))?;
    let registries = fs::read_dir(cargo.join("registry/src")).ok()?.flatten();
    let crates = |dir: &PathBuf| fs::read_dir(dir).map_or(0, Iterator::count);
    registries.map(|entry| entry.path()).max_by_key(crates)
}
