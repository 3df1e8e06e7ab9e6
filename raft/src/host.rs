//! What the groups of one process share.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::RwLock;
use tonic::Status;
use uuid::Uuid;

use crate::error::io_error;
use crate::group::Shared;
use crate::log::Flushers;
use crate::net::{Connections, RaftService, RaftServiceServer};
use crate::types::MemberId;
use crate::wire;
use crate::{Group, GroupConfig, HostConfig, Peer, RaftError, Result, StateMachine};

/// The groups of a process by id; `None` while one is being opened.
pub(crate) struct Registry {
    node_id: Uuid,
    groups: RwLock<HashMap<Uuid, Option<Opened>>>,
}

#[derive(Clone)]
struct Opened {
    group: Arc<Group>,
    config: Arc<GroupConfig>,
}

impl Registry {
    fn opened(&self, id: Uuid) -> Option<Opened> {
        self.groups.read().get(&id).cloned().flatten()
    }

    /// The group that a message is for, if the message is for this process at all.
    pub(crate) fn route(&self, group: &[u8], to: &[u8]) -> Result<Arc<Group>, Status> {
        let (group, to) = (wire::read_id(group)?, wire::read_id(to)?);
        if to != self.node_id {
            let message = format!("meant for member {to}, this is {}", self.node_id);
            return Err(Status::failed_precondition(message));
        }
        let opened = self.opened(group).map(|opened| opened.group);
        opened.ok_or_else(|| Status::not_found(format!("group {group} is not open here")))
    }
}

/// All groups of one process.
pub struct RaftHost {
    registry: Arc<Registry>,
    connections: Arc<Connections>,
    flushers: Arc<Flushers>,
}

impl RaftHost {
    /// A host without groups.
    pub fn new(config: HostConfig) -> Result<Arc<Self>> {
        let HostConfig { node_id, connect } = config;
        Ok(Arc::new(Self {
            registry: Arc::new(Registry {
                node_id,
                groups: RwLock::default(),
            }),
            connections: Arc::new(Connections::new(connect)),
            flushers: Arc::default(),
        }))
    }

    /// Id of this process as a member of groups.
    pub fn node_id(&self) -> Uuid {
        self.registry.node_id
    }

    /// The service that other members talk to, to be added to a tonic router.
    pub fn service(self: &Arc<Self>) -> RaftServiceServer {
        RaftService::server(self.registry.clone())
    }

    /// Opens a group that was here before, or takes part in a new one.
    pub async fn open_group(
        self: &Arc<Self>,
        config: GroupConfig,
        machine: Arc<dyn StateMachine>,
    ) -> Result<Arc<Group>> {
        let id = config.group_id;
        match self.registry.groups.write().entry(id) {
            Entry::Occupied(_) => return Err(RaftError::AlreadyOpen(id)),
            Entry::Vacant(place) => place.insert(None),
        };
        let shared = Shared {
            me: MemberId(self.node_id()),
            connections: self.connections.clone(),
            flushers: self.flushers.clone(),
        };
        let config = Arc::new(config);
        match Group::open(GroupConfig::clone(&config), machine, shared).await {
            Ok(group) => {
                let opened = Opened {
                    group: group.clone(),
                    config,
                };
                self.registry.groups.write().insert(id, Some(opened));
                Ok(group)
            }
            Err(cause) => {
                self.registry.groups.write().remove(&id);
                Err(cause)
            }
        }
    }

    /// Tells where a member is by now. Logs keep the address with which it joined; this one is used
    /// instead, in every group, until the process ends.
    pub fn relocate(&self, peer: Peer) {
        self.connections.relocate(peer);
    }

    /// The member where it was last said to be.
    pub fn locate(&self, peer: &Peer) -> Peer {
        self.connections.locate(peer)
    }

    /// An open group.
    pub fn group(&self, id: Uuid) -> Option<Arc<Group>> {
        self.registry.opened(id).map(|opened| opened.group)
    }

    /// Ids of the open groups.
    pub fn group_ids(&self) -> Vec<Uuid> {
        let groups = self.registry.groups.read();
        groups
            .iter()
            .filter(|(_, opened)| opened.is_some())
            .map(|(id, _)| *id)
            .collect()
    }

    /// Stops a group on this member after a flush of its state machine; `remove_log` also deletes
    /// its log from disk. Fine when it is not open.
    pub async fn close_group(&self, id: Uuid, remove_log: bool) -> Result<()> {
        let Some(Opened { group, config }) = self.registry.opened(id) else {
            return Ok(());
        };
        let flushed = group.close().await;
        self.registry.groups.write().remove(&id);
        if !remove_log {
            return Ok(());
        }
        flushed?;
        let dir = config.storage_dir.join(id.to_string());
        let disk = config.options.disk.clone();
        let path = dir.clone();
        let remove = move || {
            disk.remove_dir_all(&path)?;
            disk.sync_dir(&config.storage_dir)
        };
        let done = tokio::task::spawn_blocking(remove)
            .await
            .map_err(std::io::Error::other);
        done.flatten().map_err(io_error("remove", &dir))
    }

    /// Stops all groups.
    pub async fn shutdown(&self) {
        let closing = self
            .group_ids()
            .into_iter()
            .map(|id| self.close_group(id, false));
        for closed in futures::future::join_all(closing).await {
            if let Err(cause) = closed {
                tracing::error!(%cause, "a group did not close");
            }
        }
    }
}
