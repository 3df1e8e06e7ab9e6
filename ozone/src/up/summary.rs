//! What `ozone up` says when the cluster can be used: where everything is, and what to try.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ozone_common::config::Config;
use ozone_common::disk::{Disk, RealDisk};
use ozone_om::room::RESERVE;
use ozone_security::settings::CLIENT_FILE;

use super::{Cluster, UpArgs};

const MIB: u64 = 1 << 20;

/// Prints it; the last line is that on stopping.
pub(super) fn print(args: &UpArgs, cluster: &Cluster, took: Duration, warning: Option<String>) {
    println!(
        "Ozone is up in {:.1} s, data in {}",
        took.as_secs_f64(),
        args.dir.display()
    );
    print_servers(cluster);
    if let Some(mount) = &args.mount {
        println!("  mounted at  {}", mount.display());
    }
    if let Some(warning) = warning {
        println!("Warning: {warning}");
    }
    print_examples(args, cluster);
    println!("Ctrl-C stops it; the data stays.");
    // Who does not read it is not waited for.
    let _ = std::io::stdout().flush();
}

fn print_servers(cluster: &Cluster) {
    let line = |name: &str, client: &dyn std::fmt::Display, http: &dyn std::fmt::Display| {
        println!("  {name:<11} {client}   http://{http}/health");
    };
    line("OM", &cluster.om_address, &cluster.om.addresses().http);
    let scm = cluster.scm.addresses();
    line("SCM", &scm.client, &scm.http);
    for (n, datanode) in cluster.datanodes.iter().enumerate() {
        let at = datanode.addresses();
        line(&format!("datanode {}", n + 1), &at.client, &at.http);
    }
    println!("  {:<11} http://{}", "S3", cluster.s3.address());
    let replication = cluster.config.get("ozone.server.default.replication");
    println!("  replication {}", replication.unwrap_or_default());
}

fn print_examples(args: &UpArgs, cluster: &Cluster) {
    if let Some(mount) = &args.mount {
        let mount = mount.display();
        println!("Try:  mkdir -p {mount}/vol/bucket && echo hello > {mount}/vol/bucket/file");
    }
    let file = cluster.config.get(CLIENT_FILE);
    let identity = match file.filter(|file| !file.is_empty()) {
        Some(file) => format!(" --set ozone.security.enabled=true --set {CLIENT_FILE}={file}"),
        None => String::new(),
    };
    // A binary that was built here is not in anybody's $PATH.
    let binary = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("ozone"));
    println!(
        "      {} sh --set ozone.om.address={}{identity} key cat vol/bucket/file",
        binary.display(),
        cluster.om_address
    );
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
