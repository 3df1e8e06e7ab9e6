//! Commits per second, against what the disk can do.
//!
//! One line per number of members, groups and clients: commits a second, and that as a ratio of the
//! fdatasyncs a second that one thread gets from the same disk right before. A ratio above one is
//! group commit at work.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ozone_raft::{
    ApplyBatch, Group, GroupConfig, HostConfig, Peer, RaftHost, RaftOptions, StateMachine,
    StateMachineError,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

use crate::error::{BenchError, Result, io_error};
use crate::machine::fdatasync_rate;

/// Bytes of a command.
const COMMAND: usize = 256;

/// Counts commands; what is measured is the log, not the state.
#[derive(Default)]
struct Counter {
    position: Mutex<Option<Vec<u8>>>,
    commands: AtomicU64,
}

impl StateMachine for Counter {
    fn load(&self) -> Result<Option<Vec<u8>>, StateMachineError> {
        Ok(self.position.lock().clone())
    }

    fn apply(&self, batch: ApplyBatch<'_>) -> Result<Vec<Bytes>, StateMachineError> {
        let count = batch.commands.len();
        self.commands.fetch_add(count as u64, Ordering::Relaxed);
        *self.position.lock() = Some(batch.position.to_vec());
        Ok(vec![Bytes::new(); count])
    }

    fn flush(&self) -> Result<(), StateMachineError> {
        Ok(())
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), StateMachineError> {
        let position = self.position.lock().clone().unwrap_or_default();
        Ok(std::fs::write(dir.join("position"), position)?)
    }

    fn restore(&self, dir: &Path) -> Result<(), StateMachineError> {
        *self.position.lock() = Some(std::fs::read(dir.join("position"))?);
        Ok(())
    }
}

struct Cluster {
    hosts: Vec<Arc<RaftHost>>,
    peers: Vec<Peer>,
    dir: PathBuf,
}

impl Cluster {
    async fn start(members: u64, dir: PathBuf) -> Result<Self> {
        let (mut hosts, mut peers) = (Vec::new(), Vec::new());
        for n in 0..members {
            let (listener, address) = listen().await.map_err(io_error("listen for", &dir))?;
            let peer = Peer {
                id: Uuid::from_u64_pair(1, n),
                address,
            };
            let host = RaftHost::new(HostConfig::new(peer.id))?;
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let router = Server::builder().add_service(host.service());
            tokio::spawn(router.serve_with_incoming(incoming));
            hosts.push(host);
            peers.push(peer);
        }
        Ok(Self { hosts, peers, dir })
    }

    /// Opens a group on all members and returns its handle on the one that leads.
    async fn group(&self, n: u64) -> Result<Arc<Group>> {
        let mut handles = Vec::new();
        for host in &self.hosts {
            let config = GroupConfig {
                group_id: Uuid::from_u64_pair(2, n),
                storage_dir: self.dir.join(host.node_id().to_string()),
                members: self.peers.clone(),
                options: RaftOptions::default(),
            };
            handles.push(
                host.open_group(config, Arc::new(Counter::default()))
                    .await?,
            );
        }
        let leader = handles[0].wait_for_leader(Duration::from_secs(10)).await?;
        let led = self.peers.iter().position(|peer| peer.id == leader.id);
        let handle = handles.swap_remove(led.unwrap_or_default());
        handle.propose(Bytes::from_static(b"first")).await?;
        Ok(handle)
    }
}

async fn listen() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    Ok((listener, address))
}

/// Lets clients propose one command after the other, spread over the groups.
async fn measure(groups: &[Arc<Group>], clients: usize, time: Duration) -> Result<f64> {
    let start = Instant::now();
    let end = start + time;
    let mut tasks = Vec::new();
    for client in 0..clients {
        let group = groups[client % groups.len()].clone();
        tasks.push(tokio::spawn(async move {
            let command = Bytes::from(vec![7; COMMAND]);
            let mut count = 0u64;
            while Instant::now() < end {
                group.propose(command.clone()).await?;
                count += 1;
            }
            Ok::<_, BenchError>(count)
        }));
    }
    let mut total = 0;
    for task in tasks {
        total += task.await.map_err(|_| BenchError::Panicked)??;
    }
    Ok(total as f64 / start.elapsed().as_secs_f64())
}

/// Prints a row for each number of members, groups and clients, with logs in `dir`.
pub(crate) fn run(dir: &Path, seconds: u64) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().map_err(io_error("start threads for", dir))?;
    std::fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    let time = Duration::from_secs(seconds);
    println!(
        "{:<8} {:>6} {:>7} {:>11} {:>12} {:>18}",
        "members", "groups", "clients", "commits/s", "fdatasync/s", "commits/fdatasync"
    );
    for members in [1, 3] {
        for groups in [1, 8] {
            let dir = dir.join(format!("{members}x{groups}"));
            runtime.block_on(rows(members, groups, &dir, time))?;
            std::fs::remove_dir_all(&dir).map_err(io_error("remove", &dir))?;
        }
    }
    Ok(())
}

/// The rows of a number of members and groups.
async fn rows(members: u64, count: u64, dir: &Path, time: Duration) -> Result<()> {
    let cluster = Cluster::start(members, dir.to_owned()).await?;
    let mut groups = Vec::new();
    for n in 0..count {
        groups.push(cluster.group(n).await?);
    }
    for clients in [1, 64] {
        // Right before, since the disk may serve others too.
        let raw = fdatasync_rate(dir, time)?;
        let rate = measure(&groups, clients, time).await?;
        let ratio = rate / raw;
        println!("{members:<8} {count:>6} {clients:>7} {rate:>11.0} {raw:>12.0} {ratio:>18.2}");
    }
    for host in &cluster.hosts {
        host.shutdown().await;
    }
    Ok(())
}
