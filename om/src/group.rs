//! The Raft group of the OMs: opening it on its directory, and waiting until this OM leads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::disk::Disk;
use ozone_raft::{Group, GroupConfig, Peer, RaftError, RaftHost, RaftOptions};

use crate::error::{OmError, Result};
use crate::layout::{self, Layout};
use crate::leader::Leader;
use crate::server::{blocking, start};
use crate::state_machine::OmState;

/// How long a single OM may take to lead itself.
const ELECTION: Duration = Duration::from_secs(30);

/// What a group is opened with.
pub(crate) struct Opening<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) cluster_id: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) disk: Arc<dyn Disk>,
}

/// Opens the group of the cluster, with this OM as its only member.
pub(crate) async fn open(
    opening: Opening<'_>,
    host: &Arc<RaftHost>,
    state: Arc<OmState>,
) -> Result<Arc<Group>> {
    let Opening {
        layout,
        cluster_id,
        address,
        disk,
    } = opening;
    let config = GroupConfig {
        group_id: layout::group_id(cluster_id),
        storage_dir: layout.raft.clone(),
        members: vec![Peer {
            id: host.node_id(),
            address: address.to_string(),
        }],
        options: RaftOptions {
            disk: disk.clone(),
            ..RaftOptions::default()
        },
    };
    let error = match host.open_group(config, state).await {
        Ok(group) => return Ok(group),
        Err(error) => error,
    };
    let (layout, cluster_id) = (layout.clone(), cluster_id.to_owned());
    blocking(move || Err(explain(&layout, &*disk, (&cluster_id, error)))).await
}

/// Why the group cannot be opened, with the key that sets the directory that is wrong.
fn explain(layout: &Layout, disk: &dyn Disk, (cluster_id, error): (&str, RaftError)) -> OmError {
    match error {
        RaftError::LogLost { last: None, .. } => match layout.log_of_other(disk, cluster_id) {
            Some(other) => start(other),
            None => start(format!("ozone.om.ratis.storage.dir: {error}")),
        },
        RaftError::LogLost { .. } => start(format!("ozone.om.ratis.storage.dir: {error}")),
        RaftError::StateLost { .. } | RaftError::NotAMember { .. } => {
            let data = layout.data.display();
            start(format!("ozone.om.db.dirs ({data}): {error}"))
        }
        other => start(other),
    }
}

/// Waits until this OM serves. No earlier leader has granted leases after `started`.
pub(crate) async fn lead(leader: &Leader, started: Duration) -> Result<()> {
    let group = &leader.group;
    group.wait_for_leader(ELECTION).await.map_err(start)?;
    // Everything that was acknowledged before is applied first: sessions are among it.
    while let Err(error) = group.read_barrier().await {
        match error {
            RaftError::Timeout(_) => tracing::info!("the log is being applied"),
            other => return Err(start(other)),
        }
    }
    leader.take_over(started).await
}
