//! Wrong arguments are refused with what would be right, and damaged files never become wrong bytes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ozone_tests::content::bytes;
use ozone_tests::corrupt::{find, flip, tear};
use ozone_tests::refused::assert_refused;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions, Daemon, DaemonOptions, Daemons, Refused};

fn refusal(cluster: &mut Cluster) -> Refused {
    cluster.try_start().expect_err("a refusal")
}

fn write_durably(path: &Path, content: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(content).unwrap();
    file.sync_all().unwrap();
}

/// The files of the larger blocks of a datanode.
fn blocks(cluster: &Cluster, datanode: usize) -> Vec<PathBuf> {
    let dir = cluster.dir().join(format!("datanode-{datanode}/data"));
    find(&dir, &|path: &Path| {
        path.extension()
            .is_some_and(|extension| extension == "block")
            // Small ones go while this looks.
            && path.metadata().is_ok_and(|found| found.len() >= 1 << 20)
    })
}

/// The log that is written to of the only Raft group below a directory.
fn log_in(dir: &Path) -> PathBuf {
    let logs = find(dir, &|path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("log_inprogress_")
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs[0].clone()
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let second = cluster.up().output().unwrap();
    let refused = Refused {
        code: second.status.code(),
        text: String::from_utf8(second.stderr).unwrap(),
    };
    let dir = cluster.dir().display().to_string();
    assert_refused(&refused, &[&dir, "in use"]);
    // The first one goes on.
    let file = cluster.bucket("vol", "bucket").join("f");
    write_durably(&file, b"content");
    cluster.stop();
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let mut cluster = Cluster::new(ClusterOptions {
        sets: vec!["ozone.om.adress=x".to_owned()],
        ..ClusterOptions::default()
    });
    let refused = refusal(&mut cluster);
    assert_refused(&refused, &["ozone.om.adress", "ozone.om.address?"]);
}

#[test]
fn a_mount_point_with_files_in_it_is_refused() {
    let mut cluster = Cluster::new(ClusterOptions::default());
    fs::write(cluster.mountpoint().join("precious"), "").unwrap();
    let mountpoint = cluster.mountpoint().display().to_string();
    assert_refused(
        &refusal(&mut cluster),
        &[&mountpoint, "not empty", "precious"],
    );
    assert!(cluster.mountpoint().join("precious").exists());
}

#[test]
fn three_copies_on_one_datanode_are_refused() {
    let mut cluster = Cluster::new(ClusterOptions {
        replication: Some("THREE"),
        ..ClusterOptions::default()
    });
    assert_refused(&refusal(&mut cluster), &["THREE", "--datanodes 3"]);
}

#[test]
fn a_damaged_block_is_an_error_and_never_wrong_bytes() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let file = cluster.bucket("vol", "bucket").join("f");
    let content = bytes(3, 3 << 20);
    write_durably(&file, &content);
    cluster.stop();
    let blocks = blocks(&cluster, 1);
    assert!(!blocks.is_empty(), "no block file to damage");
    for block in &blocks {
        flip(block, block.metadata().unwrap().len() / 2);
    }
    cluster.restart();
    let mut read = Vec::new();
    let error = File::open(&file)
        .unwrap()
        .read_to_end(&mut read)
        .expect_err("EIO");
    assert_eq!(error.raw_os_error(), Some(nix::libc::EIO), "{error}");
    assert!(content.starts_with(&read), "wrong bytes before the error");
}

#[test]
fn a_damaged_replica_is_left_for_a_good_one() {
    let mut cluster = Cluster::start(ClusterOptions {
        datanodes: 3,
        replication: Some("THREE"),
        ..ClusterOptions::default()
    });
    let file = cluster.bucket("vol", "bucket").join("f");
    let content = bytes(3, 3 << 20);
    write_durably(&file, &content);
    // A majority was enough for the fsync: the third may have to fetch what it missed.
    wait_for(Duration::from_secs(60), || {
        let lacking = (1..=3).find(|datanode| blocks(&cluster, *datanode).is_empty());
        lacking.map_or(Ok(()), |datanode| {
            Err(format!("none on datanode {datanode}"))
        })
    });
    cluster.stop();
    // Another byte on each of two datanodes: no byte is damaged everywhere.
    for (datanode, part) in [(1, 2), (2, 3)] {
        for block in &blocks(&cluster, datanode) {
            flip(block, block.metadata().unwrap().len() / part);
        }
    }
    cluster.restart();
    assert!(fs::read(&file).unwrap() == content, "wrong bytes");
    let output = cluster.ozone(&["sh", "key", "cat", "vol/bucket/f"]);
    assert!(output.stdout == content, "wrong bytes from the shell");
}

/// A cluster with something in the log of each of its servers.
fn with_logs() -> (Cluster, PathBuf, Vec<u8>) {
    let cluster = Cluster::start(ClusterOptions::default());
    let file = cluster.bucket("vol", "bucket").join("f");
    // More than rides in the log of the OM.
    let content = bytes(9, 1 << 20);
    write_durably(&file, &content);
    (cluster, file, content)
}

#[test]
fn a_damaged_entry_inside_a_log_stops_the_start() {
    let (mut cluster, file, content) = with_logs();
    for n in 0..20 {
        write_durably(&file.with_file_name(format!("f{n}")), b"content");
    }
    for server in ["om", "scm"] {
        cluster.kill9();
        let log = log_in(&cluster.dir().join(server));
        flip(&log, 16 + 40);
        let name = log.display().to_string();
        assert_refused(&refusal(&mut cluster), &[&name, "offset 16", "damaged"]);
        // Nothing was thrown away: with the byte mended, everything is there.
        flip(&log, 16 + 40);
        cluster.restart();
        assert_eq!(fs::read(&file).unwrap(), content);
        assert_eq!(fs::read(file.with_file_name("f19")).unwrap(), b"content");
    }
}

#[test]
fn a_damaged_entry_inside_the_log_of_a_pipeline_is_named_and_nothing_is_thrown_away() {
    let datanode = Daemon::Datanode(1);
    let mut cluster = Daemons::start(DaemonOptions::one_copy());
    let file = cluster.bucket("vol", "bucket").join("f");
    let content = bytes(9, 1 << 20);
    write_durably(&file, &content);
    cluster.kill9(datanode);
    let log = log_in(&cluster.dir().join("datanode-1"));
    flip(&log, 16 + 40);
    let damaged = fs::read(&log).unwrap();
    // It serves what else it has, and does not call itself well.
    cluster.spawn(datanode);
    wait_for(Duration::from_secs(60), || {
        match cluster.health(datanode)? {
            (503, found) if found["details"]["registered"] == true => Ok(()),
            (_, found) => Err(format!("{found}")),
        }
    });
    let name = log.display().to_string();
    let text = cluster.log(datanode);
    let told = |line: &str| {
        ["ERROR", &name, "offset 16"]
            .iter()
            .all(|word| line.contains(word))
    };
    assert!(text.lines().any(told), "no error in {text}");
    let cat = cluster.ozone(&["sh", "key", "cat", "/vol/bucket/f"]);
    assert!(
        cat.stdout == content,
        "{}",
        String::from_utf8_lossy(&cat.stderr)
    );
    cluster.kill9(datanode);
    assert!(fs::read(&log).unwrap() == damaged, "{name} was changed");
    flip(&log, 16 + 40);
    cluster.start_one(datanode);
    let other = file.with_file_name("other");
    write_durably(&other, &content);
    assert!(fs::read(&other).unwrap() == content, "wrong bytes");
    assert!(fs::read(&file).unwrap() == content, "wrong bytes");
}

#[test]
fn a_torn_end_of_a_log_is_cut_and_nothing_acknowledged_is_lost() {
    let (mut cluster, file, mut content) = with_logs();
    for (n, server) in ["om", "scm", "datanode-1"].into_iter().enumerate() {
        cluster.kill9();
        let torn = log_in(&cluster.dir().join(server));
        tear(&torn);
        cluster.restart();
        let log = cluster.log();
        let warned = |line: &str| line.contains("WARN") && line.contains(torn.to_str().unwrap());
        assert!(log.lines().any(warned), "no warning in {log}");
        assert!(fs::read(&file).unwrap() == content, "wrong bytes");
        content = bytes(n as u64, 1 << 20);
        write_durably(&file, &content);
        cluster.kill9();
        cluster.restart();
        assert!(fs::read(&file).unwrap() == content, "wrong bytes");
    }
}
