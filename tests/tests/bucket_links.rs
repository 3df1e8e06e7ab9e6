//! Bucket links in the real processes: a bucket under another name, by every door.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use nix::errno::Errno;
use ozone_tests::s3::S3;
use ozone_tests::shell::errno;
use ozone_tests::{Cluster, ClusterOptions, ozone_fs};

#[test]
fn a_bucket_is_the_same_by_its_links_whatever_the_door() {
    for layout in ["fso", "obs"] {
        let cluster = Cluster::start(ClusterOptions::default());
        let mount = cluster.mountpoint();
        cluster.sh("volume create s3v");
        cluster.sh("volume create data");
        assert_eq!(cluster.sh("bucket link data/source s3v/link"), "");
        // It need not lead anywhere yet.
        assert!(
            cluster
                .sh_refused("key list s3v/link")
                .contains("BUCKET_NOT_FOUND")
        );
        assert_eq!(errno(fs::read_dir(mount.join("s3v/link"))), Errno::ENOENT);
        cluster.sh(&format!("bucket create -l {layout} data/source"));
        let s3 = S3::of(&cluster, "bilbo");
        assert_eq!(s3.ask("HEAD", "/link", b"").status, 200);
        assert_eq!(s3.ask("PUT", "/link/dir/key", b"by S3").status, 200);
        let large = vec![7; 3 << 20];
        assert_eq!(s3.ask("PUT", "/link/large", &large).status, 200);
        assert_eq!(
            fs::read(mount.join("data/source/dir/key")).unwrap(),
            b"by S3"
        );
        assert_eq!(fs::read(mount.join("s3v/link/dir/key")).unwrap(), b"by S3");
        assert!(fs::read(mount.join("s3v/link/large")).unwrap() == large);
        fs::write(mount.join("s3v/link/file"), "by the mount").unwrap();
        assert_eq!(cluster.sh("key cat data/source/file"), "by the mount");
        assert_eq!(cluster.sh("key cat s3v/link/file"), "by the mount");
        assert_eq!(s3.ask("GET", "/link/file", b"").body, b"by the mount");
        let file = cluster.scratch().join("file");
        fs::write(&file, vec![8; 1 << 20]).unwrap();
        cluster.sh(&format!("key put s3v/link/put {}", file.display()));
        assert!(fs::read(mount.join("data/source/put")).unwrap() == vec![8; 1 << 20]);
        if layout == "fso" {
            let listed = ozone_fs::ok(&cluster, &["-ls", "/s3v/link"]);
            assert!(listed.contains("/s3v/link/file"), "{listed}");
            assert_eq!(
                ozone_fs::ok(&cluster, &["-cat", "/s3v/link/file"]),
                "by the mount"
            );
            ozone_fs::ok(&cluster, &["-mkdir", "-p", "/s3v/link/made/here"]);
            assert!(mount.join("data/source/made/here").is_dir());
        }
        // A snapshot by a link is the source's.
        cluster.sh("snapshot create s3v/link snap1");
        assert!(cluster.sh("snapshot list data/source").contains("snap1"));
        assert_eq!(
            cluster.sh("key cat s3v/link/.snapshot/snap1/file"),
            "by the mount"
        );
        assert_eq!(
            fs::read(mount.join("s3v/link/.snapshot/snap1/file")).unwrap(),
            b"by the mount"
        );
        cluster.sh("snapshot delete s3v/link snap1");
        assert_eq!(s3.ask("DELETE", "/link/file", b"").status, 204);
        assert_eq!(
            errno(fs::metadata(mount.join("data/source/file"))),
            Errno::ENOENT
        );
        // The link goes, the source stays, even where everything was to go.
        assert_eq!(
            cluster.sh("bucket delete -r -y s3v/link"),
            "Bucket link is deleted\n"
        );
        assert_eq!(
            fs::read(mount.join("data/source/dir/key")).unwrap(),
            b"by S3"
        );
        assert!(!mount.join("s3v/link").exists());
    }
}

#[test]
fn a_link_is_shown_as_ozone_shows_it() {
    let cluster = Cluster::start(ClusterOptions::default());
    cluster.sh("volume create vol");
    cluster.sh("bucket create vol/source");
    cluster.sh("bucket link vol/source vol/link");
    let info = cluster.sh("bucket info vol/link");
    for field in [
        r#""volumeName" : "vol""#,
        r#""name" : "link""#,
        r#""sourceVolume" : "vol""#,
        r#""sourceBucket" : "source""#,
        r#""creationTime""#,
        r#""modificationTime""#,
        r#""link" : true"#,
    ] {
        assert!(info.contains(field), "{field}: {info}");
    }
    assert!(!info.contains("metadata"), "{info}");
    assert!(cluster.sh("bucket list vol").contains(r#""name" : "link""#));
    let mount = cluster.mountpoint();
    let target = fs::read_link(mount.join("vol/link")).unwrap();
    assert_eq!(target.to_str(), Some("../vol/source"));
    for line in ["bucket link vol/other vol/link", "bucket create vol/link"] {
        assert!(
            cluster.sh_refused(line).contains("BUCKET_ALREADY_EXISTS"),
            "{line}"
        );
    }
    let taken = cluster.sh_refused("bucket link vol/link vol/source");
    assert!(taken.contains("BUCKET_ALREADY_EXISTS"), "{taken}");
    let bad = cluster.sh_refused("bucket link vol/source vol/Bad_Name");
    assert!(bad.contains("INVALID_BUCKET_NAME"), "{bad}");
    fs::remove_file(mount.join("vol/link")).unwrap();
    assert!(
        cluster
            .sh_refused("bucket info vol/link")
            .contains("BUCKET_NOT_FOUND")
    );
    cluster.sh("bucket info vol/source");
}

#[test]
fn links_in_a_circle_are_detected_where_they_are_used() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    cluster.sh("volume create vol");
    for (source, link) in [("one", "two"), ("two", "three"), ("three", "one")] {
        cluster.sh(&format!("bucket link vol/{source} vol/{link}"));
    }
    let look = |cluster: &Cluster| {
        let text = cluster.sh_refused("key list vol/two");
        assert!(text.contains("DETECTED_LOOP_IN_BUCKET_LINKS"), "{text}");
        let found = fs::read_dir(cluster.mountpoint().join("vol/two"));
        assert_eq!(errno(found), Errno::ELOOP);
        cluster.sh("bucket info vol/two");
    };
    look(&cluster);
    cluster.kill9();
    cluster.restart();
    look(&cluster);
}

#[test]
fn a_snapshot_read_by_a_link_is_that_of_the_bucket_where_the_link_leads_now() {
    let cluster = Cluster::start(ClusterOptions::default());
    cluster.sh("volume create s3v");
    cluster.sh("volume create data");
    let s3 = S3::of(&cluster, "bilbo");
    for bucket in ["aaa", "bbb"] {
        cluster.sh(&format!("bucket create -l fso data/{bucket}"));
        let file = cluster.mountpoint().join("data").join(bucket).join("f");
        fs::write(file, bucket).unwrap();
    }
    cluster.sh("bucket link data/aaa s3v/link");
    cluster.sh("snapshot create data/aaa s01");
    cluster.sh("snapshot create data/bbb s01");
    for bucket in ["aaa", "bbb"] {
        cluster.sh("bucket delete s3v/link");
        cluster.sh(&format!("bucket link data/{bucket} s3v/link"));
        // Made after the snapshots, which know nothing of it.
        cluster.sh(&format!("bucket link data/{bucket} s3v/new-{bucket}"));
        for link in ["link".to_owned(), format!("new-{bucket}")] {
            let got = s3.ask("GET", &format!("/{link}/.snapshot/s01/f"), b"");
            assert_eq!(got.body, bucket.as_bytes(), "{link}");
            let key = format!("s3v/{link}/.snapshot/s01/f");
            assert_eq!(cluster.sh(&format!("key cat {key}")), bucket);
            let printed = ozone_fs::ok(&cluster, &["-cat", &format!("/{key}")]);
            assert_eq!(printed, bucket);
            let info = cluster.sh(&format!("key info {key}"));
            assert!(info.contains(&link) && info.contains("s3v"), "{info}");
        }
    }
}

#[test]
fn links_in_a_circle_stop_nothing_and_can_be_removed() {
    let cluster = Cluster::start(ClusterOptions::default());
    cluster.sh("volume create vol");
    cluster.sh("bucket create -l fso vol/bucket");
    cluster.sh("bucket create -l obs vol/objects");
    cluster.sh("bucket link vol/lna vol/lnb");
    cluster.sh("bucket link vol/lnb vol/lna");
    fs::write(cluster.mountpoint().join("vol/bucket/f"), "12345").unwrap();
    let sum = ozone_fs::ok(&cluster, &["-count", "/vol"]);
    let words: Vec<_> = sum.split_whitespace().collect();
    assert_eq!((words[1], words[2]), ("1", "5"), "{sum}");
    assert_eq!(ozone_fs::ok(&cluster, &["-expunge", "-immediate"]), "");
    let all = ozone_fs::fs_with(&cluster, &["-ls", "-R", "-C", "/vol"], b"");
    let (paths, said) = (
        String::from_utf8(all.stdout).unwrap(),
        String::from_utf8(all.stderr).unwrap(),
    );
    assert!(paths.contains("/vol/bucket/f\n"), "{paths}");
    assert!(
        paths.contains("/vol/objects\n") && said.contains("OBJECT_STORE"),
        "{paths}{said}"
    );
    cluster.sh("bucket delete vol/lna");
    fs::remove_file(cluster.mountpoint().join("vol/lnb")).unwrap();
    assert!(!cluster.sh("bucket list vol").contains("ln"));
}
