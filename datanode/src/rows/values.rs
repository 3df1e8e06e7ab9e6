//! How rows look in bytes: a version, then numbers, big end first.

use ozone_kv::{CodecError, ValueCodec};

const ROW_VERSION: u8 = 1;

/// Size, commit and flags of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRow {
    /// Bytes that exist.
    pub size: u64,
    /// Place in the pipeline's log of the commit that made it so.
    pub bcsid: u64,
    /// What the client said; kept for it.
    pub flags: i64,
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct U64Row(pub(super) u64);

/// A chunk without its offset, which the key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkRow {
    pub(super) len: u32,
    pub(super) window: u32,
    pub(super) crcs: Vec<u8>,
}

fn versioned(bytes: &[u8], what: &str) -> Result<Vec<u8>, CodecError> {
    match bytes.split_first() {
        Some((&ROW_VERSION, rest)) => Ok(rest.to_vec()),
        Some((version, _)) => Err(CodecError::value(format!("{what} of version {version}"))),
        None => Err(CodecError::value(format!("empty {what}"))),
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], CodecError> {
    let part = bytes.get(at..at + N).and_then(|part| part.try_into().ok());
    part.ok_or_else(|| CodecError::value("row is too short"))
}

impl ValueCodec for BlockRow {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(25);
        out.push(ROW_VERSION);
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.bcsid.to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let rest = versioned(bytes, "block row")?;
        Ok(Self {
            size: u64::from_be_bytes(number(&rest, 0)?),
            bcsid: u64::from_be_bytes(number(&rest, 8)?),
            flags: i64::from_be_bytes(number(&rest, 16)?),
        })
    }
}

impl ValueCodec for U64Row {
    fn encode(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        number(bytes, 0).map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

impl ValueCodec for ChunkRow {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.crcs.len());
        out.push(ROW_VERSION);
        out.extend_from_slice(&self.len.to_be_bytes());
        out.extend_from_slice(&self.window.to_be_bytes());
        out.extend_from_slice(&self.crcs);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let rest = versioned(bytes, "chunk row")?;
        let row = Self {
            len: u32::from_be_bytes(number(&rest, 0)?),
            window: u32::from_be_bytes(number(&rest, 4)?),
            crcs: rest[8..].to_vec(),
        };
        let windows = row
            .len
            .checked_div(row.window)
            .map(|_| row.len.div_ceil(row.window));
        match windows {
            Some(n) if row.crcs.len() == n as usize * 4 => Ok(row),
            _ => Err(CodecError::value(
                "chunk row with the wrong number of checksums",
            )),
        }
    }
}
