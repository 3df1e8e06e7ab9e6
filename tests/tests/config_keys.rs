//! The table of configuration keys tells the truth about which of them change anything.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use ozone_common::config::KEYS;
use ozone_tests::corrupt::find;

/// Where keys are named without being read.
const TABLES: &str = "common/src/config";
/// Reads keys for all servers, and lies among the tables.
const READER: &str = "common/src/config/ha.rs";

/// What the crates are made of, without the tables of keys.
fn sources() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let wanted = |path: &Path| {
        let path = path.strip_prefix(root).unwrap().to_str().unwrap();
        path.ends_with(".rs") && (!path.starts_with(TABLES) || path == READER)
    };
    let crates = fs::read_dir(root).unwrap().map(|e| e.unwrap().path());
    let crates = crates.filter(|dir| dir.join("Cargo.toml").exists() && !dir.ends_with("tests"));
    let files = crates.flat_map(|dir| find(&dir.join("src"), &wanted));
    files
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

#[test]
fn keys_have_an_effect_exactly_where_something_reads_them() {
    let sources = sources();
    let stands_in = |name| {
        KEYS.iter()
            .any(|spec| spec.fallback.is_some_and(|f| f.key == name))
    };
    for spec in KEYS {
        let read = stands_in(spec.name) || sources.contains(&format!("\"{}\"", spec.name));
        assert_eq!(spec.has_effect, read, "{}", spec.name);
    }
}
