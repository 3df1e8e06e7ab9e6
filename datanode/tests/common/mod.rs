//! A fake SCM, a client and datanodes on real sockets, for the tests of this crate.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, unreachable_pub)]

pub mod client;
pub mod scm;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::config::Config;
use ozone_common::disk::Disk;
use ozone_datanode::{DatanodeOptions, DatanodeServer, StartError};

pub use client::Client;
pub use scm::FakeScm;

/// How long a condition may take to come about.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Settings of a datanode that lives in `dir`.
pub fn config(dir: &Path, more: &[(&str, &str)]) -> Config {
    let dir = dir.display();
    let own = [
        ("ozone.metadata.dirs", format!("{dir}/meta")),
        ("hdds.datanode.dir", format!("{dir}/data")),
        ("hdds.container.ipc.port", "0".to_owned()),
        ("hdds.container.ratis.server.port", "0".to_owned()),
        ("hdds.datanode.http-address", "127.0.0.1:0".to_owned()),
        ("hdds.datanode.volume.min.free.space", "1MB".to_owned()),
        ("hdds.heartbeat.interval", "200ms".to_owned()),
    ];
    let config = Config::from_pairs(own).unwrap();
    config.with(more.iter().copied()).unwrap()
}

/// Starts a datanode in `dir` and waits until SCM knows it.
pub async fn start(scm: &FakeScm, dir: &Path, more: &[(&str, &str)]) -> DatanodeServer {
    let mut options = DatanodeOptions::new(config(dir, more));
    options.scm = vec![scm.address()];
    start_with(options).await
}

/// The same on a disk of its own.
pub async fn start_on(scm: &FakeScm, dir: &Path, disk: Arc<dyn Disk>) -> DatanodeServer {
    let mut options = DatanodeOptions::new(config(dir, &[]));
    options.scm = vec![scm.address()];
    options.disk = disk;
    start_with(options).await
}

/// Starts a datanode, waiting for one that was just dropped to let go of the directory.
pub async fn start_with(options: DatanodeOptions) -> DatanodeServer {
    let started = async {
        loop {
            match DatanodeServer::start(options.clone()).await {
                Ok(server) => return server,
                Err(StartError::Database { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let server = tokio::time::timeout(LIMIT, started).await.unwrap();
    tokio::time::timeout(LIMIT, server.wait_registered())
        .await
        .unwrap()
        .unwrap();
    server
}

/// Bytes that differ from place to place.
pub fn data(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Waits until `check` gives something, looking again whenever other work has been done.
pub async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(LIMIT, waiting).await {
        Ok(found) => found,
        Err(_) => panic!("never came about: {what}"),
    }
}

/// The whole answer to a GET of the page at `path`.
pub async fn http(datanode: &DatanodeServer, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = datanode.addresses().http;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}
