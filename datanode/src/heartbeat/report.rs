//! What a heartbeat tells SCM.

use std::sync::Arc;

use ozone_proto::scm::{ContainerReplica, StorageReport};

use crate::container::State;
use crate::node::{Node, off_thread};

/// The disks.
pub(super) async fn storage(node: &Arc<Node>) -> Vec<StorageReport> {
    let node = node.clone();
    let reports = off_thread(move || {
        let Some(volumes) = node.volumes.get() else {
            return Ok(Vec::new());
        };
        let working = volumes.iter().map(|v| v.report(node.containers.used_on(v)));
        Ok(working.chain(volumes.broken_reports()).collect())
    });
    // Only a shutdown gives no report; then nobody needs one.
    reports.await.unwrap_or_default()
}

/// All containers, and how many changes that takes in.
pub(super) async fn all_containers(node: &Arc<Node>) -> (u64, Vec<ContainerReplica>) {
    let (_, count) = node.containers.changes_since(u64::MAX);
    (count, node.containers.report_all())
}

/// Containers that changed after the first `seen` changes, and all that are being written.
pub(super) async fn changed_containers(
    node: &Arc<Node>,
    seen: u64,
) -> (u64, Vec<ContainerReplica>) {
    let (mut reports, count) = node.containers.changes_since(seen);
    let reported: Vec<i64> = reports.iter().map(|report| report.container_id).collect();
    let written = node.containers.list();
    let written = written.iter().filter(|c| c.state() == State::Open);
    reports.extend(
        written
            .filter(|c| !reported.contains(&c.id()))
            .map(|c| c.report()),
    );
    (count, reports)
}

/// Containers that have grown to where they should be closed.
pub(super) fn to_close(node: &Arc<Node>) -> Vec<i64> {
    let all = node.containers.list();
    let full = all
        .iter()
        .filter(|c| c.state() == State::Open && c.is_full());
    full.map(|container| container.id()).collect()
}
