//! CRC-32C over fixed windows of data: how every byte in the system is proved to be the one that
//! was written.
//!
//! Windows start at multiples of `bytes_per_checksum` from the start of the data they belong to, so
//! a read that starts and ends on window borders can be verified without the rest.

use crc_fast::{CrcAlgorithm, Digest};

/// Default window, in bytes (ozone.client.bytes.per.checksum).
pub const BYTES_PER_CHECKSUM: u32 = 16 * 1024;

/// Data that is not what its checksum was made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// A window whose CRC differs.
    #[error(
        "checksum mismatch in window {window} (byte {offset}): stored {expected:08x}, data has {actual:08x}"
    )]
    Mismatch {
        /// Index of the window.
        window: usize,
        /// Where the window starts, in bytes from the start of the data.
        offset: u64,
        /// The stored CRC.
        expected: u32,
        /// The CRC of the data given.
        actual: u32,
    },
    /// More or fewer windows than checksums.
    #[error("{windows} windows of data but {checksums} checksums")]
    Count {
        /// Windows in the data.
        windows: usize,
        /// Checksums at hand.
        checksums: usize,
    },
    /// A range that does not start on a window border.
    #[error("offset {offset} is not a multiple of {bytes_per_checksum}")]
    Unaligned {
        /// The offset, in bytes.
        offset: u64,
        /// The window size, in bytes.
        bytes_per_checksum: u32,
    },
}

/// The CRC-32C of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(data)
}

/// The CRC-32C of several pieces as if they were one.
pub fn crc32c_parts(parts: &[&[u8]]) -> u32 {
    let mut crc = RunningCrc::default();
    parts.iter().for_each(|part| crc.update(part));
    crc.value()
}

/// The CRC-32C of data that comes piece by piece.
#[derive(Debug)]
pub struct RunningCrc {
    digest: Digest,
}

impl Default for RunningCrc {
    fn default() -> Self {
        Self {
            digest: Digest::new(CrcAlgorithm::Crc32Iscsi),
        }
    }
}

impl RunningCrc {
    /// Takes the next piece.
    pub fn update(&mut self, data: &[u8]) {
        self.digest.update(data);
    }

    /// The CRC of everything that was taken.
    pub fn value(&self) -> u32 {
        low_half(&self.digest)
    }
}

/// The checksums of a run of data, one per window; the last window may be short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksums {
    /// Window size, in bytes; never zero.
    pub bytes_per_checksum: u32,
    /// CRC-32C of each window.
    pub crcs: Vec<u32>,
}

impl Checksums {
    /// Computes the checksums of `data`. A window size of zero counts as the default.
    pub fn compute(data: &[u8], bytes_per_checksum: u32) -> Self {
        let bytes_per_checksum = window_or_default(bytes_per_checksum);
        let crcs = data
            .chunks(bytes_per_checksum as usize)
            .map(crc32c)
            .collect();
        Self {
            bytes_per_checksum,
            crcs,
        }
    }

    /// Verifies the whole data.
    pub fn verify(&self, data: &[u8]) -> Result<(), ChecksumError> {
        let windows = data.len().div_ceil(self.window());
        if windows != self.crcs.len() {
            return Err(ChecksumError::Count {
                windows,
                checksums: self.crcs.len(),
            });
        }
        self.verify_from(0, data)
    }

    /// Verifies a part of the data that starts at `offset` (a window border) and ends on a window
    /// border or at the end of the data.
    pub fn verify_range(&self, offset: u64, data: &[u8]) -> Result<(), ChecksumError> {
        let window = self.window() as u64;
        if !offset.is_multiple_of(window) {
            return Err(ChecksumError::Unaligned {
                offset,
                bytes_per_checksum: self.bytes_per_checksum,
            });
        }
        let first = usize::try_from(offset / window).unwrap_or(usize::MAX);
        let windows = first.saturating_add(data.len().div_ceil(self.window()));
        if windows > self.crcs.len() {
            return Err(ChecksumError::Count {
                windows,
                checksums: self.crcs.len(),
            });
        }
        self.verify_from(first, data)
    }

    /// Each CRC as four big-endian bytes, the form that messages carry.
    pub fn to_be_bytes(&self) -> Vec<[u8; 4]> {
        self.crcs.iter().map(|crc| crc.to_be_bytes()).collect()
    }

    fn window(&self) -> usize {
        window_or_default(self.bytes_per_checksum) as usize
    }

    fn verify_from(&self, first: usize, data: &[u8]) -> Result<(), ChecksumError> {
        for (index, chunk) in data.chunks(self.window()).enumerate() {
            let window = first + index;
            let (expected, actual) = (self.crcs[window], crc32c(chunk));
            if expected != actual {
                return Err(ChecksumError::Mismatch {
                    window,
                    offset: window as u64 * self.window() as u64,
                    expected,
                    actual,
                });
            }
        }
        Ok(())
    }
}

/// Computes [`Checksums`] of data that arrives in pieces of any size.
#[derive(Debug)]
pub struct ChecksumBuilder {
    bytes_per_checksum: u32,
    crcs: Vec<u32>,
    digest: Digest,
    in_window: usize,
}

impl ChecksumBuilder {
    /// Starts at the first byte. A window size of zero counts as the default.
    pub fn new(bytes_per_checksum: u32) -> Self {
        Self {
            bytes_per_checksum: window_or_default(bytes_per_checksum),
            crcs: Vec::new(),
            digest: Digest::new(CrcAlgorithm::Crc32Iscsi),
            in_window: 0,
        }
    }

    /// Goes on after data whose checksums are known. `tail` is the content of its short last
    /// window, empty if the last window is full.
    pub fn resume(known: Checksums, tail: &[u8]) -> Self {
        let mut builder = Self::new(known.bytes_per_checksum);
        builder.crcs = known.crcs;
        if !tail.is_empty() {
            builder.crcs.pop();
            builder.update(tail);
        }
        builder
    }

    /// Takes the next piece.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = self.bytes_per_checksum as usize - self.in_window;
            let (now, rest) = data.split_at(room.min(data.len()));
            self.digest.update(now);
            self.in_window += now.len();
            if self.in_window == self.bytes_per_checksum as usize {
                self.close_window();
            }
            data = rest;
        }
    }

    /// The checksums of everything taken.
    pub fn finish(mut self) -> Checksums {
        if self.in_window > 0 {
            self.close_window();
        }
        Checksums {
            bytes_per_checksum: self.bytes_per_checksum,
            crcs: self.crcs,
        }
    }

    fn close_window(&mut self) {
        self.crcs.push(low_half(&self.digest));
        self.digest.reset();
        self.in_window = 0;
    }
}

fn window_or_default(bytes_per_checksum: u32) -> u32 {
    match bytes_per_checksum {
        0 => BYTES_PER_CHECKSUM,
        window => window,
    }
}

/// A 32-bit CRC from a digest that holds 64.
fn low_half(digest: &Digest) -> u32 {
    (digest.finalize() & 0xffff_ffff) as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn data(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 % 251) as u8).collect()
    }

    #[test]
    fn crc_is_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c_parts(&[b"1234", b"", b"56789"]), 0xe306_9283);
    }

    #[test]
    fn any_flipped_bit_is_found_and_placed() {
        let good = data(40_000);
        let sums = Checksums::compute(&good, 0);
        assert_eq!(sums.crcs.len(), 3);
        sums.verify(&good).unwrap();
        let mut bad = good;
        bad[20_000] ^= 1;
        let error = sums.verify(&bad).unwrap_err();
        assert!(
            matches!(
                error,
                ChecksumError::Mismatch {
                    window: 1,
                    offset: 16_384,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn missing_or_extra_bytes_are_found() {
        let good = data(32_768);
        let sums = Checksums::compute(&good, 16_384);
        assert!(sums.verify(&good[..16_384]).is_err());
        assert!(sums.verify(&data(32_769)).is_err());
        assert!(sums.verify(&good[..32_767]).is_err());
    }

    #[test]
    fn aligned_parts_verify_alone() {
        let good = data(50_000);
        let sums = Checksums::compute(&good, 16_384);
        sums.verify_range(16_384, &good[16_384..32_768]).unwrap();
        sums.verify_range(32_768, &good[32_768..]).unwrap();
        assert!(sums.verify_range(100, &good[100..200]).is_err());
        assert!(sums.verify_range(16_384, &good[16_384..20_000]).is_err());
        assert!(sums.verify_range(65_536, &good[..10]).is_err());
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let whole = data(100_003);
        let want = Checksums::compute(&whole, 4096);
        for piece in [1, 7, 4095, 4096, 4097, 70_000] {
            let mut builder = ChecksumBuilder::new(4096);
            whole.chunks(piece).for_each(|part| builder.update(part));
            assert_eq!(builder.finish(), want, "pieces of {piece}");
        }
    }

    #[test]
    fn resuming_an_append_gives_what_the_whole_gives() {
        let whole = data(30_000);
        let want = Checksums::compute(&whole, 4096);
        for cut in [0, 1, 4096, 5000, 8192, 29_999, 30_000] {
            let known = Checksums::compute(&whole[..cut], 4096);
            let mut builder = ChecksumBuilder::resume(known, &whole[cut - cut % 4096..cut]);
            builder.update(&whole[cut..]);
            assert_eq!(builder.finish(), want, "cut at {cut}");
        }
    }
}
