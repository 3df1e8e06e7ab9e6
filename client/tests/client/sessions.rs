//! Sessions: kept alive, announced again, and known to be lost.

use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use ozone_client::ClientError;
use ozone_proto::namespace::extent::Source;
use ozone_proto::om::Type;

use crate::cluster::{Cluster, data, eventually, until};

#[tokio::test]
async fn a_session_is_kept_alive_until_it_is_closed() {
    let cluster = Cluster::start(&[]).await;
    cluster.om.lease_ms.store(300, SeqCst);
    let session = cluster.session().await;
    let keepalive = i32::from(Type::KeepAlive);
    until(&cluster.om.seen, |seen| {
        seen.iter().filter(|s| s.command == keepalive).count() >= 5
    })
    .await;
    eventually(|| !session.lost()).await;
    session.close().await;
    assert_eq!(cluster.om.count(Type::CloseSession), 1);
    assert!(session.check().is_err());
}

#[tokio::test]
async fn what_is_open_is_announced_when_asked_for() {
    let cluster = Cluster::start(&[]).await;
    cluster.om.lease_ms.store(300, SeqCst);
    let session = cluster.session().await;
    session.track_open(5);
    session.track_open(6);
    session.track_close(5);
    *cluster.om.reannounce.lock() = true;
    until(&cluster.om.announced, |opens| opens == &[6]).await;
}

#[tokio::test]
async fn an_expired_session_is_lost_and_its_writers_fail() {
    let cluster = Cluster::start(&[1]).await;
    cluster.om.lease_ms.store(300, SeqCst);
    let session = cluster.session().await;
    let mut writer = cluster.client.data().writer(crate::om::DIR, &session);
    writer.write(0, Bytes::from_static(b"late")).await.unwrap();
    *cluster.om.expired.lock() = true;
    eventually(|| session.check().is_err()).await;
    assert!(session.lost());
    let error = writer.flush().await.unwrap_err();
    assert!(matches!(error, ClientError::SessionExpired), "{error}");
    assert_eq!(error.errno(), libc::EIO);
}

#[tokio::test]
async fn a_session_that_is_asked_about_is_known_to_be_lost_at_once() {
    let cluster = Cluster::start(&[]).await;
    // The next renewal is far.
    cluster.om.lease_ms.store(3_600_000, SeqCst);
    let session = cluster.session().await;
    session.probe().await;
    session.check().unwrap();
    *cluster.om.expired.lock() = true;
    session.probe().await;
    assert!(session.check().is_err());
}

#[tokio::test]
async fn a_client_whose_session_expired_opens_another() {
    let cluster = Cluster::start(&[]).await;
    cluster.om.lease_ms.store(300, SeqCst);
    let first = cluster.client.session().await.unwrap();
    *cluster.om.expired.lock() = true;
    eventually(|| first.check().is_err()).await;
    *cluster.om.expired.lock() = false;
    let second = cluster.client.session().await.unwrap();
    second.check().unwrap();
    assert_eq!(cluster.om.count(Type::OpenSession), 2);
}

#[tokio::test]
async fn a_session_that_cannot_be_renewed_counts_as_lost() {
    let cluster = Cluster::start(&[]).await;
    cluster.om.lease_ms.store(100, SeqCst);
    let session = cluster.session().await;
    cluster.om.die();
    eventually(|| session.lost()).await;
    assert!(session.check().is_ok(), "it may come back");
}

#[tokio::test]
async fn a_writer_that_is_dropped_gives_its_blocks_back_while_the_session_lives() {
    let cluster = Cluster::start(&[1]).await;
    cluster.om.lease_ms.store(300, SeqCst);
    let session = cluster.session().await;
    let mut writer = cluster.client.data().writer(crate::om::DIR, &session);
    writer.write(0, data(100_000)).await.unwrap();
    let extents = writer.flush().await.unwrap();
    let Some(Source::Block(block)) = &extents[0].source else {
        panic!("{extents:?}")
    };
    drop(writer);
    until(&cluster.om.released, |blocks| blocks == &[block.local]).await;
    session.check().unwrap();
}
