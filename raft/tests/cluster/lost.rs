//! Logs that are not there any more, or not all of them: never taken for those of a new group.

use std::fs;
use std::path::Path;

use ozone_raft::RaftError;

use crate::harness::{Cluster, group_id};
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

async fn refusal(cluster: &mut Cluster) -> String {
    let (peers, options) = (cluster.peers(), cluster.options.clone());
    let member = &mut cluster.members[0];
    member.start_host().await;
    let opened = member.open_group(group_id(1), peers, options).await;
    match opened.map(drop) {
        Err(lost @ RaftError::LogLost { .. }) => lost.to_string(),
        other => panic!("{other:?}"),
    }
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
