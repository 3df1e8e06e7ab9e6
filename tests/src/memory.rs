//! What a process takes of the machine's memory.

use std::fs;

/// What it holds now, in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    field(pid, "VmRSS:")
}

/// What of that is its own: not of files, as its program is. In KiB.
pub fn own_kib(pid: u32) -> u64 {
    field(pid, "RssAnon:")
}

/// The most that it has held since it started, or since [`reset_peak`], in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    field(pid, "VmHWM:")
}

/// Forgets the peak.
pub fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak of a process of ours");
}

fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .unwrap_or_else(|| panic!("no {name} in {status}"))
        .parse()
        .expect("a number")
}
