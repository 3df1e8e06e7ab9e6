//! A cluster of the real binary, mounted: started, killed, stopped and started again.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::daemons::is_mounted;
use crate::refused::Refused;
use crate::wait::wait_for;

/// How long a start may take until the cluster says that it is up.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long a mount may take to get a bucket to itself.
const ALONE_LIMIT: Duration = Duration::from_secs(30);
/// Last line of the summary.
const LAST_LINE: &str = "Ctrl-C stops it";
/// Of the log, in a panic.
const LOG_TAIL: usize = 4 << 10;

/// How `ozone up` is run.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Number of datanodes.
    pub datanodes: u16,
    /// `ONE` or `THREE`; the default of the binary where not given.
    pub replication: Option<&'static str>,
    /// Configuration keys, as `key=value`.
    pub sets: Vec<String>,
    /// Where the cluster keeps everything; a temporary directory where not given.
    pub dir: Option<PathBuf>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            datanodes: 1,
            replication: None,
            sets: Vec::new(),
            dir: None,
        }
    }
}

/// A cluster with a mount. Dropping it kills and unmounts what is left.
pub struct Cluster {
    options: ClusterOptions,
    temp: TempDir,
    dir: PathBuf,
    running: Option<Running>,
}

struct Running {
    child: Child,
    om: String,
    om_http: u16,
    summary: Vec<String>,
}

impl Cluster {
    /// Starts a cluster in a directory of its own and returns when it is mounted and writable.
    pub fn start(options: ClusterOptions) -> Self {
        let mut cluster = Self::new(options);
        cluster.restart();
        cluster
    }

    /// A cluster that is not started yet.
    pub fn new(options: ClusterOptions) -> Self {
        assert_fuse();
        let temp = tempfile::Builder::new()
            .prefix("ozone-test-")
            .tempdir()
            .expect("a temporary directory");
        let dir = options
            .dir
            .clone()
            .unwrap_or_else(|| temp.path().join("data"));
        fs::create_dir(temp.path().join("mnt")).expect("a mount point");
        Self {
            options,
            temp,
            dir,
            running: None,
        }
    }

    /// Starts it on the data that it has, after [`Cluster::kill9`] or [`Cluster::stop`].
    pub fn restart(&mut self) {
        if let Err(refused) = self.try_start() {
            let log = self.log_tail();
            panic!("the cluster did not start: {refused:?}\nend of its log:\n{log}");
        }
    }

    /// Starts it, or gives what the binary said instead.
    pub fn try_start(&mut self) -> Result<(), Refused> {
        let mut child = self.spawn();
        let summary = read_summary(child.stdout.take().expect("a pipe"), START_LIMIT);
        let om = summary.iter().find_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let web = words.get(2)?.strip_suffix("/health")?;
            let port = web.rsplit(':').next()?.parse().ok()?;
            (words[0] == "OM").then(|| (words[1].to_owned(), port))
        });
        if let Some((om, om_http)) = om {
            self.running = Some(Running {
                child,
                om,
                om_http,
                summary,
            });
            return Ok(());
        }
        // It ended, or takes too long.
        let _ = child.kill();
        let code = child.wait().expect("the exit code").code();
        let text = self.errors();
        Err(Refused { code, text })
    }

    fn spawn(&self) -> Child {
        assert!(self.running.is_none(), "the cluster runs already");
        self.up()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(self.error_file()).expect("a file for errors"))
            .spawn()
            .expect("the binary starts")
    }

    /// Starts it and kills it after `moment`, or as soon as it is up.
    pub fn kill_during_start(&mut self, moment: Duration) {
        let mut child = self.spawn();
        read_summary(child.stdout.take().expect("a pipe"), moment);
        child.kill().expect("SIGKILL");
        child.wait().expect("the end of the process");
    }

    /// Sets a configuration key (`key=value`) from the next start on.
    pub fn set(&mut self, pair: &str) {
        self.options.sets.push(pair.to_owned());
    }

    /// The command that starts this cluster.
    pub fn up(&self) -> Command {
        let mut command = Command::new(binary());
        command.arg("up").arg("--auto-ports");
        command.arg("--dir").arg(&self.dir);
        command.arg("--mount").arg(self.mountpoint());
        command
            .arg("--datanodes")
            .arg(self.options.datanodes.to_string());
        if let Some(copies) = self.options.replication {
            command.args(["--replication", copies]);
        }
        for set in &self.options.sets {
            command.args(["--set", set]);
        }
        command
    }

    /// Kills the process as `kill -9` does: nothing of it runs any more when this returns.
    pub fn kill9(&mut self) {
        let mut running = self.running.take().expect("the cluster runs");
        running.child.kill().expect("SIGKILL");
        running.child.wait().expect("the end of the process");
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process id"));
        kill(pid, signal).expect("a signal that arrives");
    }

    /// Id of its process.
    pub fn pid(&self) -> u32 {
        let running = self.running.as_ref().expect("the cluster runs");
        running.child.id()
    }

    /// Stops it as an operator does, and checks that it ended well.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        self.wait_for_end();
    }

    /// Waits until the process ends, which it has to do well.
    pub fn wait_for_end(&mut self) {
        let mut running = self.running.take().expect("the cluster runs");
        let status = running.child.wait().expect("the end of the process");
        assert!(
            status.success(),
            "stopping failed with {status}: {}",
            self.log_tail()
        );
    }

    /// Waits until the process ends by itself; gives what it said.
    pub fn wait_for_failure(&mut self) -> Refused {
        let mut running = self.running.take().expect("the cluster runs");
        let status = running.child.wait().expect("the end of the process");
        let (code, text) = (status.code(), self.errors());
        Refused { code, text }
    }

    /// Where the namespace is mounted.
    pub fn mountpoint(&self) -> PathBuf {
        self.temp.path().join("mnt")
    }

    /// Where the cluster keeps everything.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A directory for the files of the test, on the local disk.
    pub fn scratch(&self) -> &Path {
        self.temp.path()
    }

    /// Makes a bucket, and its volume where needed, and gives its directory.
    pub fn bucket(&self, volume: &str, bucket: &str) -> PathBuf {
        let path = self.mountpoint().join(volume).join(bucket);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// Port on which the OM shows metrics and health.
    pub fn om_http(&self) -> u16 {
        self.running.as_ref().expect("the cluster runs").om_http
    }

    /// What it said when it was up.
    pub fn summary(&self) -> &[String] {
        &self.running.as_ref().expect("the cluster runs").summary
    }

    /// Where the OM answers.
    pub fn om_address(&self) -> &str {
        &self.running.as_ref().expect("the cluster runs").om
    }

    /// How many requests of this type the OM has answered with OK since it started.
    pub fn om_requests(&self, op: &str) -> u64 {
        let labels = [format!("op=\"{op}\""), "status=\"OK\"".to_owned()];
        self.metric("om_requests_total", &labels)
    }

    /// Uses a bucket until the mount has it to itself: what is made there is made in memory.
    pub fn alone(&self, bucket: &Path) {
        let mut n = 0;
        wait_for(ALONE_LIMIT, || {
            let before = self.om_requests("Create");
            n += 1;
            let probe = bucket.join(format!(".alone-{n}"));
            fs::create_dir(&probe).expect("a directory");
            fs::remove_dir(&probe).expect("an empty directory");
            match self.om_requests("Create") == before {
                true => Ok(()),
                false => Err("every create is a call".to_owned()),
            }
        });
    }

    /// Seconds that requests of this type have taken in the OM since it started, together.
    pub fn om_seconds(&self, op: &str) -> f64 {
        let labels = [format!("op=\"{op}\"")];
        let number = self.metric_text("om_request_seconds_sum", &labels);
        number.map_or(0.0, |number| number.parse().expect("a number"))
    }

    /// A number that the cluster's processes tell of themselves, 0 when they do not.
    pub fn metric(&self, name: &str, labels: &[String]) -> u64 {
        let number = self.metric_text(name, labels);
        number.map_or(0, |number| number.parse().expect("a number"))
    }

    fn metric_text(&self, name: &str, labels: &[String]) -> Option<String> {
        let (_, text) = crate::http::get(self.om_http(), "/prom").expect("metrics");
        let wanted = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| {
                rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
            })
        };
        let line = text.lines().find(wanted);
        let number = line.and_then(|line| line.rsplit(' ').next());
        number.map(str::to_owned)
    }

    /// Runs the binary against this cluster.
    pub fn ozone(&self, args: &[&str]) -> Output {
        let om = self.om_address();
        Command::new(binary())
            .arg("--set")
            .arg(format!("ozone.om.address={om}"))
            .args(args)
            .output()
            .expect("the binary starts")
    }

    /// Mounts the namespace a second time, by a process of its own.
    pub fn mount_again(&self) -> SecondMount {
        self.mount_again_with("rw")
    }

    /// The same, with a list of options as `-o` has it.
    pub fn mount_again_with(&self, options: &str) -> SecondMount {
        let dir = tempfile::tempdir().expect("a mount point");
        SecondMount::start(self.om_address(), dir, options)
    }

    /// What the cluster has logged, over all its lives.
    pub fn log(&self) -> String {
        let log = fs::read(self.dir.join("ozone.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// What the process has written to its standard error since it was started last.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.error_file()).expect("its errors")
    }

    fn error_file(&self) -> PathBuf {
        self.temp.path().join("stderr")
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let start = log.len().saturating_sub(LOG_TAIL);
        String::from_utf8_lossy(&log.as_bytes()[start..]).into_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("end of the cluster's log:\n{}", self.log_tail());
        }
        // Fails when nothing is mounted, which is as good.
        let _ = umount2(&self.mountpoint(), MntFlags::MNT_DETACH);
    }
}

/// A mount by `ozone mount`. Dropping it ends and unmounts it.
pub struct SecondMount {
    child: Child,
    dir: TempDir,
}

impl SecondMount {
    /// Its process does nothing for a while, as on a machine that stands still.
    pub fn stand_still(&self, time: Duration) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process id"));
        kill(pid, Signal::SIGSTOP).expect("SIGSTOP");
        std::thread::sleep(time);
        kill(pid, Signal::SIGCONT).expect("SIGCONT");
    }

    fn start(om: &str, dir: TempDir, options: &str) -> Self {
        let child = Command::new(binary())
            .args(["mount", om])
            .arg(dir.path())
            .args(["-o", options])
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mount = Self { child, dir };
        wait_for(START_LIMIT, || match is_mounted(mount.path()) {
            true => Ok(()),
            false => Err("the second mount did not come up".to_owned()),
        });
        mount
    }

    /// Id of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Kills its process as `kill -9` does.
    pub fn kill9(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the end of the process");
    }
}

impl Drop for SecondMount {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Fails when nothing is mounted, which is as good.
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

/// Panics where nothing can be mounted.
pub(crate) fn assert_fuse() {
    assert!(
        Path::new("/dev/fuse").exists(),
        "/dev/fuse does not exist: load the kernel's fuse module (modprobe fuse), or pass the \
         device into the container (--device /dev/fuse --cap-add SYS_ADMIN)"
    );
}

/// The binary `ozone` of the build that this program belongs to: beside it, or, for a test, one
/// directory up.
pub fn binary() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let mut dir = program.parent().expect("a target directory");
    if dir.ends_with("deps") {
        dir = dir.parent().expect("a target directory");
    }
    let path = dir.join("ozone");
    assert!(
        path.exists(),
        "{} does not exist: build it first: cargo build --workspace",
        path.display()
    );
    path
}

/// Reads the summary up to its last line; nothing when the process ends or is not up within `limit`.
/// A thread goes on reading, so that the process never waits for its pipe.
fn read_summary(stdout: ChildStdout, limit: Duration) -> Vec<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody wants the lines after the summary.
            let _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + limit;
    let mut summary = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.starts_with(LAST_LINE) => return summary,
            Ok(line) => summary.push(line),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Vec::new(),
        }
    }
}
