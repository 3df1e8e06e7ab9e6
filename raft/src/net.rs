//! Talking to other members: one connection per process, shared by all groups, and one service that
//! serves all groups.

mod client;
mod receive;
mod server;
mod transfer;

pub(crate) use client::{Connections, Network};
pub use server::{RaftService, RaftServiceServer};
