//! Programs that people use, on the mount, across kills.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use ozone_tests::content::bytes;
use ozone_tests::shell::run;
use ozone_tests::{Cluster, ClusterOptions};

/// Transactions that sqlite3 has acknowledged when the cluster is killed.
const ACKED_ROWS: usize = 60;

fn git(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    // Everything that git acknowledges is fsynced.
    let durable = ["-c", "core.fsync=all", "-c", "gc.auto=0"];
    run(dir, "git", &[&identity[..], &durable, args].concat())
}

#[test]
fn git_repositories_survive_kill() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "git");
    let repository = bucket.join("repository");
    fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "-q"]);
    for n in 0..200 {
        let dir = repository.join(format!("dir-{}", n % 10));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("file-{n}")), bytes(n, 50 * n as usize)).unwrap();
    }
    git(&repository, &["add", "-A"]);
    git(&repository, &["commit", "-q", "-m", "200 files"]);
    git(
        &bucket,
        &["clone", "-q", "--no-local", "repository", "clone"],
    );
    git(&repository, &["fsck", "--strict"]);
    assert_eq!(git(&repository, &["status", "--porcelain"]), "");
    let head = git(&repository, &["rev-parse", "HEAD"]);
    cluster.kill9();
    cluster.restart();
    for name in ["repository", "clone"] {
        let dir = bucket.join(name);
        git(&dir, &["fsck", "--strict", "--full"]);
        assert_eq!(git(&dir, &["rev-parse", "HEAD"]), head);
        git(&dir, &["reset", "-q", "--hard"]);
        assert_eq!(git(&dir, &["ls-files"]).lines().count(), 200);
        for n in 0..200 {
            let file = fs::read(dir.join(format!("dir-{}/file-{n}", n % 10))).unwrap();
            assert!(
                file == bytes(n, 50 * n as usize),
                "{name}: file-{n} differs"
            );
        }
    }
}

#[test]
fn an_unpacked_tree_is_the_tree_that_was_packed() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let local = cluster.scratch().join("local");
    let bucket = cluster.bucket("vol", "tar");
    // A copy of this workspace's sources: others may be at work in the original.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let archive = cluster.scratch().join("sources.tar");
    let archive = archive.to_str().unwrap();
    run(
        workspace,
        "tar",
        &["cf", archive, "om", "datanode", "proto", "tests"],
    );
    fs::create_dir(&local).unwrap();
    run(&local, "tar", &["xf", archive]);
    run(&bucket, "tar", &["xf", archive]);
    let [local, mounted] = [&local, &bucket].map(|path| path.to_str().unwrap().to_owned());
    run(&bucket, "diff", &["-r", &local, &mounted]);
    // Modes, owners and times too.
    run(&bucket, "tar", &["df", archive]);
    cluster.stop();
    cluster.restart();
    run(&bucket, "diff", &["-r", &local, &mounted]);
    run(&bucket, "tar", &["df", archive]);
}

/// Two kilobytes that follow from a number: what follows this is the number and a bracket.
const CONTENT_OF: &str = "printf('%02000d', ";

/// Inserts until killed; gives how many transactions sqlite3 said are committed.
fn insert_until_killed(cluster: &mut Cluster, database: &Path, journal: &str) -> usize {
    // Line by line, so that an answer is seen as soon as it is given.
    let mut sqlite = Command::new("stdbuf")
        .args(["-oL", "sqlite3", "-bail"])
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sqlite3 does not start: install it");
    let mut input = sqlite.stdin.take().unwrap();
    let setup = format!(
        "PRAGMA journal_mode={journal}; PRAGMA synchronous=FULL;\n\
         CREATE TABLE t (n INTEGER PRIMARY KEY, v BLOB);\n"
    );
    let feeder = std::thread::spawn(move || {
        let next = "(SELECT ifnull(max(n), 0) + 1 FROM t)";
        let insert = format!("INSERT INTO t SELECT {next}, {CONTENT_OF}{next}); SELECT 'ack';\n");
        let inserts = std::iter::repeat_n(insert.as_str(), 100_000);
        // Ends with an error when sqlite3 is gone.
        std::iter::once(setup.as_str())
            .chain(inserts)
            .try_for_each(|line| input.write_all(line.as_bytes()))
    });
    let mut lines = BufReader::new(sqlite.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().expect("an answer").unwrap(), journal);
    let acks = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| {
        lines
            .map(Result::unwrap)
            .filter(|line| line == "ack")
            .count()
    };
    let before = acks(&mut lines.by_ref().take(ACKED_ROWS));
    assert_eq!(before, ACKED_ROWS);
    cluster.kill9();
    let after = acks(&mut lines);
    sqlite.wait().unwrap();
    assert!(
        feeder.join().unwrap().is_err(),
        "all was inserted before the kill"
    );
    before + after
}

fn database_survives_kill(journal: &str) {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "sqlite");
    let database = bucket.join("data.db");
    let acked = insert_until_killed(&mut cluster, &database, journal);
    cluster.restart();
    let query = |sql: &str| run(&bucket, "sqlite3", &["data.db", sql]);
    assert_eq!(query("PRAGMA integrity_check;"), "ok\n");
    let others = query(&format!(
        "SELECT count(*) FROM t WHERE v IS NOT {CONTENT_OF}n);"
    ));
    assert_eq!(others, "0\n", "rows with other content");
    let rows: usize = query("SELECT count(*) FROM t;").trim().parse().unwrap();
    assert!(
        rows >= acked,
        "{acked} rows were committed, {rows} are left"
    );
    assert!(
        rows <= acked + 1,
        "{acked} rows were committed, {rows} are there"
    );
}

#[test]
fn sqlite_with_a_write_ahead_log_survives_kill() {
    database_survives_kill("wal");
}

#[test]
fn sqlite_with_a_rollback_journal_survives_kill() {
    database_survives_kill("delete");
}
