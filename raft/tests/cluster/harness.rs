//! Members in one process that talk over loopback. Each has a runtime, a disk and a directory of
//! its own, so that one can be killed: its tasks vanish, and its disk loses what was not fsynced.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ozone_common::disk::{Cut, Disk, FaultyDisk, RealDisk};
use ozone_raft::{
    Group, GroupConfig, HostConfig, Peer, RaftError, RaftHost, RaftOptions, StateMachine,
};
use rand::Rng;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

use crate::machine::MapMachine;

/// Longest that anything may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn group_id(n: u64) -> Uuid {
    Uuid::from_u64_pair(0xc0de, n)
}

pub(crate) struct Running {
    pub(crate) host: Arc<RaftHost>,
    pub(crate) groups: BTreeMap<Uuid, (Arc<Group>, Arc<MapMachine>)>,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Running {
    async fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime
            .as_ref()
            .expect("running")
            .spawn(task)
            .await
            .unwrap()
    }

    /// Ends all tasks; returns when they are gone.
    async fn end(mut self) {
        let runtime = self.runtime.take().expect("running");
        let end = move || runtime.shutdown_timeout(Duration::from_secs(10));
        tokio::task::spawn_blocking(end).await.unwrap();
    }
}

pub(crate) struct Member {
    pub(crate) peer: Peer,
    dir: PathBuf,
    disk: Arc<FaultyDisk>,
    pub(crate) running: Option<Running>,
}

pub(crate) struct Cluster {
    _guard: tempfile::TempDir,
    pub(crate) members: Vec<Member>,
    pub(crate) options: RaftOptions,
}

/// Listens there, once that is free.
pub(crate) async fn listen(address: &str) -> TcpListener {
    // The port of a killed member is free only once its connections are gone.
    eventually("a free port", || async {
        TcpListener::bind(address).await.ok()
    })
    .await
}

/// Waits until `probe` gives something.
pub(crate) async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let found = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("never came: {what}"))
}

impl Member {
    async fn new(n: u64, root: &std::path::Path) -> Self {
        let address: SocketAddr = listen("127.0.0.1:0").await.local_addr().unwrap();
        Self {
            peer: Peer {
                id: Uuid::from_u64_pair(7, n),
                address: address.to_string(),
            },
            dir: root.join(format!("member-{n}")),
            disk: FaultyDisk::with_power_cuts(Arc::new(RealDisk)),
            running: None,
        }
    }

    pub(crate) async fn start_host(&mut self) {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = listen(&self.peer.address).await;
        let std_listener = listener.into_std().unwrap();
        let host = RaftHost::new(HostConfig::new(self.peer.id)).unwrap();
        let service = host.service();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(std_listener).unwrap();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        self.running = Some(Running {
            host,
            groups: BTreeMap::new(),
            runtime: Some(runtime),
        });
    }

    pub(crate) async fn open_group(
        &mut self,
        group: Uuid,
        members: Vec<Peer>,
        mut options: RaftOptions,
    ) -> Result<Arc<Group>, RaftError> {
        options.disk = self.disk.clone() as Arc<dyn Disk>;
        let machine = MapMachine::open(&self.dir.join(format!("state-{group}")));
        let storage_dir = self.dir.join("raft");
        let config = GroupConfig {
            group_id: group,
            storage_dir,
            members,
            options,
        };
        let running = self.running.as_mut().expect("running");
        let (host, sm) = (
            running.host.clone(),
            machine.clone() as Arc<dyn StateMachine>,
        );
        let opened = running
            .spawn(async move { host.open_group(config, sm).await })
            .await?;
        running.groups.insert(group, (opened.clone(), machine));
        Ok(opened)
    }

    /// Leaves so much room on the disk.
    pub(crate) fn limit_room(&self, bytes: u64) {
        self.disk.limit_room(Some(bytes));
    }

    /// Where the log of a group is.
    pub(crate) fn log_dir(&self, group: Uuid) -> PathBuf {
        self.dir.join("raft").join(group.to_string())
    }

    pub(crate) fn group(&self, id: Uuid) -> &Arc<Group> {
        &self.running.as_ref().expect("running").groups[&id].0
    }

    pub(crate) fn machine(&self, id: Uuid) -> &Arc<MapMachine> {
        &self.running.as_ref().expect("running").groups[&id].1
    }

    /// Power off, mid-flight.
    pub(crate) async fn kill(&mut self) {
        let running = self.running.take().expect("running");
        self.disk.power_off();
        running
            .groups
            .values()
            .for_each(|(_, machine)| machine.kill());
        running.end().await;
        let seed = rand::rng().random();
        println!("member {} killed, seed {seed}", self.peer.id);
        self.disk.crash(Cut::Random(seed)).unwrap();
    }

    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().expect("running");
        let host = running.host.clone();
        running.spawn(async move { host.shutdown().await }).await;
        running.end().await;
    }
}

impl Cluster {
    /// `size` members, listening, without groups.
    pub(crate) async fn new(size: u64, options: RaftOptions) -> Self {
        let guard = tempfile::tempdir().unwrap();
        let mut members = Vec::new();
        for n in 1..=size {
            let mut member = Member::new(n, guard.path()).await;
            member.start_host().await;
            members.push(member);
        }
        Self {
            _guard: guard,
            members,
            options,
        }
    }

    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.members
            .iter()
            .map(|member| member.peer.clone())
            .collect()
    }

    /// Opens a group on all members.
    pub(crate) async fn open_everywhere(&mut self, group: Uuid) {
        let peers = self.peers();
        for member in &mut self.members {
            member
                .open_group(group, peers.clone(), self.options.clone())
                .await
                .unwrap();
        }
    }

    pub(crate) async fn start(&mut self, at: usize, group: Uuid) {
        self.members[at].start_host().await;
        let peers = self.peers();
        self.members[at]
            .open_group(group, peers, self.options.clone())
            .await
            .unwrap();
    }

    /// The member that leads and gets through to a majority.
    pub(crate) async fn leader(&self, group: Uuid) -> usize {
        eventually("a leader", || async {
            for (at, member) in self.members.iter().enumerate() {
                let Some(running) = &member.running else {
                    continue;
                };
                let Some((group, _)) = running.groups.get(&group) else {
                    continue;
                };
                if group.is_leader() && group.read_barrier().await.is_ok() && group.is_leader() {
                    return Some(at);
                }
            }
            None
        })
        .await
    }

    /// Sets a value through whoever leads, again and again until that is answered.
    pub(crate) async fn put(&self, group: Uuid, key: &str, value: &str) {
        let command = Bytes::from(format!("{key}={value}"));
        eventually("an answer", || async {
            let leader = self.leader(group).await;
            self.members[leader]
                .group(group)
                .propose(command.clone())
                .await
                .ok()
        })
        .await;
    }

    /// Waits until a member has a value.
    pub(crate) async fn wait_for(&self, at: usize, group: Uuid, key: &str, value: &str) {
        let machine = self.members[at].machine(group).clone();
        eventually("a value on a member", || async {
            (machine.get(key).as_deref() == Some(value)).then_some(())
        })
        .await;
    }
}
