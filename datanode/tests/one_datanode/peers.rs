//! What only another datanode may ask.

use std::time::Duration;

use ozone_common::clock::{Clock, SystemClock};
use ozone_common::rng::OsRng;
use ozone_proto::scm::datanode_peer_service_client::DatanodePeerServiceClient;
use ozone_proto::scm::import_container_part::Part;
use ozone_proto::scm::{FetchBlockRequest, ImportContainerPart, ImportHeader, SyncBlockRequest};
use ozone_security::secret_keys::SecretKey;
use ozone_security::token::AccessMode;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::bed::{BLOCK, Bed};
use crate::common::client::{sign, token};
use crate::common::data;

type Peer = DatanodePeerServiceClient<Channel>;

async fn peer(bed: &Bed) -> Peer {
    let address = format!("http://{}", bed.datanode.addresses().peer);
    Peer::connect(address).await.unwrap()
}

fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let token = token.parse().unwrap();
        request.metadata_mut().insert("ozone-block-token", token);
    }
    request
}

/// The token of a datanode for a block, signed with this key.
fn copy_token(key: &SecretKey, block: (i64, i64)) -> String {
    let expires = SystemClock::new().wall_ms() + 60_000;
    sign(key, block, expires, vec![AccessMode::Copy])
}

/// The bytes of the block, through the peer service.
async fn fetch(peer: &mut Peer, token: Option<&str>) -> Result<Vec<u8>, Code> {
    let request = FetchBlockRequest {
        container_id: BLOCK.0,
        local_id: BLOCK.1,
        offset: 0,
        length: 1_000,
    };
    let parts = peer.fetch_block(with_token(request, token)).await;
    let mut parts = parts.map_err(|status| status.code())?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await.map_err(|status| status.code())? {
        bytes.extend_from_slice(&part.data);
    }
    Ok(bytes)
}

async fn holds(peer: &mut Peer, token: Option<&str>) -> Result<bool, Code> {
    let request = SyncBlockRequest {
        container_id: BLOCK.0,
        local_id: BLOCK.1,
        committed: 1_000,
        ..SyncBlockRequest::default()
    };
    let answer = peer.sync_block(with_token(request, token)).await;
    Ok(answer.map_err(|status| status.code())?.into_inner().holds)
}

async fn import(peer: &mut Peer, token: Option<&str>) -> Result<u64, Code> {
    let header = ImportHeader {
        container_id: 9,
        state: "CLOSED".to_owned(),
        ..ImportHeader::default()
    };
    let part = ImportContainerPart {
        part: Some(Part::Header(header)),
    };
    let parts = tokio_stream::iter([part]);
    let answer = peer.import_container(with_token(parts, token)).await;
    Ok(answer.map_err(|status| status.code())?.into_inner().blocks)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_datanode_reads_and_brings_blocks_by_the_side_door() {
    let bed = Bed::new().await;
    let bytes = data(1_000, 1);
    bed.client().await.store(BLOCK, &bytes).await;
    let mut peer = peer(&bed).await;
    let (key, now) = (bed.scm.key(), SystemClock::new().wall_ms());
    let other = SecretKey::generate(&OsRng, now, Duration::from_secs(3600));
    let stale = sign(key, BLOCK, now - 1, vec![AccessMode::Copy]);
    let refused = [
        None,
        Some("nonsense".to_owned()),
        Some(copy_token(&other, BLOCK)),
        Some(token(key, BLOCK.0, BLOCK.1)),
        Some(copy_token(key, (BLOCK.0, BLOCK.1 + 1))),
        Some(stale),
    ];
    for token in &refused {
        let token = token.as_deref();
        assert_eq!(fetch(&mut peer, token).await, Err(Code::PermissionDenied));
        assert_eq!(holds(&mut peer, token).await, Err(Code::PermissionDenied));
        assert_eq!(import(&mut peer, token).await, Err(Code::PermissionDenied));
    }
    assert!(bed.datanode.containers().find(9).is_none());
    let good = copy_token(key, BLOCK);
    assert_eq!(fetch(&mut peer, Some(&good)).await, Ok(bytes));
    assert_eq!(holds(&mut peer, Some(&good)).await, Ok(true));
    let good = copy_token(key, (9, 0));
    assert_eq!(import(&mut peer, Some(&good)).await, Ok(0));
    assert!(bed.datanode.containers().find(9).is_some());
}
