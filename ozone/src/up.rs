//! `ozone up`: SCM, OM and datanodes in one process, over the same sockets and disks as when they
//! are processes of their own. Formatted on first start, found again on the next.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use nix::fcntl::{Flock, FlockArg};
use ozone_client::objects::{KeyName, NewBucket, NewKey};
use ozone_client::{Client, ClientConfig};
use ozone_common::caller::Caller;
use ozone_common::config::Config;
use ozone_datanode::{DatanodeOptions, DatanodeServer};
use ozone_fs::{MountOptions, MountedFs};
use ozone_om::OmServer;
use ozone_scm::{CertificateFor, ScmOptions, ScmServer};
use ozone_security::settings::{CLIENT_FILE, JOIN_FILE, tls_wanted};

use crate::daemon::{blocking, om_options};
use crate::ports::{self, Ports};
use crate::signals;

/// How long the cluster may take until a write succeeds.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Between attempts to write.
const READY_PAUSE: Duration = Duration::from_millis(50);
/// How long the servers have for their first certificate.
const JOIN_LIFETIME: Duration = Duration::from_secs(3600);
/// Volume in which the cluster proves that it can write; gone again when it is ready.
const PROBE_VOLUME: &str = "ozone-up-probe";
/// More than rides inline, so that datanodes take part.
const PROBE_BYTES: usize = 64 << 10;

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
    /// Datanodes to run.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    datanodes: u16,
    /// Copies of data; three where there are datanodes for them.
    #[arg(long)]
    replication: Option<Copies>,
    /// Picks free ports at the first start instead of the well-known ones.
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

struct Cluster {
    scm: ScmServer,
    om: OmServer,
    datanodes: Vec<DatanodeServer>,
    client: Client,
    om_address: String,
    /// What the servers and the client share.
    config: Config,
}

/// Runs the cluster until told to stop.
pub(crate) async fn run(args: UpArgs, config: Config) -> Result<(), String> {
    let started = Instant::now();
    let _lock = lock(&args.dir)?;
    if args.replication == Some(Copies::Three) && args.datanodes < 3 {
        return Err("--replication THREE needs --datanodes 3 or more".to_owned());
    }
    let dir = std::path::absolute(&args.dir).map_err(|e| format!("{}: {e}", args.dir.display()))?;
    let ports = ports::choose(&dir, args.datanodes, args.auto_ports)?;
    let config = shared_config(&args, &config, &ports)?;
    let cluster = start(&args, &dir, &config, &ports).await?;
    wait_writable(&cluster.client).await?;
    let mounted = match &args.mount {
        Some(path) => Some(mount(&args, &cluster, path).await?),
        None => None,
    };
    summary(&args, &cluster, started.elapsed());
    match &mounted {
        Some(mounted) => tokio::select! {
            () = mounted.wait() => println!("unmounted: stopping"),
            stopped = signals::stop() => stopped?,
        },
        None => signals::stop().await?,
    }
    stop(cluster, mounted).await;
    Ok(())
}

/// One process at a time may use the directory.
fn lock(dir: &Path) -> Result<Flock<File>, String> {
    let path = dir.join("up.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| format!("{}: {e}", path.display()))?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        let holder = std::fs::read_to_string(&path).unwrap_or_default();
        let dir = dir.display();
        format!("{dir} is in use by another `ozone up` (process {}): stop that one, or take another --dir", holder.trim())
    })?;
    let written = lock
        .set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    written.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(lock)
}

fn shared_config(args: &UpArgs, config: &Config, ports: &Ports) -> Result<Config, String> {
    let copies = args.replication.unwrap_or(if args.datanodes >= 3 {
        Copies::Three
    } else {
        Copies::One
    });
    let mut pairs = ports::shared(ports);
    let factor = if copies == Copies::Three {
        "THREE"
    } else {
        "ONE"
    };
    pairs.push((
        "ozone.server.default.replication".to_owned(),
        factor.to_owned(),
    ));
    pairs.push((
        "hdds.scm.safemode.min.datanode".to_owned(),
        args.datanodes.to_string(),
    ));
    pairs.push(("hdds.heartbeat.interval".to_owned(), "1s".to_owned()));
    pairs.push(("ozone.scm.stale.node.interval".to_owned(), "5s".to_owned()));
    pairs.push(("ozone.scm.dead.node.interval".to_owned(), "15s".to_owned()));
    pairs.push((
        "ozone.block.deleting.service.interval".to_owned(),
        "10s".to_owned(),
    ));
    // What the user sets wins.
    pairs.retain(|(key, _)| !config.is_set(key));
    config.with(pairs).map_err(|e| e.to_string())
}

fn with_dirs(config: &Config, base: &Path, keys: &[(&str, &str)]) -> Result<Config, String> {
    let pairs = keys
        .iter()
        .map(|(key, name)| ((*key).to_owned(), base.join(name).display().to_string()));
    config.with(pairs).map_err(|e| e.to_string())
}

async fn start(
    args: &UpArgs,
    dir: &Path,
    config: &Config,
    ports: &Ports,
) -> Result<Cluster, String> {
    let scm = start_scm(dir, config).await?;
    let config = &with_certificates(dir, config).await?;
    let mut datanodes = Vec::new();
    for node in 0..args.datanodes {
        datanodes.push(start_datanode(dir, config, ports, node).await?);
    }
    let om = start_om(dir, config).await?;
    let om_address = om.addresses().client.to_string();
    let mut client = ClientConfig::from_config(config).map_err(|e| e.to_string())?;
    client.om = vec![om_address.clone()];
    let client = Client::connect(client).await.map_err(|e| e.to_string())?;
    Ok(Cluster {
        scm,
        om,
        datanodes,
        client,
        om_address,
        config: config.clone(),
    })
}

fn scm_config(dir: &Path, config: &Config) -> Result<Config, String> {
    let keys = [
        ("ozone.scm.db.dirs", "data"),
        ("ozone.metadata.dirs", "ozone-metadata"),
        ("ozone.scm.ratis.storage.dir", "scm-ha"),
    ];
    with_dirs(config, &dir.join("scm"), &keys)
}

/// With security on: the files with which the other servers join, and with which the user who runs
/// the cluster asks it; made anew at each start.
async fn with_certificates(dir: &Path, config: &Config) -> Result<Config, String> {
    if !tls_wanted(config).map_err(|e| e.to_string())? {
        return Ok(config.clone());
    }
    let options = ScmOptions::new(scm_config(dir, config)?);
    let user = Caller::of_process().user;
    let servers = ["OM", "DATANODE"].map(str::to_owned).to_vec();
    let mut pairs = Vec::new();
    for (key, name, whom, valid) in [
        (CLIENT_FILE, "client.pem", CertificateFor::User(user), None),
        (
            JOIN_FILE,
            "join.pem",
            CertificateFor::Servers(servers),
            Some(JOIN_LIFETIME),
        ),
    ] {
        let file = dir.join(name);
        let issued = ozone_scm::issue(&options, whom, valid, &file).await;
        issued.map_err(|e| e.to_string())?;
        if !config.is_set(key) {
            pairs.push((key, file.display().to_string()));
        }
    }
    config.with(pairs).map_err(|e| e.to_string())
}

async fn start_scm(dir: &Path, config: &Config) -> Result<ScmServer, String> {
    let config = scm_config(dir, config)?;
    let initial = config.clone();
    blocking(move || ozone_scm::init(&initial, None))
        .await?
        .map_err(|e| e.to_string())?;
    let scm = ScmServer::start(ScmOptions::new(config))
        .await
        .map_err(|e| e.to_string())?;
    scm.wait_ready().await.map_err(|e| e.to_string())?;
    Ok(scm)
}

async fn start_datanode(
    dir: &Path,
    config: &Config,
    ports: &Ports,
    node: u16,
) -> Result<DatanodeServer, String> {
    let keys = [
        ("hdds.datanode.dir", "data"),
        ("ozone.metadata.dirs", "ozone-metadata"),
        ("hdds.container.ratis.datanode.storage.dir", "ratis"),
    ];
    let config = with_dirs(config, &dir.join(format!("datanode-{}", node + 1)), &keys)?;
    let config = config
        .with(ports::of_datanode(ports, node))
        .map_err(|e| e.to_string())?;
    let server = DatanodeServer::start(DatanodeOptions::new(config))
        .await
        .map_err(|e| e.to_string())?;
    server.wait_registered().await.map_err(|e| e.to_string())?;
    Ok(server)
}

async fn start_om(dir: &Path, config: &Config) -> Result<OmServer, String> {
    let keys = [
        ("ozone.om.db.dirs", "data"),
        ("ozone.metadata.dirs", "ozone-metadata"),
        ("ozone.om.ratis.storage.dir", "ratis"),
    ];
    let options = om_options(with_dirs(config, &dir.join("om"), &keys)?);
    ozone_om::server::init(&options)
        .await
        .map_err(|e| e.to_string())?;
    OmServer::start(options).await.map_err(|e| e.to_string())
}

/// Returns when a key has really been written to datanodes, read back and deleted.
async fn wait_writable(client: &Client) -> Result<(), String> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        match probe(client).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(format!("the cluster does not take writes: {error}"));
            }
            Err(error) => tracing::debug!(%error, "not writable yet"),
        }
        tokio::time::sleep(READY_PAUSE).await;
    }
}

async fn probe(client: &Client) -> Result<(), ozone_client::ClientError> {
    let objects = client.objects();
    if objects.info_volume(PROBE_VOLUME).await.is_err() {
        objects.create_volume(PROBE_VOLUME, None).await?;
    }
    if objects.info_bucket(PROBE_VOLUME, "probe").await.is_err() {
        objects
            .create_bucket(PROBE_VOLUME, "probe", NewBucket::default())
            .await?;
    }
    let name = KeyName {
        volume: PROBE_VOLUME,
        bucket: "probe",
        key: "probe",
    };
    let content = vec![0x5a; PROBE_BYTES];
    objects
        .put_key(name, &content[..], NewKey::default())
        .await?;
    let (_, reader) = objects.get_key(name).await?;
    let back = reader.read(0, PROBE_BYTES).await?;
    if back[..] != content[..] {
        tracing::error!("the probe read back other bytes than it wrote");
    }
    objects.delete_key(name).await?;
    objects.delete_bucket(PROBE_VOLUME, "probe").await?;
    objects.delete_volume(PROBE_VOLUME).await
}

async fn mount(args: &UpArgs, cluster: &Cluster, path: &Path) -> Result<MountedFs, String> {
    let mut options = MountOptions {
        source: "ozone".to_owned(),
        ..MountOptions::default()
    };
    for list in &args.options {
        options.apply(list).map_err(|e| e.to_string())?;
    }
    ozone_fs::mount(cluster.client.clone(), path, options)
        .await
        .map_err(|e| e.to_string())
}

fn summary(args: &UpArgs, cluster: &Cluster, took: Duration) {
    let config = &cluster.config;
    println!(
        "Ozone is up in {:.1} s, data in {}",
        took.as_secs_f64(),
        args.dir.display()
    );
    println!(
        "  OM          {}   http://{}/health",
        cluster.om_address,
        cluster.om.addresses().http
    );
    println!(
        "  SCM         {}   http://{}/health",
        cluster.scm.addresses().client,
        cluster.scm.addresses().http
    );
    for (n, datanode) in cluster.datanodes.iter().enumerate() {
        let at = datanode.addresses();
        println!(
            "  datanode {}  {}   http://{}/health",
            n + 1,
            at.client,
            at.http
        );
    }
    println!(
        "  replication {}",
        config
            .get("ozone.server.default.replication")
            .unwrap_or_default()
    );
    if let Some(mount) = &args.mount {
        let mount = mount.display();
        println!("  mounted at  {mount}");
        println!("Try:  mkdir -p {mount}/vol/bucket && echo hello > {mount}/vol/bucket/file");
    }
    let identity = match config.get(CLIENT_FILE).filter(|file| !file.is_empty()) {
        Some(file) => format!(" --set ozone.security.enabled=true --set {CLIENT_FILE}={file}"),
        None => String::new(),
    };
    println!(
        "      ozone sh --set ozone.om.address={}{identity} key cat vol/bucket/file",
        cluster.om_address
    );
    println!("Ctrl-C stops it; the data stays.");
    let _ = std::io::stdout().flush();
}

async fn stop(cluster: Cluster, mounted: Option<MountedFs>) {
    if let Some(mounted) = mounted {
        signals::unmount(&mounted).await;
    }
    cluster.client.close().await;
    cluster.om.shutdown().await;
    for datanode in cluster.datanodes {
        datanode.shutdown().await;
    }
    cluster.scm.shutdown().await;
}
