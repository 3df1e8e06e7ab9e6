//! The client against an OM and datanodes that stand in for real ones on loopback, and that lose
//! replies, die, lie and hesitate when they are told to.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod faults;
mod node;
mod objects;
mod om;
mod om_calls;
mod reads;
mod sessions;
mod writes;
