//! Random changes of a tree, made on the mount and on a local directory: both look the same, from this
//! mount, from another one, and after a restart.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, io};

use ozone_tests::content::{number, rng};
use ozone_tests::tree::{Change, compare};
use ozone_tests::{Cluster, ClusterOptions};
use rand::Rng;

#[test]
fn random_changes_of_a_tree_look_the_same_to_everybody() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let here = cluster.bucket("vol", "bucket");
    let second = cluster.mount_again();
    let there = second.path().join("vol/bucket");
    let local = cluster.scratch().join("local");
    fs::create_dir(&local).unwrap();
    let mut rng = rng();
    for step in 0..number("STEPS", 1500) {
        let change = Change::any(&mut rng);
        let (expected, found) = (change.make(&local), change.make(&here));
        let kind = |result: &io::Result<()>| result.as_ref().err().map(io::Error::raw_os_error);
        let what = format!(
            "step {step}: {} {:?} {:?}",
            change.kind, change.path, change.other
        );
        assert_eq!(kind(&expected), kind(&found), "{what}");
        // Long stretches alone, in which the mount makes things in memory, and looks by others.
        match rng.random_range(0..400) {
            0 => compare(&local, &there, &format!("{what}, there")),
            1 => compare(&local, &here, &format!("{what}, here")),
            2 => {
                cluster.alone(&here);
            }
            _ => {}
        }
    }
    compare(&local, &there, "at the end, there");
    compare(&local, &here, "at the end, here");
    drop(second);
    cluster.stop();
    cluster.restart();
    compare(&local, &here, "after a restart");
}
