//! Small writes gathered into chunks.
//!
//! A chunk is a piece of block, not of file: writes all over a file go into one chunk, and its runs
//! tell which bytes are whose.

use bytes::{Bytes, BytesMut};
use ozone_common::checksum::Checksums;
use ozone_common::checksum::crc32c;
use ozone_proto::hdds::datanode::{ChecksumData, ChecksumType};
use ozone_proto::namespace::{Extent, InlineSource, extent::Source};

use super::overlay::Overlay;

/// Bytes of the file from `file_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) file_offset: u64,
    pub(super) length: u64,
}

/// Data cut for sending, with its checksums.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Later chunks have newer data.
    pub(super) seq: u64,
    /// Which bytes of the file `data` is, in its order.
    pub(super) runs: Vec<Run>,
    pub(super) data: Bytes,
    pub(super) checksums: ChecksumData,
}

/// Data that waits to be cut.
#[derive(Debug, Default)]
pub(super) struct Gather {
    parts: Vec<(u64, Bytes)>,
    length: usize,
}

impl Gather {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, file_offset: u64, data: Bytes) {
        self.length += data.len();
        self.parts.push((file_offset, data));
    }

    /// Cuts everything into one chunk.
    pub(super) fn cut(&mut self, seq: u64, bytes_per_checksum: u32) -> Chunk {
        let length = std::mem::take(&mut self.length);
        let parts = std::mem::take(&mut self.parts);
        let runs = runs(&parts);
        let data = join(parts.into_iter().map(|(_, data)| data), length);
        let checksums = checksum_data(&data, bytes_per_checksum);
        Chunk {
            seq,
            runs,
            data,
            checksums,
        }
    }

    /// Takes everything as extents that carry their bytes.
    pub(super) fn take_inline(&mut self) -> Vec<Extent> {
        self.length = 0;
        inline_extents(std::mem::take(&mut self.parts))
    }
}

/// Extents that carry their bytes; later parts win.
pub(crate) fn inline_extents(parts: Vec<(u64, Bytes)>) -> Vec<Extent> {
    let mut overlay = Overlay::default();
    for run in adjacent(parts) {
        let length: usize = run.1.iter().map(Bytes::len).sum();
        let source = InlineSource {
            data: join(run.1, length),
            ..Default::default()
        };
        overlay.put(Extent {
            file_offset: run.0,
            length: length as u64,
            source: Some(Source::Inline(source)),
        });
    }
    let mut extents = overlay.into_extents();
    for extent in &mut extents {
        if let Some(Source::Inline(inline)) = &mut extent.source {
            inline.crc32c = Some(crc32c(&inline.data));
        }
    }
    extents
}

fn adjacent(parts: Vec<(u64, Bytes)>) -> Vec<(u64, Vec<Bytes>)> {
    let mut out: Vec<(u64, Vec<Bytes>)> = Vec::new();
    let mut end = 0;
    for (offset, data) in parts {
        let length = data.len() as u64;
        match out.last_mut() {
            Some((_, run)) if end == offset => run.push(data),
            _ => out.push((offset, vec![data])),
        }
        end = offset + length;
    }
    out
}

fn runs(parts: &[(u64, Bytes)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (file_offset, data) in parts {
        let length = data.len() as u64;
        match runs.last_mut() {
            Some(last) if last.file_offset + last.length == *file_offset => last.length += length,
            _ => runs.push(Run {
                file_offset: *file_offset,
                length,
            }),
        }
    }
    runs
}

/// One piece is passed on as it is, several are copied together.
pub(super) fn join(parts: impl IntoIterator<Item = Bytes>, length: usize) -> Bytes {
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else {
        return Bytes::new();
    };
    if first.len() == length {
        return first;
    }
    let mut whole = BytesMut::with_capacity(length);
    whole.extend_from_slice(&first);
    parts.for_each(|part| whole.extend_from_slice(&part));
    whole.freeze()
}

fn checksum_data(data: &[u8], bytes_per_checksum: u32) -> ChecksumData {
    let sums = Checksums::compute(data, bytes_per_checksum);
    let all: Bytes = sums.to_be_bytes().concat().into();
    ChecksumData {
        r#type: ChecksumType::Crc32c.into(),
        bytes_per_checksum: sums.bytes_per_checksum,
        checksums: (0..sums.crcs.len())
            .map(|n| all.slice(n * 4..n * 4 + 4))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(n: usize, fill: u8) -> Bytes {
        vec![fill; n].into()
    }

    #[test]
    fn adjacent_writes_become_one_run() {
        let mut gather = Gather::default();
        gather.push(0, bytes(10, 1));
        gather.push(10, bytes(5, 2));
        gather.push(100, bytes(1, 3));
        let chunk = gather.cut(1, 4);
        assert_eq!(chunk.data.len(), 16);
        let run = |file_offset, length| Run {
            file_offset,
            length,
        };
        assert_eq!(chunk.runs, [run(0, 15), run(100, 1)]);
        assert_eq!(chunk.checksums.checksums.len(), 4);
        assert!(gather.is_empty());
    }

    #[test]
    fn a_single_write_is_not_copied() {
        let data = bytes(100, 7);
        let mut gather = Gather::default();
        gather.push(5, data.clone());
        assert_eq!(gather.cut(1, 0).data.as_ptr(), data.as_ptr());
    }

    #[test]
    fn later_inline_bytes_win() {
        let mut gather = Gather::default();
        gather.push(0, bytes(10, 1));
        gather.push(4, bytes(2, 2));
        let extents = gather.take_inline();
        let mut file = [0; 10];
        for extent in &extents {
            let Some(Source::Inline(inline)) = &extent.source else {
                unreachable!("{extent:?}")
            };
            let from = extent.file_offset as usize;
            file[from..from + extent.length as usize].copy_from_slice(&inline.data);
        }
        assert_eq!(extents.len(), 3);
        assert_eq!(file, [1, 1, 1, 1, 2, 2, 1, 1, 1, 1]);
    }
}
