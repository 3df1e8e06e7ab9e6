//! One chunk of a block: where it lies, and the CRC-32C of each of its windows.
//!
//! A chunk describes itself, so that any replica can check whether it has the bytes, and read any
//! run of whole windows back with their checksums.

use bytes::{BufMut, Bytes, BytesMut};
use ozone_common::checksum::crc32c;
use ozone_proto::hdds::datanode::{ChecksumData, ChecksumType, ChunkInfo, Result as Code};
use ozone_proto::scm::StoredChunk;

use crate::error::{OpError, OpResult};

/// Largest chunk that is taken, in bytes.
pub const MAX_CHUNK: u64 = 32 << 20;
/// Smallest window, in bytes: less would make more checksum than data.
pub const MIN_WINDOW: u32 = 512;

/// A chunk of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins in the block.
    pub offset: u64,
    /// Its bytes; never zero.
    pub len: u32,
    /// Bytes per checksum; the last window may be shorter.
    pub window: u32,
    /// Four big-endian bytes for each window.
    pub crcs: Bytes,
}

impl Chunk {
    /// Where it ends in the block.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }

    /// Takes what a client sent, when it makes sense.
    pub fn from_info(info: &ChunkInfo) -> OpResult<Self> {
        let sums = &info.checksum_data;
        if sums.r#type() != ChecksumType::Crc32c {
            let kind = sums.r#type().as_str_name();
            let text = format!("checksum type is {kind}, this datanode stores CRC32C");
            return Err(OpError::new(Code::InvalidArgument, text));
        }
        if let Some(odd) = sums.checksums.iter().find(|crc| crc.len() != 4) {
            let text = format!("a checksum has {} bytes, CRC32C has 4", odd.len());
            return Err(OpError::malformed(text));
        }
        let mut crcs = BytesMut::with_capacity(sums.checksums.len() * 4);
        sums.checksums.iter().for_each(|crc| crcs.put_slice(crc));
        let len = u32::try_from(info.len).unwrap_or(u32::MAX);
        Self {
            offset: info.offset,
            len,
            window: sums.bytes_per_checksum,
            crcs: crcs.freeze(),
        }
        .checked()
    }

    /// What everything that is done with a chunk relies on, whoever sent it.
    fn checked(self) -> OpResult<Self> {
        let bad = |why: String| {
            Err(OpError::malformed(format!(
                "chunk at {}: {why}",
                self.offset
            )))
        };
        let len = u64::from(self.len);
        if len == 0 || len > MAX_CHUNK {
            return bad(format!("length {len} is not 1 to {MAX_CHUNK}"));
        }
        // Offsets in files are signed.
        let end = self.offset.checked_add(len);
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return bad("its offset is out of range".to_owned());
        }
        if self.window < MIN_WINDOW {
            return bad(format!(
                "{} bytes per checksum, at least {MIN_WINDOW}",
                self.window
            ));
        }
        let (have, windows) = (self.crcs.len(), self.windows());
        if have != windows * 4 {
            return bad(format!(
                "{have} bytes of checksums, expected {windows} of 4 bytes"
            ));
        }
        Ok(self)
    }

    /// The form that clients see.
    pub fn to_info(&self, local: i64) -> ChunkInfo {
        ChunkInfo {
            chunk_name: format!("{local}_chunk_{}", self.offset),
            offset: self.offset,
            len: u64::from(self.len),
            metadata: Vec::new(),
            checksum_data: self.checksums(0, self.windows()),
            stripe_checksum: None,
        }
    }

    /// The form that datanodes tell each other.
    pub fn to_stored(&self) -> StoredChunk {
        StoredChunk {
            offset: self.offset,
            len: self.len,
            bytes_per_checksum: self.window,
            crcs: self.crcs.clone(),
        }
    }

    /// Takes what another datanode sent, when it makes sense.
    pub fn from_stored(stored: &StoredChunk) -> OpResult<Self> {
        Self {
            offset: stored.offset,
            len: stored.len,
            window: stored.bytes_per_checksum,
            crcs: stored.crcs.clone(),
        }
        .checked()
    }

    /// Number of windows.
    pub fn windows(&self) -> usize {
        self.len.div_ceil(self.window.max(1)) as usize
    }

    /// The checksums of windows `from` to before `to`.
    pub fn checksums(&self, from: usize, to: usize) -> ChecksumData {
        ChecksumData {
            r#type: ChecksumType::Crc32c.into(),
            bytes_per_checksum: self.window,
            checksums: (from..to)
                .map(|i| self.crcs.slice(i * 4..i * 4 + 4))
                .collect(),
        }
    }

    /// Whether `data` is the content of the chunk.
    pub fn verify(&self, data: &[u8]) -> OpResult<()> {
        if data.len() != self.len as usize {
            let text = format!("chunk of {} bytes came with {}", self.len, data.len());
            return Err(OpError::new(Code::InvalidWriteSize, text));
        }
        self.verify_windows(0, data)
    }

    /// Whether `data` is the content of the windows from `first` on.
    pub fn verify_windows(&self, first: usize, data: &[u8]) -> OpResult<()> {
        let sums = self.crcs.chunks_exact(4).skip(first);
        for (index, (part, want)) in (first..).zip(data.chunks(self.window as usize).zip(sums)) {
            let have = crc32c(part).to_be_bytes();
            if have != want {
                let at = self.offset + index as u64 * u64::from(self.window);
                let text = format!(
                    "window at byte {at} of the block: checksum should be {want:02x?}, data has {have:02x?}"
                );
                return Err(OpError::new(Code::ChecksumMismatch, text));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod tests {
    use ozone_common::checksum::Checksums;

    use super::*;

    /// The chunk that a client would make of `data`.
    pub(crate) fn chunk_of(offset: u64, data: &[u8]) -> Chunk {
        let sums = Checksums::compute(data, 1024);
        let crcs: Vec<u8> = sums.to_be_bytes().concat();
        Chunk {
            offset,
            len: u32::try_from(data.len()).unwrap(),
            window: 1024,
            crcs: crcs.into(),
        }
    }

    #[test]
    fn a_chunk_outlives_both_wire_forms() {
        let chunk = chunk_of(4096, &[7; 2500]);
        assert_eq!(Chunk::from_info(&chunk.to_info(1)).unwrap(), chunk);
        assert_eq!(Chunk::from_stored(&chunk.to_stored()).unwrap(), chunk);
        assert_eq!(chunk.windows(), 3);
        assert_eq!(chunk.end(), 6596);
    }

    #[test]
    fn a_flipped_bit_and_a_missing_byte_are_found() {
        let mut data = vec![1; 3000];
        let chunk = chunk_of(0, &data);
        chunk.verify(&data).unwrap();
        data[2100] ^= 4;
        let error = chunk.verify(&data).unwrap_err();
        assert_eq!(error.code, Code::ChecksumMismatch);
        assert!(error.message.contains("2048"), "{error}");
        assert_eq!(
            chunk.verify(&data[1..]).unwrap_err().code,
            Code::InvalidWriteSize
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let good = chunk_of(0, &[1; 2000]).to_info(1);
        let refused = |change: &dyn Fn(&mut ChunkInfo)| {
            let mut info = good.clone();
            change(&mut info);
            Chunk::from_info(&info).unwrap_err().code
        };
        assert_eq!(refused(&|i| i.len = 0), Code::MalformedRequest);
        assert_eq!(refused(&|i| i.len = MAX_CHUNK + 1), Code::MalformedRequest);
        assert_eq!(refused(&|i| i.offset = u64::MAX), Code::MalformedRequest);
        assert_eq!(
            refused(&|i| i.checksum_data.bytes_per_checksum = 0),
            Code::MalformedRequest
        );
        assert_eq!(
            refused(&|i| drop(i.checksum_data.checksums.pop())),
            Code::MalformedRequest
        );
        assert_eq!(
            refused(&|i| i.checksum_data.checksums[0] = Bytes::from_static(b"abc")),
            Code::MalformedRequest
        );
        let none = |i: &mut ChunkInfo| i.checksum_data.r#type = ChecksumType::None.into();
        assert_eq!(refused(&none), Code::InvalidArgument);
    }

    #[test]
    fn numbers_from_another_datanode_are_bounded_as_those_of_a_client() {
        let good = chunk_of(0, &[1; 2000]).to_stored();
        let taken = |change: &dyn Fn(&mut StoredChunk)| {
            let mut stored = good.clone();
            change(&mut stored);
            let one = |stored: &StoredChunk| Chunk::from_stored(stored).map(|chunk| chunk.end());
            let of_client = |stored: &StoredChunk| {
                let chunk = Chunk {
                    offset: stored.offset,
                    len: stored.len,
                    window: stored.bytes_per_checksum,
                    crcs: stored.crcs.clone(),
                };
                Chunk::from_info(&chunk.to_info(1)).map(|chunk| chunk.end())
            };
            let (one, other) = (one(&stored), of_client(&stored));
            assert_eq!(one.is_ok(), other.is_ok(), "{stored:?}");
            one.ok()
        };
        let last = i64::MAX as u64;
        assert_eq!(taken(&|c| c.offset = last - 2000), Some(last));
        assert_eq!(taken(&|c| c.offset = last - 1999), None);
        assert_eq!(taken(&|c| c.offset = u64::MAX), None);
        assert_eq!(taken(&|c| c.offset = u64::MAX - 1999), None);
        let sized = |len: u32, window: u32| {
            taken(&move |c| {
                c.len = len;
                c.bytes_per_checksum = window;
                c.crcs = vec![0; len.div_ceil(window) as usize * 4].into();
            })
        };
        assert_eq!(sized(MAX_CHUNK as u32, 1 << 20), Some(MAX_CHUNK));
        assert_eq!(sized(MAX_CHUNK as u32 + 1, 1 << 20), None);
        assert_eq!(sized(u32::MAX, u32::MAX), None);
        assert_eq!(sized(512, MIN_WINDOW), Some(512));
        assert_eq!(sized(511, MIN_WINDOW - 1), None);
    }
}
