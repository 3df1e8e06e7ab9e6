//! Commits per second, against what the disk can do.
//!
//! Prints one line per number of members, groups and clients: commits a second, and that as a ratio
//! of the fdatasyncs a second that one thread gets from the same disk in the same run. A ratio above
//! one is group commit at work. `commits [directory] [seconds]`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ozone_common::disk::{Disk, OpenMode, RealDisk};
use ozone_raft::{
    ApplyBatch, Group, GroupConfig, HostConfig, Peer, RaftHost, RaftOptions, StateMachine,
    StateMachineError,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

type AnyResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

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

/// Fdatasyncs a second of one thread that overwrites an allocated file.
fn raw_syncs(dir: &Path, time: Duration) -> AnyResult<f64> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("raw");
    let file = RealDisk.open(&path, OpenMode::Truncate)?;
    let size = 8 << 20;
    file.zero(0, size)?;
    file.sync_data()?;
    let block = [1; COMMAND];
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        file.write_at(&block, count * COMMAND as u64 % size)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

struct Cluster {
    hosts: Vec<Arc<RaftHost>>,
    peers: Vec<Peer>,
    dir: PathBuf,
}

impl Cluster {
    async fn start(members: u64, dir: PathBuf) -> AnyResult<Self> {
        let (mut hosts, mut peers) = (Vec::new(), Vec::new());
        for n in 0..members {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
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
    async fn group(&self, n: u64) -> AnyResult<Arc<Group>> {
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
        let at = self
            .peers
            .iter()
            .position(|peer| peer.id == leader.id)
            .ok_or("no such leader")?;
        handles[at].propose(Bytes::from_static(b"first")).await?;
        Ok(handles.swap_remove(at))
    }
}

/// Lets clients propose one command after the other, spread over the groups.
async fn measure(groups: &[Arc<Group>], clients: usize, time: Duration) -> AnyResult<f64> {
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
            AnyResult::Ok(count)
        }));
    }
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(total as f64 / start.elapsed().as_secs_f64())
}

#[tokio::main]
async fn main() -> AnyResult<()> {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .map_or_else(|| std::env::temp_dir().join("raft-commits"), PathBuf::from);
    let seconds = args.next().map_or(Ok(3), |s| s.parse::<u64>())?;
    let time = Duration::from_secs(seconds);
    let raw = raw_syncs(&dir, time)?;
    println!("one thread, overwriting: {raw:.0} fdatasync/s");
    for members in [1, 3] {
        for count in [1, 8] {
            let run = dir.join(format!("{members}x{count}"));
            let cluster = Cluster::start(members, run.clone()).await?;
            let mut groups = Vec::new();
            for n in 0..count {
                groups.push(cluster.group(n).await?);
            }
            for clients in [1, 64] {
                let rate = measure(&groups, clients, time).await?;
                let ratio = rate / raw;
                println!(
                    "{members} members, {count} groups, {clients:2} clients: {rate:8.0} commits/s = {ratio:5.2} x fdatasync"
                );
            }
            for host in &cluster.hosts {
                host.shutdown().await;
            }
            std::fs::remove_dir_all(&run)?;
        }
    }
    Ok(())
}
