//! Snapshots in the real processes: taken, browsed, compared, deleted, over crashes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use ozone_tests::blocks;
use ozone_tests::shell::{errno, run};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};

/// How long it may take until bytes are freed.
const FREED_LIMIT: Duration = Duration::from_secs(60);
/// What a cluster wrote to find out that it is ready, and may keep as long as it runs.
const PROBE: u64 = 64 << 10;

/// Bytes that blocks take on the datanode's disk.
fn used(cluster: &Cluster) -> u64 {
    blocks::used(&cluster.dir().join("datanode-1/data"))
}

/// Some of everything.
fn plant(bucket: &Path) {
    fs::create_dir_all(bucket.join("dir/deep")).unwrap();
    fs::write(bucket.join("small"), "small content").unwrap();
    fs::write(bucket.join("dir/large"), vec![7; 3 << 20]).unwrap();
    fs::write(bucket.join("dir/deep/kept"), "kept").unwrap();
    fs::hard_link(bucket.join("small"), bucket.join("dir/other name")).unwrap();
    symlink("../small", bucket.join("dir/link")).unwrap();
    fs::set_permissions(bucket.join("small"), fs::Permissions::from_mode(0o640)).unwrap();
}

/// Checksums of all files, and what stat says of everything but numbers.
fn picture(dir: &Path) -> String {
    let files = run(
        dir,
        "sh",
        &[
            "-c",
            "find . -type f -print0 | sort -z | xargs -0 -r sha256sum",
        ],
    );
    let stats = run(
        dir,
        "sh",
        &[
            "-c",
            "find . -mindepth 1 -printf '%P %M %U %G %n %s %T@ %l\n' | sort",
        ],
    );
    files + &stats
}

#[test]
fn a_snapshot_shows_what_was_there_whatever_happens_to_it_later() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    cluster.alone(&bucket);
    plant(&bucket);
    let before = picture(&bucket);
    assert_eq!(cluster.sh("snapshot create vol/bucket first"), "");
    fs::write(bucket.join("small"), "other").unwrap();
    let mut large = File::options()
        .write(true)
        .open(bucket.join("dir/large"))
        .unwrap();
    large.write_all(b"overwritten").unwrap();
    large.sync_all().unwrap();
    fs::rename(bucket.join("dir/deep"), bucket.join("moved")).unwrap();
    fs::remove_file(bucket.join("dir/link")).unwrap();
    cluster.sh("snapshot create vol/bucket second");
    let second = picture(&bucket);
    fs::remove_dir_all(bucket.join("dir")).unwrap();

    let past = bucket.join(".snapshot");
    let names: Vec<_> = run(&past, "ls", &[]).lines().map(str::to_owned).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(picture(&past.join("first")), before);
    assert_eq!(picture(&past.join("second")), second);
    assert!(
        !run(&bucket, "ls", &["-a"]).contains(".snapshot"),
        "it is not listed"
    );
    let (old, live) = (past.join("first/small"), bucket.join("small"));
    let (old, live) = (fs::metadata(old).unwrap(), fs::metadata(live).unwrap());
    assert_ne!(old.ino(), live.ino());
    assert_eq!(
        cluster.sh("key cat vol/bucket/.snapshot/first/small"),
        "small content"
    );
    let listed = cluster.sh("key list vol/bucket/.snapshot/first");
    assert!(
        listed.contains("\".snapshot/first/dir/deep/kept\""),
        "{listed}"
    );

    cluster.kill9();
    cluster.restart();
    assert_eq!(picture(&past.join("first")), before);
    assert_eq!(picture(&past.join("second")), second);
    // What was lost is copied back.
    run(&bucket, "cp", &["-a", ".snapshot/first/dir", "dir"]);
    assert_eq!(
        fs::read(bucket.join("dir/large")).unwrap(),
        vec![7; 3 << 20]
    );
}

#[test]
fn a_snapshot_that_waits_for_no_mount_leaves_the_bucket_to_the_one_that_has_it() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let mut round = 0;
    // A mount that is held up for a second loses the bucket by itself.
    wait_for(FREED_LIMIT, || {
        round += 1;
        let sent = bucket.join(format!("sent-{round}"));
        let mut file = File::create(&sent).unwrap();
        file.write_all(b"content").unwrap();
        file.sync_all().unwrap();
        cluster.alone(&bucket);
        let calls = cluster.om_requests("Create");
        let line = format!("snapshot create vol/bucket no-flush-{round} --no-flush");
        assert_eq!(cluster.sh(&line), "");
        fs::create_dir(bucket.join(format!("held-back-{round}"))).unwrap();
        let past = format!(".snapshot/no-flush-{round}/sent-{round}");
        assert_eq!(fs::read(bucket.join(past)).unwrap(), b"content");
        match cluster.om_requests("Create") - calls {
            0 => Ok(()),
            calls => Err(format!("{calls} creates were calls")),
        }
    });
}

#[test]
fn nothing_in_a_snapshot_can_be_changed() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    plant(&bucket);
    cluster.sh("snapshot create vol/bucket s1x");
    let past = bucket.join(".snapshot/s1x");
    let refusals = [
        errno(fs::write(past.join("small"), "x")),
        errno(fs::write(past.join("new"), "x")),
        errno(fs::create_dir(past.join("new"))),
        errno(fs::remove_file(past.join("small"))),
        errno(fs::remove_dir(past.join("dir/deep"))),
        errno(fs::rename(past.join("small"), past.join("s"))),
        errno(fs::hard_link(past.join("small"), past.join("s"))),
        errno(fs::set_permissions(
            past.join("small"),
            fs::Permissions::from_mode(0o600),
        )),
        errno(fs::create_dir(bucket.join(".snapshot/new"))),
        errno(fs::remove_dir(bucket.join(".snapshot"))),
        errno(fs::remove_dir(bucket.join(".snapshot/s1x"))),
        errno(fs::rename(bucket.join("dir"), bucket.join(".snapshot"))),
        errno(symlink("x", past.join("new"))),
    ];
    for (at, refusal) in refusals.iter().enumerate() {
        assert_eq!(*refusal, Errno::EROFS, "change {at}");
    }
    for path in [past.clone(), past.join("small")] {
        File::open(path).unwrap().sync_all().unwrap();
    }
    let exists = fs::create_dir(bucket.join(".snapshot"));
    assert_eq!(errno(exists), Errno::EEXIST);
    let across = fs::rename(past.join("small"), bucket.join("s"));
    assert!(matches!(errno(across), Errno::EROFS | Errno::EXDEV));
    assert_eq!(
        fs::read_to_string(past.join("small")).unwrap(),
        "small content"
    );
    let put = cluster.sh_refused("key put vol/bucket/.snapshot/s1x/k /etc/hostname");
    assert!(put.contains("INVALID_KEY_NAME"), "{put}");
    // What is not in the root of a bucket may have the name.
    fs::create_dir(bucket.join("dir/.snapshot")).unwrap();
}

#[test]
fn what_a_snapshot_alone_sees_is_given_back_when_it_is_deleted() {
    let mut cluster = Cluster::start(ClusterOptions {
        sets: [
            "ozone.block.deleting.service.interval=200ms",
            "ozone.snapshot.deleting.service.interval=200ms",
            "ozone.om.freed.block.grace=0s",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Default::default()
    });
    let bucket = cluster.bucket("vol", "bucket");
    for n in 0..4 {
        let mut file = File::create(bucket.join(n.to_string())).unwrap();
        file.write_all(&vec![n; 2 << 20]).unwrap();
        file.sync_all().unwrap();
    }
    cluster.sh("snapshot create vol/bucket one");
    fs::remove_file(bucket.join("0")).unwrap();
    cluster.sh("snapshot create vol/bucket two");
    fs::remove_file(bucket.join("1")).unwrap();
    assert!(used(&cluster) >= 8 << 20);
    cluster.kill9();
    cluster.restart();
    let past = bucket.join(".snapshot");
    assert_eq!(fs::read(past.join("one/0")).unwrap(), vec![0; 2 << 20]);
    assert_eq!(fs::read(past.join("two/1")).unwrap(), vec![1; 2 << 20]);
    let held = cluster.sh_refused("bucket delete vol/bucket");
    assert!(
        held.contains("BUCKET_NOT_EMPTY") || held.contains("CONTAINS_SNAPSHOT"),
        "{held}"
    );

    cluster.sh("snapshot delete vol/bucket one");
    wait_for(FREED_LIMIT, || match used(&cluster) {
        used if used < 7 << 20 => Ok(()),
        used => Err(format!("blocks take {used} bytes")),
    });
    assert!(
        used(&cluster) >= 6 << 20,
        "the second one still sees the rest"
    );
    assert_eq!(fs::read(past.join("two/1")).unwrap(), vec![1; 2 << 20]);
    cluster.sh("snapshot delete vol/bucket two");
    for n in 2..4 {
        fs::remove_file(bucket.join(n.to_string())).unwrap();
    }
    wait_for(FREED_LIMIT, || match used(&cluster) {
        used if used <= PROBE => Ok(()),
        used => Err(format!("blocks take {used} bytes")),
    });
    let checkpoints = cluster.dir().join("om/data/om.db/snapshots");
    assert!(checkpoints.is_dir());
    wait_for(FREED_LIMIT, || {
        match fs::read_dir(&checkpoints).unwrap().count() {
            0 => Ok(()),
            left => Err(format!("{left} checkpoints are left")),
        }
    });
}

#[test]
fn a_difference_tells_what_was_created_deleted_modified_and_renamed() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    plant(&bucket);
    cluster.sh("snapshot create vol/bucket from");
    fs::write(bucket.join("new"), "new").unwrap();
    fs::write(bucket.join("dir/deep/kept"), "modified").unwrap();
    fs::rename(bucket.join("dir/large"), bucket.join("dir/renamed")).unwrap();
    fs::remove_file(bucket.join("dir/link")).unwrap();
    cluster.sh("snapshot create vol/bucket to1");
    let unknown = cluster.sh("snapshot diff vol/bucket from to1 -r");
    assert!(
        unknown.starts_with("No snapshot diff job found"),
        "{unknown}"
    );
    let submitted = cluster.sh("snapshot diff vol/bucket from to1");
    assert!(
        submitted.starts_with("Submitting a new job."),
        "{submitted}"
    );
    let report = cluster.sh("snapshot diff vol/bucket from to1 --get-report");
    let expected = "Difference between snapshot: from and snapshot: to1\n\
                    -\t./dir/link\n\
                    R\t./dir/large -> ./dir/renamed\n\
                    +\t./new\n\
                    M\t./dir/deep/kept\n";
    assert_eq!(report, expected);
    let first = cluster.sh("snapshot diff vol/bucket from to1 -r -p 3");
    assert!(first.ends_with("Next token: 3\n"), "{first}");
    let rest = cluster.sh("snapshot diff vol/bucket from to1 -r -p 3 -t 3 --json");
    assert!(rest.contains("\"jobStatus\" : \"DONE\""), "{rest}");
    assert!(
        rest.contains("\"sourcePath\" : \"./dir/deep/kept\""),
        "{rest}"
    );
    assert!(!rest.contains("nextToken"), "{rest}");
    let jobs = cluster.sh("snapshot listDiff vol/bucket --job-status done");
    assert!(jobs.contains("\"totalDiffEntries\" : 4"), "{jobs}");
}

#[test]
fn wrong_requests_about_snapshots_are_refused_with_what_would_be_right() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    cluster.bucket("vol", "other");
    cluster.sh("snapshot create vol/bucket taken");
    cluster.sh("snapshot create vol/bucket later");
    cluster.sh("snapshot create vol/other elsewhere");
    for (line, expected) in [
        ("snapshot create vol/bucket taken", "FILE_ALREADY_EXISTS"),
        ("snapshot create vol/bucket no", "INVALID_SNAPSHOT_ERROR"),
        (
            "snapshot create vol/bucket Upper_Case",
            "INVALID_SNAPSHOT_ERROR",
        ),
        ("snapshot create vol/nothing name", "BUCKET_NOT_FOUND"),
        ("snapshot create nothing/bucket name", "VOLUME_NOT_FOUND"),
        ("snapshot info vol/bucket nothing", "FILE_NOT_FOUND"),
        ("snapshot delete vol/bucket nothing", "FILE_NOT_FOUND"),
        ("snapshot diff vol/bucket taken elsewhere", "FILE_NOT_FOUND"),
        ("snapshot diff vol/bucket later taken", "should be older"),
        (
            "snapshot rename vol/bucket taken new",
            "ozone.om.snapshot.rename.allowed",
        ),
        ("bucket delete vol/bucket", "CONTAINS_SNAPSHOT"),
        ("key cat vol/bucket/.snapshot/nothing/key", "FILE_NOT_FOUND"),
        ("key cat vol/bucket/.snapshot/taken/key", "KEY_NOT_FOUND"),
    ] {
        let text = cluster.sh_refused(line);
        assert!(text.contains(expected), "{line}: {text}");
    }
    let missing = fs::metadata(bucket.join(".snapshot/nothing"));
    assert_eq!(errno(missing), Errno::ENOENT);
    let info = cluster.sh("snapshot info vol/bucket taken");
    for field in [
        "\"snapshotStatus\" : \"SNAPSHOT_ACTIVE\"",
        "\"checkpointDir\" : \"-",
    ] {
        assert!(info.contains(field), "{info}");
    }
    let listed = cluster.sh("snapshot list vol/bucket");
    assert!(
        listed.contains("taken") && listed.contains("later"),
        "{listed}"
    );
    // Without a name, it gets one made of the time.
    let made = cluster.sh("snapshot create vol/bucket --verbose");
    assert!(made.starts_with("Created snapshot 's20"), "{made}");
}
