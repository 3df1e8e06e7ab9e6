//! S3 as its users know it: boto3 and Amazon's command line against a whole cluster.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use ozone_tests::content::bytes;
use ozone_tests::s3::S3;
use ozone_tests::{Cluster, ClusterOptions};

fn cluster() -> (Cluster, S3) {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    (cluster, s3)
}

#[test]
fn boto3_puts_reads_and_deletes_keys() {
    let (_cluster, s3) = cluster();
    s3.script("objects.py");
}

#[test]
fn boto3_lists_thousands_of_keys_in_order() {
    let (_cluster, s3) = cluster();
    s3.script("listing.py");
}

#[test]
fn boto3_keeps_metadata_and_tags_and_copies_keys() {
    let (_cluster, s3) = cluster();
    s3.script("metadata.py");
}

#[test]
fn boto3_uploads_in_parts() {
    let (_cluster, s3) = cluster();
    s3.script("multipart.py");
}

#[test]
fn amazons_command_line_copies_trees_there_and_back() {
    let (cluster, s3) = cluster();
    let (there, back) = (
        cluster.scratch().join("there"),
        cluster.scratch().join("back"),
    );
    fs::create_dir_all(there.join("sub/dir")).unwrap();
    // Sent in parts, and as one.
    let large = bytes(1, 22 << 20);
    fs::write(there.join("large"), &large).unwrap();
    for n in 0..50 {
        fs::write(there.join(format!("sub/dir/{n}")), n.to_string()).unwrap();
    }
    s3.aws(&["s3", "mb", "s3://tree"]);
    s3.aws(&["s3", "sync", there.to_str().unwrap(), "s3://tree/copy"]);
    let listed = s3.aws(&["s3", "ls", "--recursive", "s3://tree"]);
    assert_eq!(listed.lines().count(), 51, "{listed}");
    assert!(
        s3.aws(&["s3", "ls", "s3://tree/copy/"])
            .contains("PRE sub/")
    );
    s3.aws(&["s3", "cp", "s3://tree/copy/large", "s3://tree/moved"]);
    s3.aws(&["s3", "mv", "s3://tree/moved", "s3://tree/copy/again"]);
    s3.aws(&["s3", "sync", "s3://tree/copy", back.to_str().unwrap()]);
    assert_eq!(fs::read(back.join("large")).unwrap(), large);
    assert_eq!(fs::read(back.join("again")).unwrap(), large);
    assert_eq!(fs::read_to_string(back.join("sub/dir/49")).unwrap(), "49");
    s3.aws(&["s3", "rm", "--recursive", "s3://tree"]);
    s3.aws(&["s3", "rb", "s3://tree"]);
}
