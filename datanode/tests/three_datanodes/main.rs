//! Three datanodes in one process on real sockets: chunks passed on, commits by majority, repair,
//! copies, scans, members that move or fall behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![recursion_limit = "256"]

mod bed;
#[path = "../common/mod.rs"]
mod common;
mod containers;
mod damaged_logs;
mod moves;
mod writing;
