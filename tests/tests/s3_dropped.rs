//! Uploads that nobody ends: the client is killed in the middle, or the gateway is. There is no key, and the blocks
//! that were written already are given back on the datanode's disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ozone_tests::blocks;
use ozone_tests::content::bytes;
use ozone_tests::s3::{Request, S3};
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};

const MIB: u64 = 1 << 20;
/// What a cluster wrote to find out that it is ready, and may keep as long as it runs.
const PROBE: u64 = 64 << 10;
/// How long it may take until something is sent, or freed.
const LIMIT: Duration = Duration::from_secs(90);
/// Bytes of the file that is sent.
const SIZE: usize = 64 << 20;

struct Bed {
    cluster: Cluster,
    s3: S3,
    file: PathBuf,
}

fn bed() -> Bed {
    let sets = [
        "ozone.block.deleting.service.interval=300ms",
        "ozone.om.freed.block.grace=500ms",
    ];
    let cluster = Cluster::start(ClusterOptions {
        sets: sets.map(str::to_owned).to_vec(),
        ..ClusterOptions::default()
    });
    let s3 = S3::of(&cluster, "bilbo");
    assert_eq!(s3.ask("PUT", "/bucket", b"").status, 200);
    let file = cluster.scratch().join("file");
    fs::write(&file, bytes(1, SIZE)).unwrap();
    Bed { cluster, s3, file }
}

impl Bed {
    fn used(&self) -> u64 {
        blocks::used(&self.cluster.dir().join("datanode-1/data"))
    }

    /// rclone, slow enough to be killed in the middle, which takes it seconds: as one request, or in
    /// parts of 16 MiB.
    fn sender(&self, parts: bool) -> Command {
        let mut command = self.s3.rclone_command();
        let cutoff = if parts { "16M" } else { "1G" };
        command
            .args(["copyto", self.file.to_str().unwrap(), "s3:bucket/key"])
            .args(["--low-level-retries", "1"])
            .args(["--bwlimit", "4M", "--s3-upload-cutoff", cutoff])
            .args(["--s3-chunk-size", "16M", "--s3-upload-concurrency", "1"]);
        command
    }

    /// Kills a client when so much of what it sends is on the datanode's disk.
    fn kill_when_used(&self, mut sender: Command, bytes: u64) {
        let mut child = sender.spawn().expect("rclone: run scripts/setup.sh");
        wait_for(LIMIT, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended by itself: {ended:?}");
            match self.used() {
                used if used >= bytes => Ok(()),
                used => Err(format!("{used} bytes were written")),
            }
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[track_caller]
    fn no_key(&self) {
        let answer = self.s3.ask("GET", "/bucket/key", b"");
        assert_eq!((answer.status, answer.code()), (404, "NoSuchKey"));
        let listed = self.s3.ask("GET", "/bucket", b"");
        assert!(!listed.text.contains("<Contents>"), "{}", listed.text);
    }

    fn no_blocks(&self) {
        wait_for(LIMIT, || match self.used() {
            used if used <= PROBE => Ok(()),
            used => Err(format!("blocks take {used} bytes")),
        });
    }

    /// The id of the one upload that there is; empty where there is none.
    fn upload(&self) -> String {
        let listed = self
            .s3
            .ask_with("GET", ("/bucket", &[("uploads", "")]), b"");
        assert_eq!(listed.status, 200, "{}", listed.text);
        listed.element("UploadId").to_owned()
    }
}

#[test]
fn a_client_that_is_killed_in_the_middle_of_a_put_leaves_nothing() {
    let bed = bed();
    bed.kill_when_used(bed.sender(false), 8 * MIB);
    bed.no_key();
    bed.no_blocks();
    bed.no_key();
    // The name is free, and the gateway goes on.
    assert_eq!(bed.s3.ask("PUT", "/bucket/key", b"whole").status, 200);
}

#[test]
fn parts_of_a_client_that_was_killed_go_when_its_upload_is_aborted() {
    let bed = bed();
    // One part is there, another is on its way.
    bed.kill_when_used(bed.sender(true), 20 * MIB);
    bed.no_key();
    let id = bed.upload();
    let of = ("/bucket/key", &[("uploadId", id.as_str())][..]);
    let parts = bed.s3.ask_with("GET", of, b"");
    assert_eq!(parts.element("PartNumber"), "1", "{}", parts.text);
    // The gateway may have had the whole of the second one by then.
    let count = parts.text.matches("<Part>").count();
    assert!((1..=2).contains(&count), "{}", parts.text);
    // What was on its way goes by itself; what was acknowledged stays until it is given up.
    wait_for(LIMIT, || match bed.used() {
        used if used <= count as u64 * 16 * MIB + PROBE => Ok(()),
        used => Err(format!("blocks take {used} bytes")),
    });
    assert!(
        bed.used() >= count as u64 * 16 * MIB,
        "a part that was acknowledged is gone"
    );
    assert_eq!(bed.s3.ask_with("DELETE", of, b"").status, 204);
    bed.no_blocks();
    bed.no_key();
}

#[test]
fn parts_of_a_client_that_was_killed_go_when_its_upload_is_old() {
    let mut bed = bed();
    bed.kill_when_used(bed.sender(true), 20 * MIB);
    assert_ne!(bed.upload(), "");
    bed.cluster.set("ozone.om.open.mpu.expire.threshold=1s");
    bed.cluster
        .set("ozone.om.open.mpu.cleanup.service.interval=500ms");
    bed.cluster.stop();
    bed.cluster.restart();
    bed.s3.follow(&bed.cluster);
    bed.no_blocks();
    bed.no_key();
    assert_eq!(bed.upload(), "");
}

#[test]
fn a_gateway_that_is_killed_in_the_middle_of_a_put_leaves_nothing() {
    let mut bed = bed();
    let mut child = bed.sender(false).spawn().unwrap();
    wait_for(LIMIT, || match bed.used() {
        used if used >= 8 * MIB => Ok(()),
        used => Err(format!("{used} bytes were written")),
    });
    bed.cluster.kill9();
    assert!(!child.wait().unwrap().success(), "nobody has answered");
    bed.cluster.restart();
    bed.s3.follow(&bed.cluster);
    bed.no_key();
    // The blocks are the session's of the gateway that is no more, until the session ends.
    bed.no_blocks();
    bed.no_key();
}

#[test]
fn an_upload_that_is_refused_at_its_end_leaves_no_blocks() {
    let bed = bed();
    let content = bytes(2, 5 << 20);
    let mut wrong = Request {
        method: "PUT",
        path: "/bucket/key".to_owned(),
        body: content.clone(),
        ..Request::default()
    };
    bed.s3.sign(&mut wrong);
    wrong.body[(5 << 20) - 1] ^= 1;
    let answer = bed.s3.send(&wrong);
    let refused = (answer.status, answer.code());
    assert_eq!(refused, (400, "XAmzContentSHA256Mismatch"));
    // A condition is looked at when all of it is there.
    let mut conditional = Request {
        method: "PUT",
        path: "/bucket/key".to_owned(),
        body: content,
        headers: vec![("if-match".to_owned(), "\"none\"".to_owned())],
        ..Request::default()
    };
    bed.s3.sign(&mut conditional);
    assert!((400..500).contains(&bed.s3.send(&conditional).status));
    bed.no_key();
    bed.no_blocks();
}

#[test]
fn an_upload_whose_client_does_not_wait_is_whole_or_nothing() {
    let bed = bed();
    let sizes = [5, 16 << 10, (16 << 10) + 1, 3 << 20];
    let key = |size: usize| format!("/bucket/key-{size}");
    for size in sizes {
        let content = bytes(size as u64, size);
        let mut request = Request {
            method: "PUT",
            path: key(size),
            body: content.clone(),
            ..Request::default()
        };
        bed.s3.sign(&mut request);
        bed.s3.drop_after(&request);
        let answer = bed.s3.ask("GET", &request.path, b"");
        match answer.status {
            200 => assert!(answer.body == content, "a part of {size} bytes"),
            _ => assert_eq!(answer.code(), "NoSuchKey"),
        }
    }
    // Again and again: a commit that was under way may come late.
    wait_for(LIMIT, || {
        for size in sizes {
            assert_eq!(bed.s3.ask("DELETE", &key(size), b"").status, 204);
        }
        match bed.used() {
            used if used <= PROBE => Ok(()),
            used => Err(format!("blocks take {used} bytes")),
        }
    });
}
