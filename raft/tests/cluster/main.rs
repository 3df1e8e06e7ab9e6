//! Groups of members that are killed, restarted, added and left behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod harness;
mod lost;
mod machine;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Cluster, PATIENCE, eventually, group_id, listen};
use ozone_common::disk::{FaultyDisk, RealDisk};
use ozone_raft::{
    Group, GroupConfig, HostConfig, MAX_COMMAND_BYTES, Peer, RaftError, RaftHost, RaftOptions,
};
use uuid::Uuid;

fn options() -> RaftOptions {
    RaftOptions {
        segment_bytes: 64 << 10,
        ..RaftOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_the_kill_of_the_leader_and_its_restart() {
    let group = group_id(1);
    let mut cluster = Cluster::new(3, options()).await;
    cluster.open_everywhere(group).await;
    let mut written = 0;
    for round in 0..3 {
        for _ in 0..40 {
            cluster.put(group, &format!("k{written}"), "v").await;
            written += 1;
        }
        let leader = cluster.leader(group).await;
        cluster.members[leader].kill().await;
        cluster.put(group, "during", &round.to_string()).await;
        let next = cluster.leader(group).await;
        assert_ne!(next, leader);
        assert_eq!(cluster.members[next].machine(group).len(), written + 1);
        cluster.start(leader, group).await;
        cluster
            .wait_for(leader, group, "during", &round.to_string())
            .await;
        assert_eq!(cluster.members[leader].machine(group).len(), written + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_which_all_members_lost_power_has_everything_acknowledged() {
    let group = group_id(1);
    let mut cluster = Cluster::new(3, options()).await;
    cluster.open_everywhere(group).await;
    for round in 0..3 {
        let keys: Vec<_> = (0..100).map(|n| format!("r{round}n{n}")).collect();
        let proposals = keys.iter().map(|key| cluster.put(group, key, "v"));
        futures::future::join_all(proposals).await;
        for member in &mut cluster.members {
            member.kill().await;
        }
        for at in 0..3 {
            cluster.start(at, group).await;
        }
        let leader = cluster.leader(group).await;
        assert_eq!(
            cluster.members[leader].machine(group).len(),
            (round + 1) * 100
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_too_far_behind_gets_a_copy_of_the_state() {
    let group = group_id(1);
    let options = RaftOptions {
        flush_after_entries: Some(50),
        retain_entries: 10,
        ..options()
    };
    let mut cluster = Cluster::new(3, options).await;
    cluster.open_everywhere(group).await;
    let leader = cluster.leader(group).await;
    cluster.put(group, "first", "1").await;
    let behind = (leader + 1) % 3;
    cluster.members[behind].kill().await;
    let value = "x".repeat(1000);
    let mut n = 0;
    // Until the leader's log no longer reaches back to where the other was killed.
    while cluster.members[leader]
        .group(group)
        .status()
        .purged
        .is_none_or(|p| p.index < 200)
    {
        cluster.put(group, &format!("k{n}"), &value).await;
        n += 1;
    }
    cluster.start(behind, group).await;
    cluster.put(group, "last", "2").await;
    cluster.wait_for(behind, group, "last", "2").await;
    let machine = cluster.members[behind].machine(group).clone();
    assert!(
        machine.restores.load(Ordering::SeqCst) >= 1,
        "it caught up without a copy"
    );
    assert_eq!(machine.len(), n + 2);
    // What was installed is as durable as what was applied.
    cluster.members[behind].kill().await;
    cluster.start(behind, group).await;
    cluster.put(group, "after", "3").await;
    cluster.wait_for(behind, group, "after", "3").await;
    assert_eq!(cluster.members[behind].machine(group).len(), n + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_behind_a_barrier_on_any_member_sees_what_was_acknowledged() {
    let group = group_id(1);
    let mut cluster = Cluster::new(3, options()).await;
    cluster.open_everywhere(group).await;
    for n in 0..60 {
        cluster.put(group, "k", &n.to_string()).await;
        let reader = &cluster.members[n % 3];
        reader.group(group).read_barrier().await.unwrap();
        assert_eq!(reader.machine(group).get("k"), Some(n.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_answered() {
    let group = group_id(1);
    let mut cluster = Cluster::new(3, options()).await;
    cluster.open_everywhere(group).await;
    cluster.put(group, "k", "1").await;
    let leader = cluster.leader(group).await;
    for at in (0..3).filter(|at| *at != leader) {
        cluster.members[at].kill().await;
    }
    let group = cluster.members[leader].group(group).clone();
    // The lease may still run for a while; it must end.
    eventually("the end of the lease", || async {
        group.read_barrier().await.err()
    })
    .await;
    let write = tokio::time::timeout(Duration::from_secs(5), group.propose("k=2".into())).await;
    assert!(!matches!(write, Ok(Ok(_))), "a write without a majority");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_reaches_nobody_leaves_the_term_as_it_is() {
    let group = group_id(1);
    let mut cluster = Cluster::new(3, options()).await;
    cluster.open_everywhere(group).await;
    cluster.put(group, "k", "1").await;
    let leader = cluster.leader(group).await;
    let (alone, other) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.wait_for(alone, group, "k", "1").await;
    cluster.members[other].kill().await;
    cluster.members[leader].kill().await;
    let term = cluster.members[alone].group(group).term();
    // Whenever it asks for votes it knocks at the doors of the dead.
    let door = listen(&cluster.members[leader].peer.address).await;
    for _ in 0..10 {
        let knock = tokio::time::timeout(PATIENCE, door.accept()).await;
        knock.expect("it asks again").unwrap();
    }
    assert_eq!(cluster.members[alone].group(group).term(), term);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_down_is_tried_again_only_after_a_pause() {
    const ATTEMPTS: usize = 25;
    let group = group_id(1);
    let mut cluster = Cluster::new(3, options()).await;
    cluster.open_everywhere(group).await;
    let down = (cluster.leader(group).await + 1) % 3;
    cluster.members[down].kill().await;
    let start = Instant::now();
    // Hangs up on whoever calls.
    let listener = tokio::net::TcpListener::bind(&cluster.members[down].peer.address)
        .await
        .unwrap();
    cluster.put(group, "k", "1").await;
    let attempts = async {
        for _ in 0..ATTEMPTS {
            listener.accept().await.unwrap();
        }
    };
    let tried = tokio::time::timeout(Duration::from_secs(60), attempts).await;
    tried.expect("attempts to reach the member");
    // Heartbeats and entries, with pauses.
    let took = start.elapsed();
    assert!(took > Duration::from_secs(1), "{ATTEMPTS} in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_on_demand() {
    let group = group_id(1);
    let mut cluster = Cluster::new(3, options()).await;
    cluster.open_everywhere(group).await;
    let before = cluster.leader(group).await;
    let to = (before + 1) % 3;
    let next = cluster.members[to].peer.id;
    // Whoever is to lead has to have flushed all entries, which a majority has.
    let leading = cluster.members[before].group(group);
    eventually("the other leads", async || {
        match leading.transfer_leadership(next).await {
            Ok(()) => Some(()),
            Err(RaftError::NotLeader { leader }) if leader.as_ref().map(|l| l.id) == Some(next) => {
                Some(())
            }
            Err(_) => None,
        }
    })
    .await;
    cluster.put(group, "k", "1").await;
    assert_eq!(cluster.leader(group).await, to);
    let refused = cluster.members[before]
        .group(group)
        .propose("k=2".into())
        .await;
    match refused {
        Err(RaftError::NotLeader { leader }) => assert_eq!(leader.map(|l| l.id), Some(next)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_exchanged_while_the_group_works() {
    let group = group_id(1);
    let mut cluster = Cluster::new(4, options()).await;
    let peers = cluster.peers();
    for at in 0..3 {
        let options = cluster.options.clone();
        cluster.members[at]
            .open_group(group, peers[..3].to_vec(), options)
            .await
            .unwrap();
    }
    cluster.put(group, "k", "1").await;
    let options = cluster.options.clone();
    cluster.members[3]
        .open_group(group, Vec::new(), options)
        .await
        .unwrap();
    let leader = cluster.leader(group).await;
    let leaving = (leader + 1) % 3;
    let wanted: Vec<Peer> = (0..4)
        .filter(|at| *at != leaving)
        .map(|at| peers[at].clone())
        .collect();
    cluster.members[leader]
        .group(group)
        .change_members(wanted.clone())
        .await
        .unwrap();
    cluster.wait_for(3, group, "k", "1").await;
    let mut members = cluster.members[leader].group(group).status().members;
    members.sort_by_key(|peer| peer.id);
    assert_eq!(members, wanted);
    cluster.members[leaving].kill().await;
    cluster.put(group, "k", "2").await;
    cluster.wait_for(3, group, "k", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_groups_share_a_host() {
    let mut cluster = Cluster::new(3, options()).await;
    let groups: Vec<Uuid> = (1..=12).map(group_id).collect();
    for group in &groups {
        cluster.open_everywhere(*group).await;
    }
    for group in &groups {
        cluster.put(*group, "name", &group.to_string()).await;
    }
    for member in &mut cluster.members {
        member.stop().await;
    }
    for at in 0..3 {
        cluster.start(at, groups[0]).await;
        let peers = cluster.peers();
        for group in &groups[1..] {
            let options = cluster.options.clone();
            cluster.members[at]
                .open_group(*group, peers.clone(), options)
                .await
                .unwrap();
        }
    }
    for group in &groups {
        let leader = cluster.leader(*group).await;
        let name = cluster.members[leader].machine(*group).get("name");
        assert_eq!(name, Some(group.to_string()));
    }
}

/// A group with one member on a disk that counts fsyncs.
struct Single {
    _dir: tempfile::TempDir,
    host: Arc<RaftHost>,
    config: GroupConfig,
    disk: Arc<FaultyDisk>,
    machine: Arc<machine::MapMachine>,
}

impl Single {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let peer = Peer {
            id: Uuid::from_u64_pair(7, 1),
            address: "127.0.0.1:1".into(),
        };
        let host = RaftHost::new(HostConfig::new(peer.id)).unwrap();
        let disk = FaultyDisk::new(Arc::new(RealDisk));
        let config = GroupConfig {
            group_id: group_id(1),
            storage_dir: dir.path().join("raft"),
            members: vec![peer],
            options: RaftOptions {
                disk: disk.clone(),
                ..RaftOptions::default()
            },
        };
        let machine = machine::MapMachine::open(&dir.path().join("state"));
        Self {
            _dir: dir,
            host,
            config,
            disk,
            machine,
        }
    }

    async fn open(&self) -> Arc<Group> {
        self.host
            .open_group(self.config.clone(), self.machine.clone())
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_come_together_share_fsyncs() {
    let single = Single::new();
    let group = single.open().await;
    group.propose("k=0".into()).await.unwrap();
    let before = single.disk.syncs();
    for _ in 0..10 {
        let together = (0..64).map(|n| group.propose(Bytes::from(format!("k{n}=v"))));
        for answer in futures::future::join_all(together).await {
            answer.unwrap();
        }
    }
    let syncs = single.disk.syncs() - before;
    assert!(syncs >= 10, "answers without an fsync: {syncs}");
    assert!(
        syncs < 160,
        "{syncs} fsyncs for 640 proposals, 64 at a time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_one_leads_at_once() {
    let mut single = Single::new();
    // Far above what a slow disk takes.
    let election = Duration::from_secs(60);
    single.config.options.election_min = election;
    single.config.options.election_max = election * 2;
    for reopened in [false, true] {
        let start = Instant::now();
        let group = single.open().await;
        group.wait_for_leader(election / 2).await.unwrap();
        group.propose("k=1".into()).await.unwrap();
        let took = start.elapsed();
        assert!(took < election / 2, "{took:?}, reopened: {reopened}");
        single.host.close_group(group.id(), false).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_stops_the_group_and_is_never_acknowledged() {
    let single = Single::new();
    let group = single.open().await;
    group.propose("k=0".into()).await.unwrap();
    single.disk.fail_sync(1);
    let lost = group.propose("k=1".into()).await;
    assert!(matches!(lost, Err(RaftError::Fatal(_))), "{lost:?}");
    let after = group.propose("k=2".into()).await;
    assert!(matches!(after, Err(RaftError::Fatal(_))), "{after:?}");
    eventually("the end of leadership", || async {
        (!group.is_leader()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_group_is_gone_and_its_log_only_when_asked() {
    let single = Single::new();
    let group = single.open().await;
    let again = single
        .host
        .open_group(single.config.clone(), single.machine.clone())
        .await;
    assert!(matches!(again, Err(RaftError::AlreadyOpen(_))));
    group.propose("k=1".into()).await.unwrap();
    let too_large = group
        .propose(vec![b'='; MAX_COMMAND_BYTES + 1].into())
        .await;
    assert!(matches!(too_large, Err(RaftError::TooLarge { .. })));
    single.host.close_group(group.id(), false).await.unwrap();
    assert!(matches!(
        group.propose("k=2".into()).await,
        Err(RaftError::ShuttingDown)
    ));
    let dir = single.config.storage_dir.join(group.id().to_string());
    for part in [
        "current/raft-meta",
        "current/raft-meta.conf",
        "current/log_inprogress_0",
        "snapshot",
    ] {
        assert!(dir.join(part).exists(), "{part}");
    }
    single.open().await;
    single.host.close_group(group.id(), true).await.unwrap();
    assert!(!dir.exists());
}
