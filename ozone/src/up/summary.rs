//! What `ozone up` says when the cluster can be used: where everything is, and what to try.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ozone_common::config::Config;
use ozone_common::disk::{Disk, RealDisk};
use ozone_om::room::RESERVE;
use ozone_security::settings::CLIENT_FILE;

use super::{Cluster, UpArgs};

const MIB: u64 = 1 << 20;

/// The text; the last line is that on stopping.
pub(super) fn text(
    args: &UpArgs,
    cluster: &Cluster,
    took: Duration,
    warning: Option<String>,
) -> String {
    let up = match warning {
        None => "up",
        Some(_) => "up for reading and deleting",
    };
    let mut lines = vec![format!(
        "Ozone is {up} in {:.1} s, data in {}",
        took.as_secs_f64(),
        args.dir.display()
    )];
    lines.extend(servers(cluster));
    let mount = args.mount.as_ref();
    lines.extend(mount.map(|mount| format!("  mounted at  {}", mount.display())));
    lines.extend(warning.map(|warning| format!("Warning: {warning}")));
    lines.extend(examples(args, cluster));
    lines.push("Ctrl-C stops it; the data stays.".to_owned());
    lines.join("\n")
}

fn servers(cluster: &Cluster) -> Vec<String> {
    let line = |name: &str, client: &dyn std::fmt::Display, http: &dyn std::fmt::Display| {
        format!("  {name:<11} {client}   http://{http}/health")
    };
    let scm = cluster.scm.addresses();
    let mut lines = vec![
        line("OM", &cluster.om_address, &cluster.om.addresses().http),
        line("SCM", &scm.client, &scm.http),
    ];
    for (n, datanode) in cluster.datanodes.iter().enumerate() {
        let at = datanode.addresses();
        lines.push(line(&format!("datanode {}", n + 1), &at.client, &at.http));
    }
    let replication = cluster.config.get("ozone.server.default.replication");
    lines.push(format!("  {:<11} http://{}", "S3", cluster.s3.address()));
    lines.push(format!("  replication {}", replication.unwrap_or_default()));
    lines
}

fn examples(args: &UpArgs, cluster: &Cluster) -> Vec<String> {
    let through_mount = args.mount.as_ref().map(|mount| {
        let mount = mount.display();
        format!("Try:  mkdir -p {mount}/vol/bucket && echo hello > {mount}/vol/bucket/file")
    });
    let file = cluster.config.get(CLIENT_FILE);
    let identity = match file.filter(|file| !file.is_empty()) {
        Some(file) => format!(" --set ozone.security.enabled=true --set {CLIENT_FILE}={file}"),
        None => String::new(),
    };
    // A binary that was built here is not in anybody's $PATH.
    let binary = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("ozone"));
    let by_command = format!(
        "      {} sh --set ozone.om.address={}{identity} key cat vol/bucket/file",
        binary.display(),
        cluster.om_address
    );
    through_mount.into_iter().chain([by_command]).collect()
}

/// How much has to be freed before the cluster in `dir` takes writes. Blocks.
pub(super) fn lacking(dir: &Path, config: &Config) -> String {
    let kept = config.get_size("hdds.datanode.volume.min.free.space");
    let wanted = RESERVE.max(kept.unwrap_or_default());
    let available = RealDisk.space(dir).map_or(0, |space| space.available);
    // Never nothing: whoever refused a moment ago had a reason.
    let bytes = wanted.saturating_sub(available).max(1);
    format!("{} MiB", bytes.div_ceil(MIB))
}
