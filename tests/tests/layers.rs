//! Dependencies point down, as docs/architecture.md draws them, and three libraries have one owner each.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

const FOUNDATIONS: &[&str] = &["proto", "common", "kv", "rpc", "raft", "security"];
const ANYTHING: &[&str] = &["ozone", "tests"];

/// Crates of this workspace that `name` may depend on; `None` when any.
fn allowed(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "proto" | "common" => Some(&[]),
        "kv" => Some(&["common"]),
        "rpc" => Some(&["proto", "common"]),
        "raft" => Some(&["common", "rpc"]),
        "security" => Some(&["proto", "common", "rpc"]),
        "om" | "scm" | "datanode" => Some(FOUNDATIONS),
        "client" => Some(&["proto", "common", "rpc", "security"]),
        "fs" | "cli" | "s3" => Some(&["client", "common"]),
        // Measures the binary from outside, as the tests do, and the Raft log by itself.
        "bench" => Some(&["tests", "raft", "common"]),
        _ if ANYTHING.contains(&name) => None,
        _ => panic!("crate {name} has no layer: give it one here"),
    }
}

/// Crates that may name a library which only they wrap.
fn owners(library: &str) -> Option<&'static [&'static str]> {
    match library {
        "rocksdb" => Some(&["kv"]),
        "openraft" => Some(&["raft"]),
        // The floor that the mount is measured against is a FUSE filesystem too.
        "fuser" => Some(&["fs", "bench"]),
        _ => None,
    }
}

/// Crate → what its Cargo.toml names, for whatever kind of use.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list");
        let name = |item: &Value| item["name"].as_str().expect("a name").to_owned();
        list.iter().map(name).collect()
    };
    let packages = metadata["packages"].as_array().expect("packages");
    let entry = |package: &Value| {
        let name = package["name"].as_str().expect("a name");
        (short(name).to_owned(), names(&package["dependencies"]))
    };
    packages.iter().map(entry).collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix("ozone-").unwrap_or(name)
}

/// What the rules forbid of `uses`.
fn violations(crate_name: &str, uses: &[String], ours: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for used in uses {
        if ours.iter().any(|name| name == short(used)) {
            let allowed = allowed(crate_name);
            if allowed.is_some_and(|allowed| !allowed.contains(&short(used))) {
                found.push(format!("{crate_name} may not depend on {}", short(used)));
            }
        } else if owners(used).is_some_and(|owners| !owners.contains(&crate_name)) {
            found.push(format!("{crate_name} may not name {used}"));
        }
    }
    found
}

#[test]
fn no_crate_depends_past_its_layer() {
    let all = dependencies();
    let ours: Vec<_> = all.keys().cloned().collect();
    for name in FOUNDATIONS.iter().chain(ANYTHING) {
        assert!(all.contains_key(*name), "{name} is not in the workspace");
    }
    let found: Vec<_> = all
        .iter()
        .flat_map(|(name, uses)| violations(name, uses, &ours))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_dependency_past_its_layer_is_found() {
    let ours = ["om", "scm", "client", "proto", "kv", "raft"].map(str::to_owned);
    let found = |name: &str, used: &str| violations(name, &[used.to_owned()], &ours).len();
    assert_eq!(found("om", "ozone-scm"), 1);
    assert_eq!(found("fs", "ozone-proto"), 1);
    assert_eq!(found("client", "ozone-kv"), 1);
    assert_eq!(found("kv", "ozone-raft"), 1);
    assert_eq!(found("raft", "ozone-kv"), 1);
    assert_eq!(found("om", "rocksdb"), 1);
    assert_eq!(found("om", "ozone-kv"), 0);
    assert_eq!(found("kv", "rocksdb"), 0);
    assert_eq!(found("tests", "ozone-om"), 0);
}
