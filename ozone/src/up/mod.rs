//! `ozone up`: SCM, OM and datanodes in one process, over the same sockets and disks as when they
//! are processes of their own. Formatted on first start, found again on the next.

mod ports;
mod probe;
mod start;
mod summary;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use ozone_client::Client;
use ozone_common::config::Config;
use ozone_common::telemetry::TelemetryError;
use ozone_datanode::DatanodeServer;
use ozone_fs::{MountOptions, MountedFs};
use ozone_om::OmServer;
use ozone_s3::S3Server;
use ozone_scm::ScmServer;

use self::ports::Ports;
use self::probe::Readiness;
use crate::daemon::blocking;
use crate::{output, signals};

/// Datanodes of a new cluster for which nobody asked for another number.
const DATANODES: u16 = 3;

/// How many copies of data are kept.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Copies {
    /// One.
    #[value(name = "ONE", alias = "1", alias = "one")]
    One,
    /// Three, on three datanodes.
    #[value(name = "THREE", alias = "3", alias = "three")]
    Three,
}

/// Arguments of `ozone up`.
#[derive(Args)]
pub(crate) struct UpArgs {
    /// Where the cluster keeps everything.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Mounts the namespace at this empty directory.
    #[arg(long)]
    mount: Option<PathBuf>,
    /// Mount options, as mount(8) takes them.
    #[arg(short = 'o', value_name = "OPTIONS", requires = "mount")]
    options: Vec<String>,
    /// Datanodes to run; as many as the cluster has, 3 for a new one.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=50))]
    datanodes: Option<u16>,
    /// Copies of data; three where there are datanodes for them.
    #[arg(long)]
    replication: Option<Copies>,
    /// Picks free ports instead of the well-known ones, and instead of the cluster's own that are taken.
    #[arg(long)]
    auto_ports: bool,
}

/// Makes the directory of the cluster, or says why it cannot be used.
pub(crate) fn prepare_dir(dir: &Path) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|e| {
        format!(
            "{}: {e}: --dir must be a directory that can be written",
            dir.display()
        )
    })
}

/// A log file that cannot be had, in words that tell what would be right.
pub(crate) fn no_log(error: &TelemetryError) -> String {
    match error {
        TelemetryError::LogFile { source, .. } if source.kind() != ErrorKind::StorageFull => {
            format!("{error}: --dir must be a directory that can be written")
        }
        other => other.to_string(),
    }
}

/// An error in words that tell what to do about it, where that is not said by who met it.
pub(crate) fn explain(dir: &Path, error: String) -> String {
    match error.contains("No space left on device") {
        true => format!(
            "{error}: the disk of {} is full: free some space and start again",
            dir.display()
        ),
        false => error,
    }
}

struct Cluster {
    scm: ScmServer,
    om: OmServer,
    datanodes: Vec<DatanodeServer>,
    client: Client,
    s3: S3Server,
    om_address: String,
    /// What the servers and the client share.
    config: Config,
}

/// What there is once a cluster can be used.
struct Up {
    /// Why it cannot be written to, if so.
    warning: Option<String>,
    mounted: Option<MountedFs>,
    signals: signals::Stop,
}

/// What is settled before anything starts.
struct Plan {
    dir: PathBuf,
    /// Held as long as the cluster runs.
    _lock: Flock<File>,
    datanodes: u16,
    ports: Ports,
    /// Held as well, where ports were picked.
    _slice: Option<ports::Slice>,
    /// Ports with which the cluster was up before; none if it never was.
    recorded: Ports,
}

/// Runs the cluster until told to stop.
pub(crate) async fn run(args: UpArgs, config: Config) -> Result<(), String> {
    let started = Instant::now();
    ozone_om::server::check_config(&config).map_err(|e| e.to_string())?;
    let (dir, asked, auto) = (args.dir.clone(), args.datanodes, args.auto_ports);
    let plan = blocking(move || plan(&dir, asked, auto)).await??;
    if !args.auto_ports {
        ports::check_free(&plan.ports, &config)?;
    }
    let config = shared_config(&args, &config, &plan)?;
    let place = place(&args).await?;
    let cluster = start::start(&plan.dir, &config, (&plan.ports, plan.datanodes)).await?;
    let Up {
        warning,
        mounted,
        mut signals,
    } = match bring_up(&cluster, &plan, place).await {
        Ok(up) => up,
        Err(error) => {
            stop(cluster).await;
            return Err(error);
        }
    };
    tell(summary::text(&args, &cluster, started.elapsed(), warning));
    let ended = tokio::select! {
        ended = until_stopped(mounted.as_ref(), &mut signals) => ended,
        doomed = cluster.doomed() => Err(give_up(&doomed, mounted.as_ref()).await),
    };
    stop(cluster).await;
    ended
}

/// Returns when it is told to stop, with nothing mounted any more, or when somebody has unmounted.
async fn until_stopped(
    mounted: Option<&MountedFs>,
    signals: &mut signals::Stop,
) -> Result<(), String> {
    let Some(mounted) = mounted else {
        signals.told().await;
        return Ok(());
    };
    tokio::select! {
        ended = mounted.wait() => {
            tell("unmounted: stopping");
            ended.map_err(|error| error.to_string())
        }
        () = signals.told() => signals::unmount(mounted, signals).await,
    }
}

/// Leaves the mount, as the cluster cannot go on; says why at once, for stopping may take a while.
async fn give_up(why: &str, mounted: Option<&MountedFs>) -> String {
    eprintln!("ozone: {why}");
    if let Some(mounted) = mounted
        && let Err(lost) = signals::take_away(mounted).await
    {
        eprintln!("ozone: {lost}");
    }
    "the cluster could not go on".to_owned()
}

impl Cluster {
    /// Returns when a server cannot go on, with the reason.
    async fn doomed(&self) -> String {
        tokio::select! {
            om = self.om.doomed() => format!("the OM has stopped: {om}"),
            scm = self.scm.doomed() => format!("SCM has stopped: {scm}"),
        }
    }
}

/// Says something of a cluster that runs, whether or not that can be heard.
fn tell(text: impl std::fmt::Display) {
    if let Err(error) = output::line(text) {
        tracing::warn!(error);
    }
}

/// Takes the directory, and finds out what is there. Blocks.
fn plan(dir: &Path, asked: Option<u16>, auto_ports: bool) -> Result<Plan, String> {
    let lock = lock(dir)?;
    let dir = std::path::absolute(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let recorded = ports::recorded(&dir)?;
    let existing = ports::datanodes(&recorded);
    let datanodes = count_datanodes(&dir, asked, existing)?;
    check_whole(&dir, existing)?;
    let (ports, slice) = match auto_ports {
        true => ports::free(&recorded, datanodes).map(|(ports, slice)| (ports, Some(slice)))?,
        false => (ports::fixed(&recorded, datanodes), None),
    };
    Ok(Plan {
        _lock: lock,
        datanodes,
        ports,
        _slice: slice,
        recorded,
        dir,
    })
}

/// How many datanodes to run. Fewer than there are would take what the others hold out of reach.
fn count_datanodes(dir: &Path, asked: Option<u16>, existing: u16) -> Result<u16, String> {
    match asked {
        None if existing == 0 => Ok(DATANODES),
        None => Ok(existing),
        Some(asked) if asked < existing => Err(format!(
            "{} has {existing} datanodes and --datanodes {asked} would leave some out, with the data \
             that only they hold: say --datanodes {existing}, or nothing",
            dir.display()
        )),
        Some(asked) => Ok(asked),
    }
}

/// Refuses to begin anew, without a word, what a cluster of so many datanodes had and is not there: its disk may not
/// be mounted, so that only an empty directory is left. Blocks.
fn check_whole(dir: &Path, datanodes: u16) -> Result<(), String> {
    let gone = |name: &String| match std::fs::read_dir(dir.join(name)) {
        // What mkfs leaves in an empty filesystem is nothing.
        Ok(entries) => {
            let names = entries.flatten().map(|entry| entry.file_name());
            names.filter(|name| name != "lost+found").count() == 0
        }
        // Whatever else is wrong with it, its server says.
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    let servers = ["scm", "om"].map(str::to_owned).into_iter();
    let missing = servers.filter(|_| datanodes > 0).find(gone);
    if let Some(name) = missing {
        return Err(format!(
            "{} is missing or empty, and with it what this cluster is: mount its disk, or put it back from a backup",
            dir.join(name).display()
        ));
    }
    let Some(name) = (0..datanodes).map(start::datanode_dir).find(gone) else {
        return Ok(());
    };
    let path = dir.join(name);
    let path = path.display();
    Err(format!(
        "{path} is missing or empty, and with it the data that only it holds: mount its disk, or put it back; if it \
         is lost for good, `mkdir -p {path}/data` lets an empty datanode begin there"
    ))
}

/// One process at a time may use the directory. Blocks.
fn lock(dir: &Path) -> Result<Flock<File>, String> {
    let path = dir.join("up.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| format!("{}: {e}", path.display()))?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno != Errno::EWOULDBLOCK {
            return format!("{}: cannot be locked: {}", path.display(), errno.desc());
        }
        let holder = std::fs::read_to_string(&path).unwrap_or_default();
        let dir = dir.display();
        format!("{dir} is in use by another `ozone up` (process {}): stop that one, or take another --dir", holder.trim())
    })?;
    let written = lock
        .set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    match written {
        // The lock holds without the number of who holds it.
        Err(full) if full.kind() == ErrorKind::StorageFull => Ok(lock),
        Err(e) => Err(format!("{}: {e}", path.display())),
        Ok(()) => Ok(lock),
    }
}

fn shared_config(args: &UpArgs, config: &Config, plan: &Plan) -> Result<Config, String> {
    if args.replication == Some(Copies::Three) && plan.datanodes < 3 {
        return Err("--replication THREE needs --datanodes 3 or more".to_owned());
    }
    let copies = args.replication.unwrap_or(match plan.datanodes {
        ..3 => Copies::One,
        _ => Copies::Three,
    });
    let factor = match copies {
        Copies::One => "ONE",
        Copies::Three => "THREE",
    };
    let mut pairs = ports::shared(&plan.ports);
    let set = [
        ("ozone.server.default.replication", factor.to_owned()),
        ("hdds.scm.safemode.min.datanode", plan.datanodes.to_string()),
        ("hdds.heartbeat.interval", "1s".to_owned()),
        ("ozone.scm.stale.node.interval", "5s".to_owned()),
        ("ozone.scm.dead.node.interval", "15s".to_owned()),
        ("ozone.block.deleting.service.interval", "10s".to_owned()),
    ];
    pairs.extend(set.map(|(key, value)| (key.to_owned(), value)));
    // What the user sets wins.
    pairs.retain(|(key, _)| !config.is_set(key));
    config.with(pairs).map_err(|e| e.to_string())
}

/// Returns when the cluster can be used; with a warning when it cannot be written to for want of room.
async fn ready(cluster: &Cluster, plan: &Plan) -> Result<Option<String>, String> {
    let damage = || {
        let nodes = cluster.datanodes.iter().zip(1..);
        let of_node = |(node, n): (&DatanodeServer, u32)| {
            let failures = node.pipeline_failures().into_iter();
            failures.map(move |failure| format!("datanode {n}: {failure}"))
        };
        nodes.flat_map(of_node).collect()
    };
    let refused = match probe::wait_ready(&cluster.client, damage).await? {
        Readiness::Writable => return Ok(None),
        Readiness::Full(refused) => refused,
    };
    tracing::warn!(refused, "the disk is nearly full");
    let (dir, config) = (plan.dir.clone(), cluster.config.clone());
    let lacking = blocking(move || summary::lacking(&dir, &config)).await?;
    match plan.recorded.is_empty() {
        true => Err(format!(
            "no space left for a new cluster: {} is on a disk that is nearly full: free {lacking} and \
             start again ({refused})",
            plan.dir.display()
        )),
        false => Ok(Some(format!(
            "the disk of {} is nearly full: writes are refused until {lacking} are freed \
             (hdds.datanode.volume.min.free.space stays free); reading and deleting work",
            plan.dir.display()
        ))),
    }
}

/// Where to mount, and how: looked at before anything is started.
async fn place(args: &UpArgs) -> Result<Option<(PathBuf, MountOptions)>, String> {
    let mut options = MountOptions {
        source: "ozone".to_owned(),
        guard: std::env::current_exe().ok(),
        ..MountOptions::default()
    };
    for list in &args.options {
        options.apply(list).map_err(|e| e.to_string())?;
    }
    let Some(path) = args.mount.clone() else {
        return Ok(None);
    };
    let checked = ozone_fs::check(&path, &options).await;
    checked.map_err(|e| e.to_string())?;
    Ok(Some((path, options)))
}

/// From a cluster that answers to one that can be used: with a warning when it cannot be written to, and mounted.
async fn bring_up(
    cluster: &Cluster,
    plan: &Plan,
    place: Option<(PathBuf, MountOptions)>,
) -> Result<Up, String> {
    let warning = ready(cluster, plan).await?;
    if plan.ports != plan.recorded {
        let (dir, ports) = (plan.dir.clone(), plan.ports.clone());
        blocking(move || ports::record(&dir, &ports)).await??;
    }
    // Whoever sees that it is mounted, or reads that it is up, may stop it in the same moment.
    let signals = signals::Stop::watch()?;
    let mounted = match place {
        Some((path, options)) => {
            let mounted = ozone_fs::mount(cluster.client.clone(), &path, options).await;
            Some(mounted.map_err(|e| e.to_string())?)
        }
        None => None,
    };
    Ok(Up {
        warning,
        mounted,
        signals,
    })
}

async fn stop(cluster: Cluster) {
    cluster.s3.shutdown().await;
    cluster.client.close().await;
    cluster.om.shutdown().await;
    for datanode in cluster.datanodes {
        datanode.shutdown().await;
    }
    cluster.scm.shutdown().await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_had_and_is_not_there_is_not_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let check = |datanodes| check_whole(dir.path(), datanodes);
        assert_eq!(check(0), Ok(()));
        for name in ["scm", "om", "datanode-1", "datanode-2"] {
            let path = dir.path().join(name);
            let refused = check(2).unwrap_err();
            assert!(refused.contains(&path.display().to_string()), "{refused}");
            // As where a disk is not mounted.
            std::fs::create_dir(&path).unwrap();
            assert_eq!(check(2).unwrap_err(), refused);
            std::fs::create_dir(path.join("data")).unwrap();
        }
        assert_eq!(check(2), Ok(()));
    }

    #[test]
    fn fewer_datanodes_than_there_are_would_lose_data_and_are_refused() {
        let count = |asked, existing| count_datanodes(Path::new("/c"), asked, existing);
        assert_eq!(count(None, 0), Ok(3));
        assert_eq!(count(None, 1), Ok(1));
        assert_eq!(count(Some(4), 3), Ok(4));
        let refused = count(Some(1), 3).unwrap_err();
        for words in ["/c", "3 datanodes", "--datanodes 1", "--datanodes 3"] {
            assert!(refused.contains(words), "{refused}");
        }
    }
}
