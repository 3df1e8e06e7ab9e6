//! SCM, OM and a datanode as processes of their own, each with a site file and directories of its own,
//! on free ports of this machine.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use ozone_tests::cluster::binary;
use serde_json::Value;
use tempfile::TempDir;

/// Levels at which each request is logged.
const LEVELS: &str = "info,audit=debug,ozone_scm=debug,ozone_om=debug,ozone_datanode=debug";

/// One cluster of daemons. Dropping it kills what runs.
pub(crate) struct Daemons {
    dir: TempDir,
    shared: Vec<(String, String)>,
    running: Vec<Child>,
}

impl Daemons {
    /// Nothing runs yet.
    pub(crate) fn new(more: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ozone-secure-")
            .tempdir()
            .unwrap();
        // Held until all are chosen, so that none is chosen twice.
        let held: Vec<_> = (0..9)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let port = |n: usize| held[n].local_addr().unwrap().port().to_string();
        let address = |n| format!("127.0.0.1:{}", port(n));
        let fixed = [
            ("ozone.scm.client.address", address(0)),
            ("ozone.scm.block.client.address", address(1)),
            ("ozone.scm.datanode.address", address(2)),
            ("ozone.scm.security.service.address", address(3)),
            ("ozone.scm.ratis.port", port(4)),
            ("ozone.om.address", address(5)),
            ("ozone.om.ratis.port", port(6)),
            ("hdds.container.ipc.port", port(7)),
            ("hdds.container.ratis.server.port", port(8)),
            ("ozone.scm.http-address", "127.0.0.1:0".to_owned()),
            ("ozone.om.http-address", "127.0.0.1:0".to_owned()),
            ("hdds.datanode.http-address", "127.0.0.1:0".to_owned()),
            ("ozone.server.default.replication", "ONE".to_owned()),
            ("hdds.scm.safemode.min.datanode", "1".to_owned()),
            ("hdds.heartbeat.interval", "1s".to_owned()),
        ];
        let fixed = fixed.map(|(key, value)| (key.to_owned(), value));
        let more = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Self {
            shared: fixed.into_iter().chain(more).collect(),
            dir,
            running: Vec::new(),
        }
    }

    /// Where everything lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sets a key for every process that is started from now on.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.shared.push((key.to_owned(), value.to_owned()));
    }

    /// The command of one role (`scm`, `om`, `datanode`, or a client's name).
    pub(crate) fn command(&self, role: &str) -> Command {
        let mut command = Command::new(binary());
        command.arg("--conf").arg(self.site(role)).arg("--log-json");
        command.env("OZONE_LOGLEVEL", LEVELS);
        command
    }

    fn site(&self, role: &str) -> PathBuf {
        let base = self.path(role);
        fs::create_dir_all(&base).unwrap();
        let at = |name: &str| base.join(name).display().to_string();
        let mut pairs = self.shared.clone();
        pairs.push(("ozone.metadata.dirs".to_owned(), at("ozone-metadata")));
        match role {
            "scm" => pairs.push(("ozone.scm.db.dirs".to_owned(), at("data"))),
            "om" => pairs.push(("ozone.om.db.dirs".to_owned(), at("data"))),
            "datanode" => pairs.push(("hdds.datanode.dir".to_owned(), at("data"))),
            _ => {}
        }
        let property = |(key, value): &(String, String)| {
            format!("<property><name>{key}</name><value>{value}</value></property>\n")
        };
        let body: String = pairs.iter().map(property).collect();
        let file = base.join("ozone-site.xml");
        fs::write(&file, format!("<configuration>\n{body}</configuration>\n")).unwrap();
        file
    }

    /// Runs a command of a role to its end.
    pub(crate) fn run(&self, role: &str, args: &[&str]) -> Output {
        self.command(role).args(args).output().unwrap()
    }

    /// The same; it has to succeed.
    pub(crate) fn must(&self, role: &str, args: &[&str]) -> String {
        let output = self.run(role, args);
        let text = text_of(&output);
        assert!(
            output.status.success(),
            "{role} {args:?}: {text}\n{}",
            self.logs()
        );
        text
    }

    /// Starts a server.
    pub(crate) fn start(&mut self, role: &str) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(role))
            .unwrap();
        let child = self
            .command(role)
            .arg(role)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push(child);
    }

    fn log(&self, role: &str) -> PathBuf {
        self.path(&format!("{role}.log"))
    }

    /// What a server has logged so far, a JSON object a line.
    pub(crate) fn lines(&self, role: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.log(role)).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Ids of the requests that a server has logged for this operation.
    pub(crate) fn request_ids(&self, role: &str, op: &str) -> Vec<String> {
        let found = self.lines(role).into_iter().filter_map(|line| {
            let span = &line["span"];
            let id = span["request_id"].as_str()?.to_owned();
            (span["op"] == op).then_some(id)
        });
        found.collect()
    }

    fn logs(&self) -> String {
        let tail = |role: &str| {
            let text = fs::read_to_string(self.log(role)).unwrap_or_default();
            let from = text.len().saturating_sub(2000);
            format!("--- {role}\n{}\n", text.get(from..).unwrap_or_default())
        };
        ["scm", "om", "datanode"].map(tail).concat()
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for child in &mut self.running {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a command printed.
pub(crate) fn text_of(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
