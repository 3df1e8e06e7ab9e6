//! The datanode: containers of blocks on disks.
//!
//! Chunk data goes straight to block files and from datanode to datanode; what makes bytes exist is
//! a commit in the log of the container's pipeline, which binds their length and checksums. What
//! was committed is served with its checksums, and nothing else is.
//!
//! Read in this order: [`container`] (what is on disk), `ops` (the commands), `pipeline` (how a
//! commit gets to all members), `door` (files lent to clients of the same machine), `peer` (what datanodes ask one another), `heartbeat` (what SCM is
//! told and asks for).

pub mod chunk;
pub mod container;
mod door;
mod error;
mod heartbeat;
mod identity;
mod io;
mod join;
pub mod layout;
mod lifecycle;
mod node;
mod ops;
mod options;
mod peer;
mod pipeline;
mod repair;
mod rows;
mod scanner;
mod security;
mod sequence;
mod server;
mod service;
mod sweep;
mod tokens;
mod volume;

pub use error::{OpError, OpResult, StartError};
pub use options::DatanodeOptions;
pub use server::{Addresses, DatanodeServer};
