//! The tour of the README, pasted as a newcomer does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use ozone_tests::cluster::binary;
use ozone_tests::{Cluster, ClusterOptions};

/// The block of commands under `## A tour`.
fn tour() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, section) = readme.split_once("\n## A tour\n").expect("the tour");
    let (_, block) = section.split_once("\n```sh\n").expect("its commands");
    block.split_once("\n```\n").expect("their end").0.to_owned()
}

/// Where `make up` puts things, seen from a home and a directory of the test.
fn as_after_make_up(cluster: &Cluster, home: &Path) {
    fs::create_dir_all(home.join("ozone")).unwrap();
    symlink(cluster.mountpoint(), home.join("ozone/mnt")).unwrap();
    fs::create_dir(home.join("target")).unwrap();
    let programs = binary().parent().unwrap().to_owned();
    symlink(programs, home.join("target/debug")).unwrap();
}

#[test]
fn the_tour_of_the_readme_works_when_it_is_pasted() {
    let cluster = Cluster::start(ClusterOptions::default());
    let home = cluster.scratch().join("home");
    as_after_make_up(&cluster, &home);
    // The usual ports may be taken here.
    let gateway = cluster.summary().iter().find(|line| line.contains(" S3 "));
    let gateway = gateway.unwrap().split_whitespace().last().unwrap();
    let tour = tour();
    assert!(tour.contains(" http://127.0.0.1:9878 "), "{tour}");
    let tour = tour.replace("http://127.0.0.1:9878", gateway);
    // Twice: whoever has seen it once may paste it again.
    for _ in 0..2 {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &tour])
            .current_dir(&home)
            .env("HOME", &home)
            .env("OZONE-SITE.XML_ozone.om.address", cluster.om_address())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        let listed = told.find("/s3v/tour/letters/first\n");
        let listed = listed.unwrap_or_else(|| panic!("nothing is listed: {told}"));
        let letters = told[listed..].matches("Dear Bilbo,\n").count();
        assert_eq!(letters, 2, "by S3, and from the snapshot: {told}");
        assert!(told.contains("Submitting a new job."), "{told}");
        let difference = "Difference between snapshot: monday and snapshot: tuesday\n\
                          -\t./letters\n\
                          +\t./letters\n\
                          +\t./letters/first\n\
                          +\t./note\n";
        assert!(told.contains(difference), "{told}");
        let left: Vec<_> = fs::read_dir(cluster.mountpoint().join("s3v"))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
