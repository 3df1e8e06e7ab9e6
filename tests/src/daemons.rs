//! A cluster as an operator runs it: every server a process of its own, all from one
//! `ozone-site.xml`, each killed and started by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{assert_fuse, binary};
use crate::http;
use crate::ports::free_ports;
use crate::refused::Refused;
use crate::site::{DATANODE_PORTS, SITE_PORTS, of_cluster, of_datanode};
use crate::wait::wait_for;

/// How long a server may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Of a log, in a panic.
const LOG_TAIL: usize = 4 << 10;
/// Levels at which each request is logged.
const REQUESTS: &str = "info,audit=debug,ozone_scm=debug,ozone_om=debug,ozone_datanode=debug";

/// One process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// `ozone mount`.
    Mount,
    /// `ozone om`.
    Om,
    /// `ozone datanode`, counted from 1.
    Datanode(usize),
    /// `ozone scm`.
    Scm,
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount => f.write_str("mount"),
            Self::Om => f.write_str("om"),
            Self::Datanode(n) => write!(f, "datanode-{n}"),
            Self::Scm => f.write_str("scm"),
        }
    }
}

/// What a cluster of processes is made with.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    /// Number of datanodes.
    pub datanodes: usize,
    /// `ONE` or `THREE`.
    pub replication: &'static str,
    /// More properties of the site file; they win over those of the harness. `{dir}` stands for
    /// the directory of the cluster.
    pub properties: Vec<(&'static str, &'static str)>,
    /// Servers log each request, every line a JSON object.
    pub log_requests: bool,
}

impl Default for DaemonOptions {
    fn default() -> Self {
        Self {
            datanodes: 3,
            replication: "THREE",
            properties: Vec::new(),
            log_requests: false,
        }
    }
}

impl DaemonOptions {
    /// One datanode, and one copy.
    pub fn one_copy() -> Self {
        Self {
            datanodes: 1,
            replication: "ONE",
            ..Self::default()
        }
    }
}

/// The processes of a cluster. Dropping it kills and unmounts what is left.
pub struct Daemons {
    options: DaemonOptions,
    temp: TempDir,
    site: BTreeMap<String, String>,
    /// Properties of each datanode alone: they share one machine.
    datanodes: Vec<Vec<(String, String)>>,
    running: BTreeMap<Daemon, Child>,
}

impl Daemons {
    /// A cluster of which nothing is formatted and nothing runs yet, but its site file is there.
    pub fn new(options: DaemonOptions) -> Self {
        let temp = tempfile::Builder::new()
            .prefix("ozone-daemons-")
            .tempdir()
            .expect("a temporary directory");
        let ports = free_ports(SITE_PORTS.len() + options.datanodes * DATANODE_PORTS.len());
        let (shared, own) = ports.split_at(SITE_PORTS.len());
        let site = of_cluster(temp.path(), &options, shared);
        let datanodes = own
            .chunks(DATANODE_PORTS.len())
            .zip(1..)
            .map(|(ports, n)| of_datanode(temp.path(), n, ports))
            .collect();
        fs::create_dir(temp.path().join("mnt")).expect("a mount point");
        fs::create_dir(temp.path().join("logs")).expect("a directory for logs");
        let cluster = Self {
            options,
            temp,
            site,
            datanodes,
            running: BTreeMap::new(),
        };
        cluster.write_site();
        cluster
    }

    /// A cluster that is formatted, runs and is mounted.
    pub fn start(options: DaemonOptions) -> Self {
        let mut cluster = Self::new(options);
        cluster.start_servers();
        cluster.start_one(Daemon::Mount);
        cluster
    }

    /// Formats and starts the servers, without a mount.
    pub fn start_servers(&mut self) {
        self.succeed(&["scm", "--init"]);
        self.start_one(Daemon::Scm);
        self.succeed(&["om", "--init"]);
        // Datanodes need nobody but SCM; the order does not matter.
        self.start_one(Daemon::Om);
        for n in 1..=self.options.datanodes {
            self.start_one(Daemon::Datanode(n));
        }
    }

    fn write_site(&self) {
        let properties: String = self
            .site
            .iter()
            .map(|(key, value)| {
                format!("  <property><name>{key}</name><value>{value}</value></property>\n")
            })
            .collect();
        let text = format!("<configuration>\n{properties}</configuration>\n");
        fs::write(self.site_file(), text).expect("the site file");
    }

    /// The site file that all share.
    pub fn site_file(&self) -> PathBuf {
        self.dir().join("ozone-site.xml")
    }

    /// Under which everything is.
    pub fn dir(&self) -> &Path {
        self.temp.path()
    }

    /// Where the namespace is mounted.
    pub fn mountpoint(&self) -> PathBuf {
        self.dir().join("mnt")
    }

    /// The data directory of a datanode.
    pub fn data_of(&self, datanode: usize) -> PathBuf {
        self.dir().join(format!("datanode-{datanode}/data"))
    }

    /// The value of a property of the site file.
    pub fn property(&self, key: &str) -> &str {
        &self.site[key]
    }

    /// Sets a property of the site file, for what starts next.
    pub fn set(&mut self, key: &str, value: &str) {
        self.site.insert(key.to_owned(), value.to_owned());
        self.write_site();
    }

    /// Takes properties of the site file from another cluster: what starts next talks to that one.
    pub fn site_of(&mut self, other: &Self, keys: &[&str]) {
        for key in keys {
            self.set(key, other.property(key));
        }
    }

    /// Makes a bucket, and its volume where needed, and gives its directory.
    pub fn bucket(&self, volume: &str, bucket: &str) -> PathBuf {
        let path = self.mountpoint().join(volume).join(bucket);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// The command `ozone` with the site file.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--conf").arg(self.site_file()).args(args);
        command
    }

    /// Runs `ozone` to its end.
    pub fn ozone(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary starts")
    }

    /// Runs `ozone`, which has to succeed; gives what it printed.
    pub fn succeed(&self, args: &[&str]) -> String {
        let output = self.ozone(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ozone {args:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The command that runs one of the processes.
    pub fn daemon_command(&self, daemon: Daemon) -> Command {
        match daemon {
            Daemon::Scm => self.command(&["scm"]),
            Daemon::Om => self.command(&["om"]),
            Daemon::Datanode(n) => {
                let mut command = self.command(&["datanode"]);
                for (key, value) in &self.datanodes[n - 1] {
                    command.arg("--set").arg(format!("{key}={value}"));
                }
                command
            }
            Daemon::Mount => {
                let mut command = self.command(&["mount", self.property("ozone.om.address")]);
                command.arg(self.mountpoint());
                command
            }
        }
    }

    /// Starts one process and waits until it is ready.
    pub fn start_one(&mut self, daemon: Daemon) {
        self.spawn(daemon);
        wait_for(START_LIMIT, || self.ready(daemon));
    }

    /// Starts one process and does not wait.
    pub fn spawn(&mut self, daemon: Daemon) {
        assert!(!self.running.contains_key(&daemon), "{daemon} runs already");
        if daemon == Daemon::Mount {
            assert_fuse();
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file(daemon))
            .expect("a log");
        let mut command = self.daemon_command(daemon);
        if self.options.log_requests {
            command.arg("--log-json").env("OZONE_LOGLEVEL", REQUESTS);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        self.running.insert(daemon, child);
    }

    /// Starts a process that has to end by itself with an error.
    pub fn refused(&self, daemon: Daemon) -> Refused {
        let output = self
            .daemon_command(daemon)
            .output()
            .expect("the binary starts");
        Refused::from(&output)
    }

    /// How a process ended that was started; none while it runs.
    pub fn ended(&mut self, daemon: Daemon) -> Option<ExitStatus> {
        let child = self.running.get_mut(&daemon).expect("it was started");
        let ended = child.try_wait().expect("its state");
        if ended.is_some() {
            self.running.remove(&daemon);
        }
        ended
    }

    /// Panics when a process has ended that was started.
    pub fn assert_running(&mut self) {
        let started: Vec<_> = self.running.keys().copied().collect();
        for daemon in started {
            self.assert_runs(daemon);
        }
    }

    fn assert_runs(&mut self, daemon: Daemon) {
        if let Some(status) = self.ended(daemon) {
            panic!("{daemon} ended with {status}:\n{}", self.log_tail(daemon));
        }
    }

    /// Whether a process does its work; it must not have ended.
    fn ready(&mut self, daemon: Daemon) -> Result<(), String> {
        self.assert_runs(daemon);
        if daemon == Daemon::Mount {
            return match is_mounted(&self.mountpoint()) {
                true => Ok(()),
                false => Err("nothing is mounted".to_owned()),
            };
        }
        match self.health(daemon)? {
            (200, _) => Ok(()),
            (_, details) => Err(format!("{daemon} is not healthy: {details}")),
        }
    }

    /// Where a server shows metrics and health.
    pub fn http_port(&self, daemon: Daemon) -> u16 {
        let address = match daemon {
            Daemon::Scm => self.property("ozone.scm.http-address"),
            Daemon::Om => self.property("ozone.om.http-address"),
            Daemon::Datanode(n) => &self.datanodes[n - 1][0].1,
            Daemon::Mount => panic!("a mount has no HTTP server"),
        };
        let port = address.rsplit(':').next().expect("a port");
        port.parse().expect("a number")
    }

    /// What a server says of its health, with the status of the answer.
    pub fn health(&self, daemon: Daemon) -> Result<(u16, Value), String> {
        let (status, body) = http::get(self.http_port(daemon), "/health")?;
        let details = serde_json::from_str(&body).map_err(|e| format!("{body}: {e}"))?;
        Ok((status, details))
    }

    /// Process id of what runs.
    pub fn pid(&self, daemon: Daemon) -> u32 {
        self.running[&daemon].id()
    }

    /// Kills a process as `kill -9` does: it is gone when this returns.
    pub fn kill9(&mut self, daemon: Daemon) {
        let mut child = self.running.remove(&daemon).expect("it runs");
        child.kill().expect("SIGKILL");
        child.wait().expect("the end of the process");
    }

    /// Stops a process as an operator does, and checks that it ended well.
    pub fn stop(&mut self, daemon: Daemon) {
        let mut child = self.running.remove(&daemon).expect("it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("SIGTERM");
        let status = child.wait().expect("the end of the process");
        assert!(
            status.success(),
            "{daemon}: {status}:\n{}",
            self.log_tail(daemon)
        );
    }

    /// Stops everything, the mount first.
    pub fn stop_all(&mut self) {
        let all: Vec<_> = self.running.keys().copied().collect();
        all.into_iter().for_each(|daemon| self.stop(daemon));
    }

    fn log_file(&self, daemon: Daemon) -> PathBuf {
        self.dir().join("logs").join(format!("{daemon}.log"))
    }

    /// What a process has logged, over all its lives.
    pub fn log(&self, daemon: Daemon) -> String {
        let log = fs::read(self.log_file(daemon)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Ids of the requests of one operation that a server has logged
    /// ([`DaemonOptions::log_requests`]).
    pub fn request_ids(&self, daemon: Daemon, op: &str) -> Vec<String> {
        let log = self.log(daemon);
        let lines = log.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let span = &line["span"];
            let id = span["request_id"].as_str()?.to_owned();
            (span["op"] == op).then_some(id)
        });
        lines.collect()
    }

    fn log_tail(&self, daemon: Daemon) -> String {
        let log = fs::read(self.log_file(daemon)).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned()
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for daemon in self.running.keys() {
                eprintln!("end of the log of {daemon}:\n{}", self.log_tail(*daemon));
            }
        }
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Fails when nothing is mounted, which is as good.
        let _ = umount2(&self.mountpoint(), MntFlags::MNT_DETACH);
    }
}

/// Whether a filesystem of ours is mounted at `path`.
pub fn is_mounted(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mounts").expect("the table of mounts");
    let path = path.to_str().expect("a name of plain text");
    table.lines().any(|line| {
        let words: Vec<_> = line.split(' ').collect();
        words[1] == path && words[2] == "fuse.ozone"
    })
}
