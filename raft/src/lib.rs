//! Raft, once, for everything: OM, SCM and every pipeline of datanodes are state machines behind
//! one small port, [`StateMachine`].
//!
//! A process has one [`RaftHost`]: one network service, one connection per other process, a few
//! fsync threads per disk. A host runs many [`Group`]s. What it promises:
//!
//! - A proposal that was answered is on disk on a majority and survives any crash of a minority.
//! - One fsync covers all entries of a group that wait for it; groups on one disk are fsynced at the
//!   same time.
//! - The log is cut only past what the state machine has flushed, so a state machine needs no
//!   write-ahead log of its own.
//! - [`Group::read_barrier`] makes local reads linearizable.
//!
//! openraft is known to this crate alone; `docs/adr/0001-openraft-0.10.md` says why that version.

mod apply;
mod config;
mod connect;
mod error;
mod group;
mod host;
mod log;
mod machine;
mod net;
mod snapshot;
mod types;
mod wire;

pub use config::{GroupConfig, HostConfig, Peer, RaftOptions};
pub use connect::{ChannelConnect, Connect, PlainConnect};
pub use error::{RaftError, Result};
pub use group::{Group, GroupStatus, Leadership, LogPosition, MAX_COMMAND_BYTES};
pub use host::RaftHost;
pub use machine::{ApplyBatch, Command, StateMachine, StateMachineError};
pub use net::{RaftService, RaftServiceServer};
