//! The log on disk: segmented files that are allocated ahead, group commit, and recovery.
//!
//! `<group>/current/` holds closed segments (`log_<first>-<last>`), the one being written
//! (`log_inprogress_<first>`), `raft-meta` (vote, and how far the log was purged) and
//! `raft-meta.conf` (the membership last seen, for operators). The next segment is zero-filled in
//! advance under the name `segment.next`, so that an fsync of entries touches no metadata of the
//! filesystem.

mod conf;
mod flusher;
mod frame;
mod housekeeper;
mod meta;
mod recovery;
mod segment;
mod state;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use flusher::Flushers;
pub(crate) use store::{LogOptions, LogStore};
