//! Large objects by every tool, in parts: `MIB` of the environment, 5120 of them in the long tests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use ozone_tests::content::{bytes, number};
use ozone_tests::s3::S3;
use ozone_tests::{Cluster, ClusterOptions};

const MIB: usize = 1 << 20;

struct Large {
    _cluster: Cluster,
    s3: S3,
    file: PathBuf,
    mib: usize,
}

/// A bucket, and a file whose size is no multiple of a part's.
fn large() -> Large {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    assert_eq!(s3.ask("PUT", "/large", b"").status, 200);
    let (file, mib) = (cluster.scratch().join("file"), number("MIB", 24));
    let mut out = BufWriter::new(File::create(&file).unwrap());
    (0..mib).for_each(|n| out.write_all(&bytes(n as u64, MIB)).unwrap());
    out.write_all(b"the end").unwrap();
    out.into_inner().unwrap().sync_all().unwrap();
    Large {
        _cluster: cluster,
        s3,
        file,
        mib,
    }
}

impl Large {
    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// Runs `work`, and tells how fast it was.
    fn timed(&self, what: &str, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        let rate = self.mib as f64 / start.elapsed().as_secs_f64();
        println!("{what} of {} MiB: {rate:.0} MiB/s", self.mib);
    }

    /// What a program prints is the file, byte by byte, and is never held as a whole.
    fn prints_the_file(&self, command: &mut Command) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = child.stdout.take().unwrap();
        let mut file = File::open(&self.file).unwrap();
        let (mut found, mut wanted) = (vec![0; MIB], vec![0; MIB]);
        loop {
            let length = fill(&mut file, &mut wanted);
            let came = fill(&mut printed, &mut found);
            assert!(
                found[..came] == wanted[..length],
                "{command:?} printed other bytes"
            );
            if length == 0 {
                break;
            }
        }
        assert!(child.wait().unwrap().success(), "{command:?}");
    }
}

/// Reads until the buffer is full or the end is there.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]).unwrap() {
            0 => break,
            read => length += read,
        }
    }
    length
}

#[test]
fn boto3_sends_copies_and_reads_a_large_object() {
    let large = large();
    large.timed("boto3, there, copied and back", || {
        large.s3.script_with("large.py", &[large.path()]);
    });
}

#[test]
fn amazons_command_line_sends_and_reads_a_large_object() {
    let large = large();
    large.timed("aws s3 cp, there", || {
        large
            .s3
            .aws(&["s3", "cp", "--no-progress", large.path(), "s3://large/aws"]);
    });
    large.timed("aws s3 cp, back", || {
        let mut back = large.s3.aws_command();
        large.prints_the_file(back.args(["s3", "cp", "s3://large/aws", "-"]));
    });
    large.timed("aws s3 cp, copied", || {
        large.s3.aws(&[
            "s3",
            "cp",
            "--no-progress",
            "s3://large/aws",
            "s3://large/copy",
        ]);
    });
    large.timed("aws s3 cp, the copy back", || {
        let mut back = large.s3.aws_command();
        large.prints_the_file(back.args(["s3", "cp", "s3://large/copy", "-"]));
    });
}

#[test]
fn s3cmd_sends_and_reads_a_large_object() {
    let large = large();
    large.timed("s3cmd put", || {
        large.s3.s3cmd(&["put", large.path(), "s3://large/s3cmd"]);
    });
    large.timed("s3cmd get", || {
        let mut back = large.s3.s3cmd_command();
        large.prints_the_file(back.args(["get", "s3://large/s3cmd", "-"]));
    });
}

#[test]
fn rclone_sends_and_reads_a_large_object() {
    let large = large();
    let parts = ["--s3-upload-cutoff", "16M", "--s3-chunk-size", "16M"];
    large.timed("rclone copyto", || {
        let copy = ["copyto", large.path(), "s3:large/rclone"];
        large.s3.rclone(&[&copy[..], &parts].concat());
    });
    large.timed("rclone cat", || {
        let mut back = large.s3.rclone_command();
        large.prints_the_file(back.args(["cat", "s3:large/rclone"]));
    });
}
