//! The configuration of a cluster of processes: what all share, and what each datanode has for itself.

use std::collections::BTreeMap;
use std::path::Path;

use crate::DaemonOptions;

/// Ports of SCM and OM in the site file, those for HTTP included.
pub(crate) const SITE_PORTS: &[(&str, &str)] = &[
    ("ozone.scm.http-address", "127.0.0.1:"),
    ("ozone.om.http-address", "127.0.0.1:"),
    ("ozone.scm.client.address", "127.0.0.1:"),
    ("ozone.scm.datanode.address", "127.0.0.1:"),
    ("ozone.scm.block.client.address", "127.0.0.1:"),
    ("ozone.scm.security.service.address", "127.0.0.1:"),
    ("ozone.scm.ratis.port", ""),
    ("ozone.om.address", "127.0.0.1:"),
    ("ozone.om.ratis.port", ""),
];
/// Ports of one datanode.
pub(crate) const DATANODE_PORTS: &[(&str, &str)] = &[
    ("hdds.datanode.http-address", "127.0.0.1:"),
    ("hdds.container.ipc.port", ""),
    ("hdds.container.ratis.server.port", ""),
];
/// So that a cluster of some seconds sees what takes a real one hours.
const QUICK: &[(&str, &str)] = &[
    ("hdds.heartbeat.interval", "500ms"),
    ("ozone.scm.stale.node.interval", "3s"),
    ("ozone.scm.dead.node.interval", "10s"),
    ("ozone.scm.heartbeat.thread.interval", "500ms"),
];

/// Properties that all processes share.
pub(crate) fn of_cluster(
    dir: &Path,
    options: &DaemonOptions,
    ports: &[u16],
) -> BTreeMap<String, String> {
    let dir = dir.display().to_string();
    let datanodes = options.datanodes.to_string();
    let metadata = format!("{dir}/metadata");
    let more = [
        ("ozone.metadata.dirs", metadata.as_str()),
        ("ozone.server.default.replication", options.replication),
        ("hdds.scm.safemode.min.datanode", &datanodes),
    ];
    let pairs = QUICK.iter().chain(&more).chain(&options.properties);
    let mut site = with_ports(SITE_PORTS, ports);
    site.extend(pairs.map(|(key, value)| ((*key).to_owned(), value.replace("{dir}", &dir))));
    site
}

fn with_ports(keys: &[(&str, &str)], ports: &[u16]) -> BTreeMap<String, String> {
    let values = keys.iter().zip(ports);
    values
        .map(|((key, host), port)| ((*key).to_owned(), format!("{host}{port}")))
        .collect()
}

/// Properties of one datanode alone.
pub(crate) fn of_datanode(dir: &Path, n: usize, ports: &[u16]) -> Vec<(String, String)> {
    let home = dir.join(format!("datanode-{n}")).display().to_string();
    let ports = DATANODE_PORTS.iter().zip(ports);
    ports
        .map(|((key, host), port)| ((*key).to_owned(), format!("{host}{port}")))
        .chain([
            ("hdds.datanode.dir".to_owned(), format!("{home}/data")),
            ("ozone.metadata.dirs".to_owned(), format!("{home}/metadata")),
        ])
        .collect()
}
