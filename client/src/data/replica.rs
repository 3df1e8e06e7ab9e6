//! Reading a range of a block from whichever replica has it, verified.
//!
//! Replicas are asked one after the other as each fails, and the next one early when the first is
//! slow. What comes back is checked against the checksums made when it was written; a replica whose
//! bytes do not match counts as failed.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ozone_common::checksum::Checksums;
use ozone_proto::hdds::datanode::container_command_request_proto::Body;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Answer;
use ozone_proto::hdds::datanode::{
    ChecksumData, ChecksumType, ContainerCommandRequestProto as Request, ReadBlockRequestProto,
    ReadBlockResponseProto, Type,
};

use super::DataEnv;
use super::extent_map::BlockRange;
use super::node::{Lane, Pending};
use super::place::Member;
use crate::{ClientError, Result};

/// Bytes in one message of an answer.
const MESSAGE_BYTES: u32 = 1 << 20;

/// Why one replica could not serve.
enum Failure {
    /// Its bytes are not those that were written.
    Corrupt(String),
    /// It refused or was not reached.
    Error(ClientError),
}

/// The bytes of `range`, all of them, in pieces.
pub(super) async fn fetch(env: &DataEnv, range: &BlockRange) -> Result<Vec<Bytes>> {
    let order = order(env, range);
    let mut waiting = order.iter();
    let mut running = FuturesUnordered::new();
    running.extend(waiting.next().map(|member| ask(env, range, member)));
    let mut failures = Vec::new();
    loop {
        let more = waiting.len() > 0;
        tokio::select! {
            Some((member, answer)) = running.next() => match answer {
                Ok(data) => {
                    env.avoid.datanode_works(&member.uuid);
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
        running.extend(waiting.next().map(|member| ask(env, range, member)));
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

async fn ask<'a>(
    env: &DataEnv,
    range: &BlockRange,
    member: &'a Member,
) -> (&'a Member, Result<Vec<Bytes>, Failure>) {
    let place = &range.place;
    let body = ReadBlockRequestProto {
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
    let pending = env
        .nodes
        .start(member, Lane::Read, request, env.config.read_timeout);
    (member, collect(pending, range).await)
}

/// Takes in the messages of one answer until they cover the range.
async fn collect(mut pending: Pending, range: &BlockRange) -> Result<Vec<Bytes>, Failure> {
    let end = range.offset + range.length;
    let mut at = range.offset;
    let mut data = Vec::new();
    while at < end {
        let answer = pending.next_good().await.map_err(Failure::Error)?;
        let Some(Answer::ReadBlock(part)) = answer.body else {
            return Err(broken(&pending, "no answer to ReadBlock"));
        };
        verify(&part)?;
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
    let say = |(member, failure): &(&Member, Failure)| match failure {
        Failure::Corrupt(reason) => format!("{}: {reason}", member.address),
        Failure::Error(error) => format!("{}: {error}", member.address),
    };
    let replicas: Vec<String> = failures.iter().map(say).collect();
    let block = range.place.name();
    match corrupt {
        true => ClientError::ChecksumMismatch { block, replicas },
        false => ClientError::unavailable(format!("block {block}"), replicas.join("; ")),
    }
}
