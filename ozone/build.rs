//! Tells the binary from which revision of the source it is.

use std::path::Path;
use std::process::Command;

fn main() {
    // Written at every commit and checkout; where there is none, the revision stays the same.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists());
    println!(
        "cargo:rerun-if-changed={}",
        log.as_deref().unwrap_or("build.rs")
    );
    let revision = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=OZONE_REVISION={revision}");
}

/// What git says, if this is a clone and there is a git.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
