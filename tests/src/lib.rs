//! What the end-to-end tests stand on: clusters that are real processes, killed and restarted, on
//! directories that can lose power.
//!
//! Everything here panics with what to do when the machine lacks something: a test that cannot run
//! is a failure, never a pass.

#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod blocks;
pub mod cluster;
pub mod content;
pub mod corrupt;
pub mod credentials;
pub mod daemons;
pub mod http;
pub mod memory;
pub mod ozone_fs;
pub mod ports;
pub mod power;
pub mod refused;
pub mod s3;
pub mod shared;
pub mod shell;
mod site;
pub mod sources;
pub mod tree;
pub mod wait;

pub use cluster::{Cluster, ClusterOptions};
pub use daemons::{Daemon, DaemonOptions, Daemons};
pub use refused::Refused;
