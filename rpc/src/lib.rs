//! Calls between processes: gRPC listeners and channels, tuned alike on both ends, who is at the
//! other end, and what to do when nobody answers.
//!
//! * [`server`] serves tonic services on a listener with an identity (plaintext on loopback, or
//!   TLS) and stops gracefully.
//! * [`channel`] keeps one channel per address.
//! * [`failover`] finds the leader among several servers and retries within a deadline.
//! * [`trust`] says in words when two ends do not trust each other.
//! * [`local`] hands open files to clients of the same machine.
//! * [`call`] numbers calls, so that a retry can be told from a new call.

pub mod call;
pub mod channel;
pub mod failover;
pub mod local;
pub mod server;
mod stream;
pub mod trust;

/// Largest message, in bytes. Clients and services must both be told:
/// `.max_decoding_message_size(MAX_MESSAGE)`.
pub const MAX_MESSAGE: usize = 64 << 20;
/// Flow-control window of one call, in bytes: what may be on its way unread.
pub const STREAM_WINDOW: u32 = 8 << 20;
/// Flow-control window of a connection, in bytes.
pub const CONNECTION_WINDOW: u32 = 32 << 20;
/// Largest HTTP/2 frame, in bytes; both ends have to ask for it.
pub const MAX_FRAME: u32 = 1 << 20;
