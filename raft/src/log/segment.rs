//! One file of the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ozone_common::disk::DiskFile;
use parking_lot::{Mutex, RwLock};

use super::frame;
use crate::types::Entry;

/// Name of the segment that is zero-filled in advance.
pub(super) const NEXT_NAME: &str = "segment.next";
/// Marks the file as ours: what it is, version 1.
pub(super) const FILE_MAGIC: &[u8; 8] = b"OZLOG\0\0\x01";
/// Bytes before the first frame: the magic and the index of the first entry.
pub(super) const FILE_HEADER: u64 = 16;

pub(super) fn file_header(first: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..8].copy_from_slice(FILE_MAGIC);
    header[8..].copy_from_slice(&first.to_le_bytes());
    header
}

/// What the name of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentName {
    pub(super) first: u64,
    /// `None` while in progress.
    pub(super) last: Option<u64>,
}

impl SegmentName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some(first) = name.strip_prefix("log_inprogress_") {
            return Some(Self {
                first: first.parse().ok()?,
                last: None,
            });
        }
        let (first, last) = name.strip_prefix("log_")?.split_once('-')?;
        Some(Self {
            first: first.parse().ok()?,
            last: Some(last.parse().ok()?),
        })
    }

    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(match self.last {
            None => format!("log_inprogress_{}", self.first),
            Some(last) => format!("log_{}-{last}", self.first),
        })
    }
}

/// A segment as readers see it. The writer adds to it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) file: Arc<dyn DiskFile>,
    name: Mutex<SegmentName>,
    /// Where each entry starts, and last where the next one will.
    offsets: RwLock<Vec<u64>>,
}

impl Segment {
    pub(super) fn new(name: SegmentName, file: Arc<dyn DiskFile>, offsets: Vec<u64>) -> Self {
        Self {
            first: name.first,
            file,
            name: Mutex::new(name),
            offsets: RwLock::new(offsets),
        }
    }

    pub(super) fn name(&self) -> SegmentName {
        *self.name.lock()
    }

    pub(super) fn rename(&self, name: SegmentName) {
        *self.name.lock() = name;
    }

    /// Index after the last entry.
    pub(super) fn next(&self) -> u64 {
        self.first + (self.offsets.read().len() as u64 - 1)
    }

    /// Offset after the last entry.
    pub(super) fn end(&self) -> u64 {
        self.offsets.read().last().copied().unwrap_or(FILE_HEADER)
    }

    /// Notes where entries that were just written end.
    pub(super) fn extend(&self, ends: &[u64]) {
        self.offsets.write().extend_from_slice(ends);
    }

    /// Where the entries before `index` lie.
    pub(super) fn offsets_before(&self, index: u64) -> Vec<u64> {
        let keep = usize::try_from(index - self.first).unwrap_or(usize::MAX);
        self.offsets.read().iter().take(keep + 1).copied().collect()
    }

    /// Reads entries `[from, to)`, fewer when they pass `limit` bytes but at least one.
    pub(super) fn read(&self, from: u64, to: u64, limit: u64) -> io::Result<Vec<Entry>> {
        let span = {
            let offsets = self.offsets.read();
            let at = |index: u64| usize::try_from(index - self.first).unwrap_or(usize::MAX);
            let start = offsets[at(from)];
            let mut count = at(to) - at(from);
            while count > 1 && offsets[at(from) + count] - start > limit {
                count = count.div_ceil(2);
            }
            offsets[at(from)..=at(from) + count].to_vec()
        };
        let (Some(start), Some(end)) = (span.first(), span.last()) else {
            return Ok(Vec::new());
        };
        let mut buf = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut buf, *start)?;
        let buf = Bytes::from(buf);
        let mut entries = Vec::with_capacity(span.len() - 1);
        for (index, offset) in (from..).zip(&span[..span.len() - 1]) {
            entries.push(self.entry_in(&buf, *start, *offset, index)?);
        }
        Ok(entries)
    }

    fn entry_in(&self, buf: &Bytes, start: u64, offset: u64, index: u64) -> io::Result<Entry> {
        let damaged = |what: &str| {
            let name = self.name().path(Path::new(""));
            let message = format!("{}: offset {offset}: entry {index}: {what}", name.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let at = usize::try_from(offset - start).map_err(io::Error::other)?;
        let frame = frame::parse(buf, at)
            .filter(|frame| frame.index == index)
            .ok_or_else(|| damaged("damaged"))?;
        frame::decode(buf, at, &frame).map_err(|e| damaged(&e))
    }
}
