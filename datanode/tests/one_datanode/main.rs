//! One datanode on real sockets, with pipelines of one.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![recursion_limit = "256"]

mod bed;
mod blocks;
#[path = "../common/mod.rs"]
mod common;
mod containers;
mod daemon;
mod durability;
mod peers;
mod tokens;
