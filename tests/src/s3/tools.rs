//! The clients that people use: boto3, Amazon's command line, s3cmd and rclone.

use std::path::Path;
use std::process::{Command, Output};

use super::{REGION, S3};

/// What the tools are and where they come from.
const MISSING: &str =
    "the tests of S3 need boto3, Amazon's command line, s3cmd and rclone: run scripts/setup.sh";

impl S3 {
    /// Runs a script of `tests/s3`; panics with what it printed when it fails.
    pub fn script(&self, name: &str) {
        self.script_with(name, &[]);
    }

    /// As `script`, with arguments.
    pub fn script_with(&self, name: &str, arguments: &[&str]) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("s3");
        let mut command = Command::new("python3");
        command.arg("-B").arg(dir.join(name)).args(arguments);
        self.run(&mut command);
    }

    /// Runs Amazon's command line; gives what it printed.
    pub fn aws(&self, arguments: &[&str]) -> String {
        self.run(self.aws_command().args(arguments))
    }

    /// Runs s3cmd; gives what it printed.
    pub fn s3cmd(&self, arguments: &[&str]) -> String {
        self.run(self.s3cmd_command().args(arguments))
    }

    /// Runs rclone, which knows the gateway as `s3:`; gives what it printed.
    pub fn rclone(&self, arguments: &[&str]) -> String {
        self.run(self.rclone_command().args(arguments))
    }

    /// Amazon's command line, for the gateway.
    pub fn aws_command(&self) -> Command {
        let mut command = Command::new("aws");
        command.args(["--endpoint-url", &format!("http://{}", self.endpoint)]);
        self.acquaint(&mut command);
        command
    }

    /// s3cmd, for the gateway.
    pub fn s3cmd_command(&self) -> Command {
        let mut command = Command::new("s3cmd");
        command
            .args(["--config", "/dev/null", "--no-ssl", "--no-progress"])
            .arg(format!("--host={}", self.endpoint))
            .arg(format!("--host-bucket={}", self.endpoint))
            .arg(format!("--access_key={}", self.id))
            .arg(format!("--secret_key={}", self.secret));
        self.acquaint(&mut command);
        command
    }

    /// rclone, for the gateway as `s3:`.
    pub fn rclone_command(&self) -> Command {
        let mut command = Command::new("rclone");
        command
            .args(["--config", "/dev/null", "--retries", "1"])
            .env("RCLONE_CONFIG_S3_TYPE", "s3")
            .env("RCLONE_CONFIG_S3_PROVIDER", "Other")
            .env("RCLONE_CONFIG_S3_ENV_AUTH", "true")
            .env("RCLONE_CONFIG_S3_REGION", REGION)
            .env(
                "RCLONE_CONFIG_S3_ENDPOINT",
                format!("http://{}", self.endpoint),
            );
        self.acquaint(&mut command);
        command
    }

    fn acquaint(&self, command: &mut Command) {
        command
            .env("S3_ENDPOINT", format!("http://{}", self.endpoint))
            .env("AWS_ACCESS_KEY_ID", &self.id)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            // Certificates of others, which rclone cannot load.
            .env_remove("AWS_CA_BUNDLE");
    }

    fn run(&self, command: &mut Command) -> String {
        self.acquaint(command);
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: {MISSING}"));
        let printed = text(&output);
        let found = !printed.contains("No module named");
        assert!(found, "{printed}: {MISSING}");
        assert!(output.status.success(), "{command:?}: {printed}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// All that a program has printed.
pub(super) fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .concat()
}
