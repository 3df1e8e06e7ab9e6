//! Nobody reads a block from a datanode without the token that the OM gave for it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use ozone_client::namespace::place_of;
use ozone_client::proto::BlockLocation;
use ozone_client::{Client, ClientConfig, Ofs};
use ozone_proto::hdds::datanode::container_command_request_proto::Body;
use ozone_proto::hdds::datanode::xceiver_client_protocol_service_client::XceiverClientProtocolServiceClient;
use ozone_proto::hdds::datanode::{
    ContainerCommandRequestProto, DatanodeBlockId, GetBlockRequestProto, Result as Code, Type,
};
use ozone_tests::content::bytes;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};

/// Enough for blocks instead of inline bytes.
const SIZE: usize = 1 << 20;
/// How long a token may take to expire that is good for a second.
const EXPIRY_LIMIT: Duration = Duration::from_secs(30);

fn cluster(expiry: &str) -> Cluster {
    let cluster = Cluster::start(ClusterOptions {
        sets: vec![format!("hdds.block.token.expiry.time={expiry}")],
        ..ClusterOptions::default()
    });
    let bucket = cluster.bucket("vol", "bucket");
    for (seed, name) in [(1, "one"), (2, "two")] {
        let path = bucket.join(name);
        fs::write(&path, bytes(seed, SIZE)).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
    }
    cluster
}

/// Where the block of a file is, with the token of the OM.
async fn block_of(cluster: &Cluster, path: &str) -> BlockLocation {
    let config = ClientConfig::new(vec![cluster.om_address().to_owned()]);
    let client = Client::connect(config).await.unwrap();
    let ofs = Ofs::new(client.clone(), false);
    let file = ofs.status(&ofs.path(path).unwrap()).await.unwrap();
    let place = place_of(&file.inode.expect("a file")).unwrap().clone();
    let found = client
        .namespace()
        .get_extents(place, 0, SIZE as u64, 1)
        .await;
    found.unwrap().locations.pop().expect("a block")
}

/// Asks the datanode of a block for its description.
async fn ask(block: &BlockLocation, token: Option<String>) -> Code {
    let pipeline = block.pipeline.as_ref().unwrap();
    let node = &pipeline.members[0];
    let port = node
        .ports
        .iter()
        .find(|port| port.name == "STANDALONE")
        .or(node.ports.first());
    let address = format!("http://{}:{}", node.ip_address, port.unwrap().value);
    let mut client = XceiverClientProtocolServiceClient::connect(address)
        .await
        .unwrap();
    let request = ContainerCommandRequestProto {
        cmd_type: Type::GetBlock.into(),
        container_id: block.container.cast_signed(),
        datanode_uuid: "any".to_owned(),
        encoded_token: token,
        body: Some(Body::GetBlock(GetBlockRequestProto {
            block_id: DatanodeBlockId {
                container_id: block.container.cast_signed(),
                local_id: block.local.cast_signed(),
                ..Default::default()
            },
        })),
        ..Default::default()
    };
    let requests = tokio_stream::once(request);
    let mut answers = client.send(requests).await.unwrap().into_inner();
    answers
        .message()
        .await
        .unwrap()
        .expect("an answer")
        .result()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datanode_takes_only_the_token_of_the_block() {
    let mut cluster = cluster("1d");
    let (one, two) = (
        block_of(&cluster, "/vol/bucket/one").await,
        block_of(&cluster, "/vol/bucket/two").await,
    );
    assert_eq!(ask(&one, Some(one.token.clone())).await, Code::Success);
    let mut forged = one.token.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for token in [
        None,
        Some(String::new()),
        Some(forged),
        Some(two.token.clone()),
    ] {
        let answer = ask(&one, token.clone()).await;
        assert_eq!(answer, Code::BlockTokenVerificationFailed, "{token:?}");
    }
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_refused_and_open_files_get_new_ones() {
    let mut cluster = cluster("1s");
    let path = cluster.mountpoint().join("vol/bucket/one");
    let mut file = File::open(&path).unwrap();
    let mut first = vec![0; 1000];
    file.read_exact(&mut first).unwrap();
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        // Asked within its second.
        let block = wait_for(EXPIRY_LIMIT, || {
            let block = handle.block_on(block_of(&cluster, "/vol/bucket/one"));
            match handle.block_on(ask(&block, Some(block.token.clone()))) {
                Code::Success => Ok(block),
                other => Err(format!("the answer is {other:?}")),
            }
        });
        wait_for(EXPIRY_LIMIT, || {
            match handle.block_on(ask(&block, Some(block.token.clone()))) {
                Code::BlockTokenVerificationFailed => Ok(()),
                other => Err(format!("the answer is {other:?}")),
            }
        });
    });
    // What the mount knows of the file has expired as well.
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    file.rewind().unwrap();
    let mut all = Vec::new();
    file.read_to_end(&mut all).unwrap();
    assert!(all == bytes(1, SIZE), "other bytes");
    // A mount in use stays until it is not.
    drop(file);
    cluster.stop();
}
