//! Logs that are not there any more, or not all of them: never taken for those of a new group. And logs that
//! cannot be begun.

use std::fs;
use std::path::Path;

use ozone_raft::{RaftError, RaftOptions};

use crate::harness::{Cluster, eventually, group_id};
use crate::options;

/// A group of one with a value that was acknowledged, and whose state may be durable; its process is
/// gone.
async fn ended(flushed: bool) -> Cluster {
    let mut cluster = Cluster::new(1, options()).await;
    cluster.open_everywhere(group_id(1)).await;
    cluster.put(group_id(1), "k", "v").await;
    match flushed {
        true => cluster.members[0].stop().await,
        false => cluster.members[0].kill().await,
    }
    cluster
}

async fn refused(cluster: &mut Cluster) -> RaftError {
    let (peers, options) = (cluster.peers(), cluster.options.clone());
    let member = &mut cluster.members[0];
    member.start_host().await;
    let opened = member.open_group(group_id(1), peers, options).await;
    opened.map(drop).unwrap_err()
}

async fn refusal(cluster: &mut Cluster) -> String {
    match refused(cluster).await {
        lost @ RaftError::LogLost { .. } => lost.to_string(),
        other => panic!("{other:?}"),
    }
}

fn remove_state(cluster: &Cluster) {
    let log = cluster.members[0].log_dir(group_id(1));
    let root = log.parent().unwrap().parent().unwrap();
    fs::remove_dir_all(root.join(format!("state-{}", group_id(1)))).unwrap();
}

fn remove_segments(log: &Path) {
    for entry in fs::read_dir(log.join("current")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("log_") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_is_refused_whether_or_not_the_state_was_ever_durable() {
    for flushed in [false, true] {
        let mut cluster = ended(flushed).await;
        let log = cluster.members[0].log_dir(group_id(1));
        let aside = log.with_extension("aside");
        fs::rename(&log, &aside).unwrap();
        let text = refusal(&mut cluster).await;
        assert!(text.contains(&log.display().to_string()), "{text}");
        assert!(text.contains("no entry"), "{text}");
        assert_eq!(text.contains("applied up to entry"), flushed, "{text}");
        // Refused again, as long as it is away; and nothing is lost once it is back.
        cluster.members[0].stop().await;
        refusal(&mut cluster).await;
        cluster.members[0].stop().await;
        fs::remove_dir_all(&log).unwrap();
        fs::rename(&aside, &log).unwrap();
        cluster.start(0, group_id(1)).await;
        cluster.wait_for(0, group_id(1), "k", "v").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_segments_is_refused() {
    for flushed in [false, true] {
        let mut cluster = ended(flushed).await;
        remove_segments(&cluster.members[0].log_dir(group_id(1)));
        refusal(&mut cluster).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_many_without_its_log_is_refused_and_the_others_go_on() {
    let group = group_id(1);
    let mut cluster = Cluster::new(3, options()).await;
    cluster.open_everywhere(group).await;
    cluster.put(group, "k", "v").await;
    cluster.members[0].kill().await;
    fs::remove_dir_all(cluster.members[0].log_dir(group)).unwrap();
    refusal(&mut cluster).await;
    cluster.put(group, "k", "w").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_gone_is_made_again_from_a_whole_log() {
    let group = group_id(1);
    let mut cluster = ended(true).await;
    remove_state(&cluster);
    cluster.start(0, group).await;
    cluster.wait_for(0, group, "k", "v").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_gone_is_refused_beside_a_log_that_has_let_go_of_its_beginning() {
    let group = group_id(1);
    let options = RaftOptions {
        flush_after_entries: Some(10),
        retain_entries: 0,
        ..options()
    };
    let mut cluster = Cluster::new(1, options).await;
    cluster.open_everywhere(group).await;
    let log = cluster.members[0].log_dir(group);
    let value = "v".repeat(8 << 10);
    for n in 0..40 {
        cluster.put(group, &format!("k{n}"), &value).await;
    }
    eventually("a segment that is purged", || async {
        let files = fs::read_dir(log.join("current")).unwrap();
        let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let first = |name: String| name.starts_with("log_0-") || name == "log_inprogress_0";
        (!names.any(first)).then_some(())
    })
    .await;
    cluster.members[0].stop().await;
    remove_state(&cluster);
    let text = match refused(&mut cluster).await {
        lost @ RaftError::StateLost { .. } => lost.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(text.contains(&log.display().to_string()), "{text}");
    assert!(text.contains("is empty"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_has_become_another_is_refused_the_log_of_the_first() {
    let mut cluster = ended(true).await;
    let before = std::mem::replace(&mut cluster.members[0].peer.id, uuid::Uuid::from_u128(99));
    let text = match refused(&mut cluster).await {
        other @ RaftError::NotAMember { .. } => other.to_string(),
        error => panic!("{error:?}"),
    };
    for id in [before, cluster.members[0].peer.id] {
        assert!(text.contains(&id.to_string()), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_when_a_group_is_begun_is_named_as_the_cause() {
    for room in [0, 4 << 10, 8 << 10, 16 << 10, 32 << 10] {
        let mut cluster = Cluster::new(1, options()).await;
        let (peers, options) = (cluster.peers(), cluster.options.clone());
        let member = &mut cluster.members[0];
        member.limit_room(room);
        let opened = member.open_group(group_id(1), peers, options).await;
        let text = opened.map(drop).unwrap_err().to_string();
        assert!(text.contains("No space left on device"), "{room}: {text}");
    }
}
