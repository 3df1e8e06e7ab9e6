//! Calls to the OM: repeated without being done twice, and made to the leader.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use ozone_client::{Client, ClientConfig, ClientError};
use ozone_common::caller::Caller;
use ozone_proto::om::{Status, Type};

use crate::cluster::Cluster;
use crate::om::FakeOm;

#[tokio::test]
async fn a_call_whose_reply_was_lost_is_repeated_under_its_own_id() {
    let cluster = Cluster::start(&[]).await;
    let mut writer = cluster.writer().await;
    writer.write(0, Bytes::from_static(b"once")).await.unwrap();
    let extents = writer.flush().await.unwrap();
    cluster.om.lose_replies.store(1, SeqCst);
    cluster.commit(extents).await;
    assert_eq!(cluster.om.file.lock().commits, 1);
    let commit = i32::from(Type::Commit);
    let seen = cluster.om.seen.borrow().clone();
    let calls: Vec<u64> = seen
        .iter()
        .filter(|s| s.command == commit)
        .map(|s| s.call)
        .collect();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| *call == calls[0]), "{calls:?}");
    assert!(seen.iter().all(|s| s.lowest <= s.call));
}

#[tokio::test]
async fn different_calls_have_different_ids() {
    let cluster = Cluster::start(&[]).await;
    for _ in 0..3 {
        cluster.client.objects().service_list().await.unwrap();
    }
    let calls: Vec<u64> = cluster.om.seen.borrow().iter().map(|s| s.call).collect();
    assert!(calls.is_sorted_by(|a, b| a < b), "{calls:?}");
}

#[tokio::test]
async fn the_leader_is_found_through_a_follower() {
    let (follower, leader) = (FakeOm::start().await, FakeOm::start().await);
    *follower.follower_of.lock() = Some(Some(leader.address.clone()));
    let config = ClientConfig::new(vec![follower.address.clone(), leader.address.clone()]);
    let client = Client::connect(config).await.unwrap();
    client.objects().service_list().await.unwrap();
    client.objects().service_list().await.unwrap();
    assert_eq!(follower.seen.borrow().len(), 1, "the leader is remembered");
    assert_eq!(leader.seen.borrow().len(), 3);
}

#[tokio::test]
async fn a_dead_leader_is_replaced_by_another_server() {
    let (first, second) = (FakeOm::start().await, FakeOm::start().await);
    let config = ClientConfig::new(vec![first.address.clone(), second.address.clone()]);
    let client = Client::connect(config).await.unwrap();
    first.die();
    client.objects().service_list().await.unwrap();
    assert_eq!(second.seen.borrow().len(), 1);
}

#[tokio::test]
async fn a_cluster_without_leader_is_given_up_in_time() {
    let om = FakeOm::start().await;
    *om.follower_of.lock() = Some(None);
    let mut config = ClientConfig::new(vec![om.address.clone()]);
    config.om_deadline = Duration::from_millis(200);
    let error = Client::connect(config).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("NOT_LEADER"), "{error}");
}

#[tokio::test]
async fn a_cluster_of_which_nobody_is_reached_is_given_up_sooner_and_named() {
    let om = FakeOm::start().await;
    om.die();
    let mut config = ClientConfig::new(vec![om.address.clone()]);
    config.first_deadline = Duration::from_millis(200);
    let error = Client::connect(config).await.unwrap_err();
    assert!(matches!(error, ClientError::NoOm { .. }), "{error}");
    for words in [om.address.as_str(), "ozone.om.address", "refused"] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_as_it_is() {
    let cluster = Cluster::start(&[]).await;
    let error = cluster
        .client
        .objects()
        .delete_volume("vol")
        .await
        .unwrap_err();
    assert_eq!(error.om_status(), Some(Status::NotSupportedOperation));
    assert_eq!(error.errno(), libc::EOPNOTSUPP);
}

#[tokio::test]
async fn calls_are_made_for_whom_they_are_made() {
    let cluster = Cluster::start(&[]).await;
    let mut caller = Caller::of_process();
    caller.uid = 4321;
    let other = cluster.client.as_caller(caller.clone());
    other.objects().service_list().await.unwrap();
    let inode = cluster.om.inode().r#ref.unwrap();
    let namespace = cluster.client.namespace().for_caller(&caller);
    namespace.get_attr(inode.clone()).await.unwrap();
    cluster.client.namespace().get_attr(inode).await.unwrap();
    let uids: Vec<u32> = cluster.om.seen.borrow().iter().map(|s| s.uid).collect();
    let own = Caller::of_process().uid;
    assert_eq!(uids, [own, 4321, 4321, own]);
}
