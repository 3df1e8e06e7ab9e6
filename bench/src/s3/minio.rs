//! MinIO, started on the disk that is measured, as it is shipped: one drive.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ozone_tests::s3::S3;
use ozone_tests::wait::wait_for;

use crate::error::{Result, io_error};

/// How long a start may take.
const START: Duration = Duration::from_secs(60);
const USER: &str = "bench";
const SECRET: &str = "bench-secret";

/// A running server; it ends when it is dropped.
pub(crate) struct Minio {
    child: Child,
    /// How it is reached.
    pub(crate) s3: S3,
}

impl Minio {
    pub(crate) fn start(binary: &Path, dir: &Path) -> Result<Self> {
        let data = dir.join("disk");
        fs::create_dir_all(&data).map_err(io_error("create", &data))?;
        let log = dir.join("log");
        let log = File::create(&log).map_err(io_error("create", &log))?;
        // Free a moment ago, which is as good as it gets.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free
            .map_err(io_error("find a port for", binary))?
            .to_string();
        let errors = log.try_clone().map_err(io_error("log for", binary))?;
        let child = Command::new(binary)
            .args(["server", "--quiet", "--address", &address])
            .arg(&data)
            .env("MINIO_ROOT_USER", USER)
            .env("MINIO_ROOT_PASSWORD", SECRET)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(io_error("start", binary))?;
        let s3 = S3 {
            endpoint: address,
            id: USER.to_owned(),
            secret: SECRET.to_owned(),
        };
        let minio = Self { child, s3 };
        let port = minio.s3.endpoint.rsplit(':').next();
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(0);
        wait_for(START, || {
            match ozone_tests::http::get(port, "/minio/health/live") {
                Ok((200, _)) => Ok(()),
                other => Err(format!("MinIO does not answer: {other:?}")),
            }
        });
        Ok(minio)
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        // It was started, so it can be ended and waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
