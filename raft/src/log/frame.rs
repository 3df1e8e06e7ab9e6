//! One entry on disk.
//!
//! ```text
//! magic u32 | body length u32 | crc u32 | kind u32 | index u64 | term u64 | synced u64 | body, padded to 8
//! ```
//! All little endian. The CRC covers everything after itself and the length before it. `synced` is
//! the offset in the file up to which everything was known to be fsynced when the frame was written.
//! It tells a torn write from damage: of frames that were never fsynced any part may be on disk, in
//! any order, but what lies before the `synced` of a valid frame was on disk once and must be valid.

use bytes::Bytes;
use openraft::EntryPayload;
use ozone_common::checksum::crc32c_parts;
use prost::Message;

use crate::types::{CommandData, Entry, log_id};
use crate::wire;

/// Bytes before the body.
pub(super) const FRAME_HEADER: usize = 40;
/// Where the part that the CRC covers begins.
const CRC_FROM: usize = 12;
const MAGIC: u32 = 0x4645_5a4f;
pub(super) const ALIGN: usize = 8;

const KIND_BLANK: u32 = 0;
const KIND_COMMAND: u32 = 1;
const KIND_MEMBERSHIP: u32 = 2;

/// A frame that was found valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) synced: u64,
    kind: u32,
    body: usize,
}

impl Frame {
    /// Bytes on disk, padding included.
    pub(super) fn size(&self) -> usize {
        FRAME_HEADER + self.body.next_multiple_of(ALIGN)
    }
}

fn u32_at(buf: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*buf.get(at..)?.first_chunk()?))
}

fn u64_at(buf: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*buf.get(at..)?.first_chunk()?))
}

/// Appends the frame of `entry` to `buf`.
pub(super) fn encode(entry: &Entry, synced: u64, buf: &mut Vec<u8>) {
    let membership;
    let (kind, body): (u32, &[u8]) = match &entry.payload {
        EntryPayload::Blank => (KIND_BLANK, &[]),
        EntryPayload::Normal(command) => (KIND_COMMAND, &command.0),
        EntryPayload::Membership(m) => {
            membership = wire::write_membership(m).encode_to_vec();
            (KIND_MEMBERSHIP, &membership)
        }
    };
    let mut rest = [0u8; FRAME_HEADER - CRC_FROM];
    rest[0..4].copy_from_slice(&kind.to_le_bytes());
    rest[4..12].copy_from_slice(&entry.log_id.index().to_le_bytes());
    rest[12..20].copy_from_slice(&entry.log_id.committed_leader_id().term.to_le_bytes());
    rest[20..28].copy_from_slice(&synced.to_le_bytes());
    // Commands are limited far below 4 GiB where they are proposed.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc32c_parts(&[&length, &rest, body]);
    buf.extend_from_slice(&MAGIC.to_le_bytes());
    buf.extend_from_slice(&length);
    buf.extend_from_slice(&crc.to_le_bytes());
    buf.extend_from_slice(&rest);
    buf.extend_from_slice(body);
    buf.resize(buf.len().next_multiple_of(ALIGN), 0);
}

/// The valid frame at `at`, if there is one.
pub(super) fn parse(buf: &[u8], at: usize) -> Option<Frame> {
    if u32_at(buf, at)? != MAGIC {
        return None;
    }
    let body = u32_at(buf, at + 4)? as usize;
    let crc = u32_at(buf, at + 8)?;
    let covered = buf
        .get(at + CRC_FROM..)?
        .get(..FRAME_HEADER - CRC_FROM + body)?;
    if crc32c_parts(&[&buf[at + 4..at + 8], covered]) != crc {
        return None;
    }
    Some(Frame {
        kind: u32_at(buf, at + 12)?,
        index: u64_at(buf, at + 16)?,
        term: u64_at(buf, at + 24)?,
        synced: u64_at(buf, at + 32)?,
        body,
    })
}

/// The entry of a valid frame, or what is wrong with it.
pub(super) fn decode(buf: &Bytes, at: usize, frame: &Frame) -> Result<Entry, String> {
    let start = at + FRAME_HEADER;
    let body = buf.slice(start..start + frame.body);
    let payload = match frame.kind {
        KIND_BLANK => EntryPayload::Blank,
        KIND_COMMAND => EntryPayload::Normal(CommandData(body)),
        KIND_MEMBERSHIP => {
            let message = wire::Membership::decode(body).map_err(|e| e.to_string())?;
            EntryPayload::Membership(wire::read_membership(message).map_err(|e| e.to_string())?)
        }
        other => return Err(format!("entry of unknown kind {other}")),
    };
    Ok(Entry {
        log_id: log_id(frame.term, frame.index),
        payload,
    })
}
