//! Programs that the tests run, and what they and the filesystem refuse.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use nix::errno::Errno;

use crate::Cluster;

/// Exit code of a command that could not do its work.
const FAILED: i32 = 255;

impl Cluster {
    /// Runs `ozone sh` with the words of `line`, which has to succeed; gives what it printed.
    pub fn sh(&self, line: &str) -> String {
        let output = self.run_sh(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What `ozone sh` says when it refuses the words of `line`, as it has to.
    pub fn sh_refused(&self, line: &str) -> String {
        let output = self.run_sh(line);
        assert_eq!(output.status.code(), Some(FAILED), "{line}: {output:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    fn run_sh(&self, line: &str) -> Output {
        let words: Vec<_> = ["sh"].into_iter().chain(line.split(' ')).collect();
        self.ozone(&words)
    }
}

/// What the filesystem refuses with, as it has to.
pub fn errno<T: fmt::Debug>(result: io::Result<T>) -> Errno {
    let error = result.expect_err("an error");
    Errno::from_raw(error.raw_os_error().expect("an errno"))
}

/// Runs `program` in `dir`; panics with its output when it fails, else gives what it printed.
pub fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        // What git finds in the home of the user must not matter.
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap_or_else(|e| panic!("{program} does not start: {e}: install it"));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {args:?} in {}: {}\n{out}{}",
        dir.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    out
}
