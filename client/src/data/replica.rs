//! Reading a range of a block from whichever replica has it, verified.
//!
//! Replicas are asked one after the other as each fails, and the next one early when the first is
//! slow. What comes back is checked against the checksums made when it was written; a replica whose
//! bytes do not match counts as failed. A replica on this machine is read from its file; its datanode tells the
//! checksums.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ozone_common::checksum::Checksums;
use ozone_proto::hdds::datanode::container_command_request_proto::Body;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Answer;
use ozone_proto::hdds::datanode::{
    ChecksumData, ChecksumType, ContainerCommandRequestProto as Request, ReadBlockRequestProto,
    ReadBlockResponseProto, Result as Code, Type,
};

use super::DataEnv;
use super::extent_map::BlockRange;
use super::node::{Lane, Pending};
use super::own_replica::{OwnReplica, ReplicaFile};
use super::place::Member;
use crate::{ClientError, Result};

/// Bytes in one message of an answer.
const MESSAGE_BYTES: u32 = 1 << 20;

/// Longest piece that is read in place.
const MOST_IN_PLACE: usize = 16 << 20;

/// Why one replica could not serve.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Its bytes are not those that were written.
    #[error("{0}")]
    Corrupt(String),
    /// It refused or was not reached.
    #[error("{0}")]
    Error(ClientError),
}

/// The bytes of `range`, all of them, in pieces.
pub(super) async fn fetch(
    env: &Arc<DataEnv>,
    own: &OwnReplica,
    range: &BlockRange,
) -> Result<Vec<Bytes>> {
    let file = own.file(env, range).await;
    let mut order = order(env, range);
    if let Some(file) = &file {
        // The nearest one first, unless it failed just now.
        order.sort_by_key(|member| (env.avoid.has_datanode(&member.uuid), !file.is_of(member)));
    }
    let file = file.as_ref();
    let ask = |member| async move {
        let file = file.filter(|file| file.is_of(member));
        let answer = ask(env, range, member, file.map(|file| (file, own))).await;
        (member, answer)
    };
    let mut waiting = order.iter().copied();
    let mut running = FuturesUnordered::new();
    running.extend(waiting.next().map(&ask));
    let mut failures = Vec::new();
    loop {
        let more = waiting.len() > 0;
        tokio::select! {
            Some((member, answer)) = running.next() => match answer {
                Ok(data) => {
                    env.avoid.datanode_works(&member.uuid);
                    env.verified.note(&member.uuid, range);
                    return Ok(data);
                }
                Err(failure) => {
                    note(env, range, member, &failure);
                    failures.push((member, failure));
                }
            },
            () = tokio::time::sleep(env.config.hedge_after), if more => {}
            else => return Err(all_failed(range, failures)),
        }
        running.extend(waiting.next().map(&ask));
    }
}

/// Replicas in the order in which to ask them: spread over blocks, failed ones last.
pub(super) fn order<'a>(env: &DataEnv, range: &'a BlockRange) -> Vec<&'a Member> {
    let members = &range.place.members;
    let first = (range.place.local % members.len() as u64) as usize;
    let mut order: Vec<_> = members[first..].iter().chain(&members[..first]).collect();
    order.sort_by_key(|member| env.avoid.has_datanode(&member.uuid));
    order
}

/// Asks one replica, which may be one of this machine.
async fn ask(
    env: &DataEnv,
    range: &BlockRange,
    member: &Member,
    file: Option<(&Arc<ReplicaFile>, &OwnReplica)>,
) -> Result<Vec<Bytes>, Failure> {
    if let Some((file, own)) = file {
        let pending = start(env, range, member, true);
        match collect(pending, (env, range), Some(file)).await {
            Ok(data) => return Ok(data),
            Err(Failure::Error(error)) => {
                tracing::debug!(block = range.place.name(), %error, "not read in place");
                own.leave(range);
                if matches!(error, ClientError::Timeout { .. }) {
                    return Err(Failure::Error(error));
                }
            }
            // Its datanode finds out now.
            Err(Failure::Corrupt(reason)) => {
                tracing::warn!(block = range.place.name(), reason, "damaged in place");
                own.give_up(range);
            }
        }
    }
    collect(start(env, range, member, false), (env, range), None).await
}

fn start(env: &DataEnv, range: &BlockRange, member: &Member, in_place: bool) -> Pending {
    let place = &range.place;
    let body = ReadBlockRequestProto {
        in_place: in_place.then_some(true),
        block_id: place.id(range.bcsid),
        offset: range.offset,
        length: Some(range.length),
        response_data_size: Some(MESSAGE_BYTES),
    };
    let request = Request {
        cmd_type: Type::ReadBlock.into(),
        container_id: place.container as i64,
        pipeline_id: Some(place.pipeline.clone()),
        encoded_token: Some(place.token.clone()),
        body: Some(Body::ReadBlock(body)),
        ..Default::default()
    };
    env.nodes
        .start(member, Lane::Read, request, env.config.read_timeout)
}

/// Takes in the messages of one answer until they cover the range. Pieces without data are in the file.
async fn collect(
    mut pending: Pending,
    (env, range): (&DataEnv, &BlockRange),
    file: Option<&Arc<ReplicaFile>>,
) -> Result<Vec<Bytes>, Failure> {
    let end = range.offset + range.length;
    let mut at = range.offset;
    let mut data = Vec::new();
    while at < end {
        let answer = pending.next_good().await.map_err(Failure::Error)?;
        let Some(Answer::ReadBlock(mut part)) = answer.body else {
            return Err(broken(&pending, "no answer to ReadBlock"));
        };
        match (file, part.length_in_place) {
            (Some(file), Some(length)) => {
                let read = read_in_place(file, part, length);
                let patience = env.config.read_timeout;
                part = tokio::time::timeout(patience, read)
                    .await
                    .map_err(|_| broken(&pending, "its disk does not answer"))??;
            }
            _ => verify(&part)?,
        }
        let last = part.last();
        let bytes = useful(&part, at, end).ok_or_else(|| broken(&pending, "a gap in the data"))?;
        at += bytes.len() as u64;
        if !bytes.is_empty() {
            data.push(bytes);
        }
        if last && at < end {
            return Err(broken(
                &pending,
                &format!("the data ends at {at}, not {end}"),
            ));
        }
    }
    Ok(data)
}

/// Reads what a message tells of, and verifies it.
async fn read_in_place(
    file: &Arc<ReplicaFile>,
    mut part: ReadBlockResponseProto,
    length: u64,
) -> Result<ReadBlockResponseProto, Failure> {
    let file = file.clone();
    let read = tokio::task::spawn_blocking(move || {
        let length = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(MOST_IN_PLACE);
        let read = file.read(part.offset, length);
        part.data = read.map_err(|error| Failure::Corrupt(error.to_string()))?;
        verify(&part)?;
        Ok(part)
    });
    let failed = |panic: tokio::task::JoinError| {
        Failure::Error(ClientError::unavailable("this client", panic.to_string()))
    };
    read.await.map_err(failed)?
}

/// The part of a message that is within `at..end` of the block; none if it begins after `at`.
fn useful(part: &ReadBlockResponseProto, at: u64, end: u64) -> Option<Bytes> {
    let skip = usize::try_from(at.checked_sub(part.offset)?).ok()?;
    let length = part.data.len();
    let until = usize::try_from(end - part.offset).unwrap_or(usize::MAX);
    Some(part.data.slice(skip.min(length)..until.min(length)))
}

fn verify(part: &ReadBlockResponseProto) -> Result<(), Failure> {
    let sums = &part.checksum_data;
    match sums.r#type() {
        ChecksumType::Crc32c => {}
        // Data that a foreign client stored so.
        ChecksumType::None => return Ok(()),
        other => {
            let what = format!(
                "checksums of type {}, which cannot be verified",
                other.as_str_name()
            );
            return Err(Failure::Error(ClientError::protocol("datanode", what)));
        }
    }
    let checksums = parse(sums).ok_or_else(|| Failure::Corrupt("malformed checksums".into()))?;
    checksums
        .verify(&part.data)
        .map_err(|error| Failure::Corrupt(error.to_string()))
}

fn parse(sums: &ChecksumData) -> Option<Checksums> {
    let crc = |bytes: &Bytes| Some(u32::from_be_bytes(bytes.as_ref().try_into().ok()?));
    Some(Checksums {
        bytes_per_checksum: sums.bytes_per_checksum,
        crcs: sums.checksums.iter().map(crc).collect::<Option<_>>()?,
    })
}

fn broken(pending: &Pending, what: &str) -> Failure {
    let from = format!("datanode {}", pending.address());
    Failure::Error(ClientError::protocol(from, what))
}

/// Remembers nodes that were not reached; tells of replicas that are corrupt.
fn note(env: &DataEnv, range: &BlockRange, member: &Member, failure: &Failure) {
    let block = range.place.name();
    match failure {
        Failure::Corrupt(reason) => {
            tracing::error!(block, node = %member.address, reason, "corrupt replica");
            env.verified.doubt(&member.uuid, range);
        }
        Failure::Error(error) => {
            tracing::debug!(block, node = %member.address, %error, "replica not read");
            if matches!(
                error,
                ClientError::Unavailable { .. } | ClientError::Timeout { .. }
            ) {
                env.avoid.datanode(&member.uuid);
            }
        }
    }
}

fn all_failed(range: &BlockRange, failures: Vec<(&Member, Failure)>) -> ClientError {
    let corrupt = failures
        .iter()
        .any(|(_, failure)| matches!(failure, Failure::Corrupt(_)));
    let behind = failures.iter().any(|(_, failure)| is_behind(failure));
    let say = |(member, failure): &(&Member, Failure)| match failure {
        Failure::Corrupt(reason) => format!("{}: {reason}", member.address),
        Failure::Error(error) => format!("{}: {error}", member.address),
    };
    let replicas: Vec<String> = failures.iter().map(say).collect();
    let block = range.place.name();
    match (behind, corrupt) {
        (true, _) => ClientError::Behind { block, replicas },
        (false, true) => ClientError::ChecksumMismatch { block, replicas },
        (false, false) => ClientError::unavailable(format!("block {block}"), replicas.join("; ")),
    }
}

/// Whether the replica may have what was committed once it has caught up with its pipeline: after a start, the members
/// learn what was committed when one of them leads.
fn is_behind(failure: &Failure) -> bool {
    let Failure::Error(ClientError::Datanode { result, .. }) = failure else {
        return false;
    };
    matches!(
        result,
        Code::ContainerNotFound
            | Code::NoSuchBlock
            | Code::UnknownBcsid
            | Code::BcsidMismatch
            | Code::BlockNotCommitted
    )
}
