//! `ozone fs`, as scripts run it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::Cluster;
use crate::cluster::binary;

/// `ozone fs` on the cluster.
pub fn command(cluster: &Cluster) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("--set")
        .arg(format!("ozone.om.address={}", cluster.om_address()))
        .arg("fs");
    command
}

/// Runs `ozone fs` with these words, in a time zone that is not Greenwich.
pub fn fs_with(cluster: &Cluster, words: &[&str], input: &[u8]) -> Output {
    let mut child = command(cluster)
        .args(words)
        .env("TZ", "UTC-2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().expect("the end of the process")
}

/// What a command that succeeds prints.
pub fn ok(cluster: &Cluster, words: &[&str]) -> String {
    let output = fs_with(cluster, words, b"");
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that ends with `code` says on stderr.
pub fn refused(cluster: &Cluster, code: i32, words: &[&str]) -> String {
    let output = fs_with(cluster, words, b"");
    assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The exit code of a command.
pub fn code(cluster: &Cluster, words: &[&str]) -> i32 {
    fs_with(cluster, words, b"").status.code().unwrap()
}
