//! Programs that the tests run.

use std::path::Path;
use std::process::Command;

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
