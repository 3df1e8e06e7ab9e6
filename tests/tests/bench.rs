//! `make bench`, as small as it gets: figures mean nothing here, the table does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use ozone_tests::cluster::binary;

const ROWS: [&str; 11] = [
    "sequential write, fsync",
    "cold read",
    "cached re-read",
    "durable creates, 8 threads",
    "durable creates, 1 thread",
    "plain creates",
    "stat",
    "readdir",
    "unlink",
    "tar x",
    "git clone",
];

/// Where, how safely and how many times the bytes of the figures were stored.
const HEADER: [&str; 5] = [
    "machine      ",
    "disk         ",
    "fsync        on",
    "cluster      replication ONE, datanodes 1",
    "cold         ",
];

const S3_ROWS: [&str; 7] = [
    "PUT 4 KiB, 1 client",
    "PUT 4 KiB, 16 clients",
    "GET 4 KiB, 1 client",
    "GET 4 KiB, 16 clients",
    "LIST with sizes",
    "multipart PUT",
    "large GET",
];

#[test]
fn s3_is_measured_without_any_other_store() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(binary().with_file_name("ozone-bench"))
        .arg("--dir")
        .arg(dir.path())
        .args([
            "--only",
            "s3",
            "--rounds",
            "1",
            "--objects",
            "32",
            "--file-mib",
            "32",
        ])
        .output()
        .expect("ozone-bench starts: build it first: cargo build --workspace");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for row in S3_ROWS {
        let line = text.lines().find(|line| line.starts_with(row));
        let line = line.unwrap_or_else(|| panic!("no row {row:?} in\n{text}"));
        let (_, figures) = line.split_at(28);
        let figures: Vec<&str> = figures.split_whitespace().collect();
        // Two rates, a ratio, and the least and the most of it.
        let [raw, ours, ratio, _] = figures[..] else {
            panic!("{line}");
        };
        for figure in [raw, ours, ratio] {
            assert!(figure.parse::<f64>().unwrap() > 0.0, "{line}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn raft_and_snapshots_are_measured() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(binary().with_file_name("ozone-bench"))
        .arg("--dir")
        .arg(dir.path())
        .args(["--only", "raft,snapshots", "--seconds", "1"])
        .args(["--names", "100", "--rounds", "1"])
        .output()
        .expect("ozone-bench starts: build it first: cargo build --workspace");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for (members, groups, clients) in [(1, 1, 1), (1, 1, 64), (1, 8, 1), (1, 8, 64), (3, 1, 64)] {
        let row = [members, groups, clients].map(|n: u32| n.to_string());
        let words = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let rates = words.filter(|words| words.len() == 6 && words[..3] == row);
        let rates: Vec<f64> = rates.map(|words| words[3].parse().unwrap()).collect();
        assert!(
            matches!(rates[..], [rate] if rate > 0.0),
            "{row:?} in {text}"
        );
    }
    let names = text
        .lines()
        .find(|line| line.trim_start().starts_with("100 "));
    assert!(names.is_some(), "{text}");
}

#[test]
fn the_benchmarks_measure_all_places_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new(binary().with_file_name("ozone-bench"))
        .arg("--dir")
        .arg(dir.path())
        .arg("--sources")
        .arg(sources)
        .args(["--only", "big,durable,plain,tree", "--rounds", "2"])
        .args(["--file-mib", "4", "--durable-files", "16"])
        .args(["--plain-files", "20", "--tree-files", "30"])
        .output()
        .expect("ozone-bench starts: build it first: cargo build --workspace");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for head in HEADER {
        let line = text.lines().find(|line| line.starts_with(head));
        assert!(line.is_some(), "no {head:?} in\n{text}");
    }
    for row in ROWS {
        let line = text.lines().find(|line| line.starts_with(row));
        let line = line.unwrap_or_else(|| panic!("no row {row:?} in\n{text}"));
        let figures: Vec<f64> = line[row.len()..]
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        // Three rates and two ratios; a goal where there is one.
        assert!(figures.len() >= 5, "{line}");
        assert!(figures[..3].iter().all(|rate| *rate > 0.0), "{line}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.path().to_str().unwrap()), "{mounts}");
}
