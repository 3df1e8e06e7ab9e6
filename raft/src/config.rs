//! What a host and a group are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::disk::{Disk, RealDisk};
use uuid::Uuid;

use crate::connect::{Connect, PlainConnect};

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Id of the process that is the member; the same in every group.
    pub id: Uuid,
    /// `host:port` of its Raft listener.
    pub address: String,
}

/// What one process is told.
#[derive(Clone)]
pub struct HostConfig {
    /// Id of this process as a member of groups. It must outlive restarts, and never be given to a
    /// process that lost its logs.
    pub node_id: Uuid,
    /// How connections to other members come about.
    pub connect: Arc<dyn Connect>,
}

impl HostConfig {
    /// A host that talks plain TCP.
    pub fn new(node_id: Uuid) -> Self {
        Self {
            node_id,
            connect: Arc::new(PlainConnect),
        }
    }
}

/// What one group is told.
#[derive(Clone)]
pub struct GroupConfig {
    /// Id of the group, the same on every member.
    pub group_id: Uuid,
    /// The group lives in the directory of its id in here.
    pub storage_dir: PathBuf,
    /// Members to start with. Every member may be started with the same list; once the log holds
    /// anything, the list is ignored. Empty: a member to be, which waits for a leader to add it.
    pub members: Vec<Peer>,
    /// Timing and storage.
    pub options: RaftOptions,
}

/// Timing and storage of a group.
#[derive(Debug, Clone)]
pub struct RaftOptions {
    /// Between heartbeats of an idle leader.
    pub heartbeat: Duration,
    /// Least silence of the leader before a member stands for election.
    pub election_min: Duration,
    /// Most silence before that. Also how long a leader may serve reads on its lease.
    pub election_max: Duration,
    /// How long a proposal waits for its answer.
    pub propose_timeout: Duration,
    /// Size of a log file, which is allocated at once.
    pub segment_bytes: u64,
    /// Entries applied between two flushes of the state machine, after which the log may be cut.
    /// `None`: never, the log is kept whole.
    pub flush_after_entries: Option<u64>,
    /// Entries kept although flushed, so that a member that was away for a moment catches up from
    /// the log instead of a copy of the state.
    pub retain_entries: u64,
    /// Bytes of recent entries held in memory for followers and for apply.
    pub cache_bytes: usize,
    /// The disk that holds the log.
    pub disk: Arc<dyn Disk>,
}

impl Default for RaftOptions {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election_min: Duration::from_millis(600),
            election_max: Duration::from_millis(1200),
            propose_timeout: Duration::from_secs(30),
            segment_bytes: 8 << 20,
            flush_after_entries: Some(50_000),
            retain_entries: 20_000,
            cache_bytes: 4 << 20,
            disk: Arc::new(RealDisk),
        }
    }
}
