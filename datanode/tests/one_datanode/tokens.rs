//! Nobody touches a block without the token that the OM gave for it, whatever they ask, and by whichever door.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ozone_common::clock::{Clock, SystemClock};
use ozone_common::rng::OsRng;
use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::{
    CloseContainerRequestProto, ContainerCommandRequestProto, CreateContainerRequestProto,
    DeleteContainerRequestProto, GetBlockRequestProto, GetCommittedBlockLengthRequestProto,
    ListBlockRequestProto, ReadBlockRequestProto, ReadChunkRequestProto, ReadContainerRequestProto,
    Result as Code, Type,
};
use ozone_proto::local::{Lend, LendToRead, LendToWrite, LocalReply, LocalRequest, local_request};
use ozone_rpc::local::LocalClient;
use ozone_security::secret_keys::SecretKey;
use ozone_security::token::AccessMode;

use crate::bed::{BLOCK, Bed};
use crate::common::client::{Client, block_id, chunk_info, sign};
use crate::common::data;

/// The container of the block, as tokens name it.
const CONTAINER: (i64, i64) = (BLOCK.0, 0);
const MODES: [AccessMode; 4] = [
    AccessMode::Read,
    AccessMode::Write,
    AccessMode::Copy,
    AccessMode::Delete,
];
const PATIENCE: Duration = Duration::from_secs(10);

/// What a command needs a token for, and for which access.
fn needs(body: &Request) -> Option<((i64, i64), AccessMode)> {
    Some(match body {
        Request::WriteChunk(_) | Request::PutBlock(_) => (BLOCK, AccessMode::Write),
        Request::GetBlock(_)
        | Request::ReadBlock(_)
        | Request::ReadChunk(_)
        | Request::GetCommittedBlockLength(_) => (BLOCK, AccessMode::Read),
        Request::ListBlock(_) | Request::ReadContainer(_) => (CONTAINER, AccessMode::Read),
        Request::CreateContainer(_) | Request::CloseContainer(_) => (CONTAINER, AccessMode::Write),
        Request::DeleteContainer(_) => (CONTAINER, AccessMode::Delete),
        Request::Echo(_) => return None,
    })
}

/// One of each command that needs a token; what ends the container comes last.
fn commands(client: &Client, bytes: &[u8]) -> Vec<ContainerCommandRequestProto> {
    let block = block_id(BLOCK.0, BLOCK.1);
    let get = GetBlockRequestProto { block_id: block };
    let length = GetCommittedBlockLengthRequestProto { block_id: block };
    let read = ReadBlockRequestProto {
        block_id: block,
        length: Some(10),
        ..ReadBlockRequestProto::default()
    };
    let chunk = ReadChunkRequestProto {
        block_id: block,
        chunk_data: chunk_info(0, bytes),
        read_chunk_version: None,
    };
    let list = ListBlockRequestProto {
        start_local_id: None,
        count: 10,
    };
    let delete = DeleteContainerRequestProto {
        container_id: BLOCK.0,
        force_delete: Some(true),
    };
    let create = CreateContainerRequestProto::default();
    let (info, close) = (ReadContainerRequestProto {}, CloseContainerRequestProto {});
    let both = [chunk_info(0, bytes), chunk_info(1_000, bytes)];
    let command = |kind, body| client.request(kind, BLOCK, body);
    vec![
        command(Type::GetBlock, Request::GetBlock(get)),
        command(Type::ReadBlock, Request::ReadBlock(read)),
        command(Type::ReadChunk, Request::ReadChunk(chunk)),
        command(
            Type::GetCommittedBlockLength,
            Request::GetCommittedBlockLength(length),
        ),
        command(Type::ListBlock, Request::ListBlock(list)),
        command(Type::ReadContainer, Request::ReadContainer(info)),
        client.write_request(BLOCK, 1_000, bytes, &[]),
        client.put_request(BLOCK, both.to_vec(), true),
        command(Type::CreateContainer, Request::CreateContainer(create)),
        command(Type::CloseContainer, Request::CloseContainer(close)),
        command(Type::DeleteContainer, Request::DeleteContainer(delete)),
    ]
}

/// Tokens that do not allow this access to this block, each with what is wrong with it.
fn refused(
    key: &SecretKey,
    target: (i64, i64),
    mode: AccessMode,
) -> Vec<(&'static str, Option<String>)> {
    let now = SystemClock::new().wall_ms();
    let stranger = SecretKey::generate(&OsRng, now, Duration::from_secs(60));
    let (later, all) = (now + 60_000, MODES.to_vec());
    let others = MODES.into_iter().filter(|other| *other != mode).collect();
    let (next, elsewhere) = ((target.0, target.1 + 1), (target.0 + 1, target.1));
    let signed = |key, block, until, modes| Some(sign(key, block, until, modes));
    vec![
        ("none", None),
        ("empty", Some(String::new())),
        ("garbage", Some("garbage".to_owned())),
        ("forged", signed(&stranger, target, later, all.clone())),
        ("expired", signed(key, target, now - 1, all.clone())),
        ("of another block", signed(key, next, later, all.clone())),
        ("of another container", signed(key, elsewhere, later, all)),
        ("for all else", signed(key, target, later, others)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_touches_a_block_without_a_good_token() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(1_000, 1);
    client.store(BLOCK, &bytes).await;
    for request in commands(&client, &bytes) {
        let (target, mode) = needs(request.body.as_ref().unwrap()).unwrap();
        for (what, token) in refused(bed.scm.key(), target, mode) {
            let mut request = request.clone();
            request.encoded_token = token;
            let name = request.cmd_type().as_str_name();
            let code = client.call(request).await.result();
            assert_eq!(code, Code::BlockTokenVerificationFailed, "{name}, {what}");
        }
    }
    assert_eq!(client.read(BLOCK, 0, None).await.unwrap(), bytes);
    let later = SystemClock::new().wall_ms() + 60_000;
    for mut request in commands(&client, &bytes) {
        let (target, mode) = needs(request.body.as_ref().unwrap()).unwrap();
        request.encoded_token = Some(sign(bed.scm.key(), target, later, vec![mode]));
        let (name, expected) = match request.cmd_type() {
            // It is there.
            Type::CreateContainer => ("CreateContainer", Code::ContainerExists),
            other => (other.as_str_name(), Code::Success),
        };
        let answer = client.call(request).await;
        let said = answer.message();
        assert_eq!(answer.result(), expected, "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_the_container_that_the_command_names() {
    let bed = Bed::new().await;
    let mut client = bed.client().await;
    client.store(BLOCK, &data(1_000, 1)).await;
    let other = GetBlockRequestProto {
        block_id: block_id(2, BLOCK.1),
    };
    let request = client.request(Type::GetBlock, BLOCK, Request::GetBlock(other));
    let answer = client.call(request).await;
    assert_eq!(answer.result(), Code::ContainerIdMismatch);
}

/// Asks by the door for clients of the same machine.
fn ask(
    local: &mut LocalClient,
    body: local_request::Body,
    token: Option<String>,
) -> (LocalReply, Option<OwnedFd>) {
    let request = LocalRequest {
        container: BLOCK.0,
        local: BLOCK.1,
        token: token.unwrap_or_default(),
        body: Some(body),
    };
    local.call(&request, PATIENCE).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_of_a_block_is_handed_over_without_a_good_token() {
    use local_request::Body;

    let bed = Bed::new().await;
    let mut client = bed.client().await;
    let bytes = data(2 << 20, 1);
    client.store(BLOCK, &bytes).await;
    let key = bed.scm.key().clone();
    let uuid = bed.datanode.uuid().to_string();
    let asked = tokio::task::spawn_blocking(move || {
        let mut local = LocalClient::connect(&uuid).unwrap();
        let lend = Lend {
            length: 2 << 20,
            bcsid: 0,
            verified: true,
        };
        let later = SystemClock::new().wall_ms() + 60_000;
        for (body, mode) in [
            (Body::LendToRead(LendToRead {}), AccessMode::Read),
            (Body::LendToWrite(LendToWrite {}), AccessMode::Write),
            (Body::Lend(lend), AccessMode::Read),
        ] {
            for (what, token) in refused(&key, BLOCK, mode) {
                let (reply, file) = ask(&mut local, body, token);
                assert!(!reply.done && file.is_none(), "{body:?}, {what}");
                let refusal = &reply.refusal;
                assert!(refusal.contains("TOKEN"), "{body:?}, {what}: {refusal}");
            }
            let token = Some(sign(&key, BLOCK, later, vec![mode]));
            let (reply, file) = ask(&mut local, body, token);
            let refusal = &reply.refusal;
            match body {
                // Its writer has it.
                Body::Lend(_) => assert!(!refusal.contains("TOKEN"), "{refusal}"),
                _ => assert!(reply.done && file.is_some(), "{body:?}: {refusal}"),
            }
        }
    });
    asked.await.unwrap();
    assert_eq!(client.read(BLOCK, 0, None).await.unwrap(), bytes);
}
