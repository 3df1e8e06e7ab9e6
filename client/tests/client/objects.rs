//! Keys: stored whole and read back.

use std::io::Cursor;

use ozone_client::ClientError;
use ozone_client::objects::{KeyName, NewKey};
use ozone_proto::om::Type;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::cluster::{Cluster, MIB, assert_same, data};

const NAME: KeyName<'_> = KeyName {
    volume: "vol",
    bucket: "bucket",
    key: "a/key",
};

async fn put(cluster: &Cluster, source: impl AsyncRead + Unpin) -> Result<u64, ClientError> {
    cluster
        .client
        .objects()
        .put_key(NAME, source, NewKey::default())
        .await
}

#[tokio::test]
async fn a_small_key_costs_two_calls() {
    let cluster = Cluster::start(&[1]).await;
    let before = cluster.om.seen.borrow().len();
    let content = data(12_345);
    assert_eq!(
        put(&cluster, Cursor::new(content.clone())).await.unwrap(),
        12_345
    );
    assert_eq!(cluster.om.seen.borrow().len() - before, 2);
    let (info, reader) = cluster.client.objects().get_key(NAME).await.unwrap();
    assert_eq!(info.data_size, 12_345);
    assert_same(&reader.read(0, 1 << 20).await.unwrap(), &content);
}

#[tokio::test]
async fn an_empty_key_is_a_key() {
    let cluster = Cluster::start(&[1]).await;
    assert_eq!(put(&cluster, Cursor::new(b"")).await.unwrap(), 0);
    assert_eq!(cluster.om.file.lock().commits, 1);
    let (_, reader) = cluster.client.objects().get_key(NAME).await.unwrap();
    assert!(reader.read(0, 100).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_large_key_goes_through_blocks() {
    let cluster = Cluster::with(&[3], |config| config.longest_block = 4 * MIB).await;
    let content = data(9 * MIB + 17);
    put(&cluster, Cursor::new(content.clone())).await.unwrap();
    assert_eq!(cluster.om.count(Type::CommitKey), 1);
    let (_, reader) = cluster.client.objects().get_key(NAME).await.unwrap();
    let got = reader.read(0, content.len() + 1).await.unwrap();
    assert_same(&got, &content);
    cluster.client.close().await;
    assert_eq!(cluster.om.count(Type::CloseSession), 1);
}

#[tokio::test]
async fn a_source_that_fails_commits_nothing() {
    let cluster = Cluster::start(&[1]).await;
    let broken = tokio_util::io::StreamReader::new(futures::stream::iter([
        Ok(data(3 * MIB)),
        Err(std::io::Error::other("unplugged")),
    ]));
    let error = put(&cluster, broken.take(u64::MAX)).await.unwrap_err();
    assert!(matches!(error, ClientError::Input { .. }), "{error}");
    assert_eq!(cluster.om.file.lock().commits, 0);
}
