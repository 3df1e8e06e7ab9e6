//! Opening a log after whatever ended the process before.
//!
//! What a crash explains is repaired: leftovers of files being prepared, purged segments that were
//! not yet removed, a torn end of the last segment. Everything else is damage and refused, with the
//! file and the place, because to go on would be to forget entries that were acknowledged.
//!
//! What is found counts as durable from then on: it is fsynced first, because a process that was
//! killed leaves entries and names that only the operating system's memory holds.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ozone_common::disk::{OpenMode, TMP_SUFFIX, create_dir_durably};

use super::frame::{self, ALIGN};
use super::meta::Meta;
use super::segment::{FILE_HEADER, NEXT_NAME, Segment, SegmentName, file_header};
use super::writer::Place;
use crate::RaftError;
use crate::error::io_error;
use crate::types::{LogId, log_id};

#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) meta: Meta,
    /// Whether this log was there before.
    pub(super) begun: bool,
    pub(super) segments: Vec<Arc<Segment>>,
    /// The last entry, or how far the log was purged.
    pub(super) last: Option<LogId>,
}

pub(super) fn recover(place: &Place) -> Result<Recovered, RaftError> {
    create_dir_durably(&*place.disk, &place.dir).map_err(io_error("create", &place.dir))?;
    let found = Meta::load(&*place.disk, &place.dir)?;
    let begun = found.is_some();
    let meta = found.unwrap_or_default();
    let names = segment_names(place, &meta)?;
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    let mut last = meta.purged;
    for (at, name) in names.iter().enumerate() {
        let next = names.get(at + 1).map(|following| following.first);
        let expected = name.last.map(|last| last + 1).or(next);
        let Some((segment, last_entry)) = open(place, *name, expected)? else {
            continue;
        };
        if last_entry.index() < meta.purged.map_or(0, |purged| purged.index()) {
            // What a purge of everything left behind.
            remove(place, &name.path(&place.dir))?;
            continue;
        }
        check_follows(place, segments.last(), &segment, &meta)?;
        last = last.max(Some(last_entry));
        segments.push(Arc::new(segment));
    }
    make_durable(place, &segments)?;
    Ok(Recovered {
        meta,
        begun,
        segments,
        last,
    })
}

/// Segments before the last were fsynced before the next was begun.
fn make_durable(place: &Place, segments: &[Arc<Segment>]) -> Result<(), RaftError> {
    if let Some(last) = segments.last() {
        let path = last.name().path(&place.dir);
        last.file
            .sync_data()
            .map_err(io_error("make durable", &path))?;
    }
    place.sync().map_err(io_error("make durable", &place.dir))
}

/// Segments by first entry, after removing what is not needed.
fn segment_names(place: &Place, meta: &Meta) -> Result<Vec<SegmentName>, RaftError> {
    let list = place
        .disk
        .list(&place.dir)
        .map_err(io_error("list", &place.dir))?;
    let mut names = Vec::new();
    for entry in list {
        if entry.name == NEXT_NAME || entry.name.ends_with(TMP_SUFFIX) {
            remove(place, &entry.path)?;
            continue;
        }
        let Some(name) = SegmentName::parse(&entry.name) else {
            continue;
        };
        let purged = meta.purged.map(|purged| purged.index());
        if name.last.is_some_and(|last| Some(last) <= purged) {
            remove(place, &entry.path)?;
            continue;
        }
        names.push(name);
    }
    names.sort_by_key(|name| name.first);
    Ok(names)
}

fn remove(place: &Place, path: &Path) -> Result<(), RaftError> {
    place
        .disk
        .remove_file(path)
        .map_err(io_error("remove", path))
}

fn check_follows(
    place: &Place,
    before: Option<&Arc<Segment>>,
    segment: &Segment,
    meta: &Meta,
) -> Result<(), RaftError> {
    let expected = match before {
        Some(before) => before.next(),
        None => meta.purged.map_or(0, |purged| purged.index() + 1),
    };
    let gap = segment.first > expected;
    if gap || before.is_some() && segment.first != expected {
        let reason = format!("starts with entry {}, expected {expected}", segment.first);
        return Err(RaftError::Corrupt {
            file: segment.name().path(&place.dir),
            offset: 0,
            reason,
        });
    }
    Ok(())
}

/// Entries found from the start of a file, up to the first that is not valid.
struct Scan {
    offsets: Vec<u64>,
    last: Option<LogId>,
}

impl Scan {
    fn of(buf: &Bytes, first: u64) -> Self {
        let mut scan = Self {
            offsets: vec![FILE_HEADER],
            last: None,
        };
        let mut at = 16;
        for index in first.. {
            let Some(frame) = frame::parse(buf, at).filter(|frame| frame.index == index) else {
                break;
            };
            at += frame.size();
            scan.offsets.push(at as u64);
            scan.last = Some(log_id(frame.term, index));
        }
        scan
    }

    fn end(&self) -> u64 {
        self.offsets.last().copied().unwrap_or(FILE_HEADER)
    }
}

/// Opens one segment; `None` when it turned out to be empty and was removed. `expected` is the index
/// after its last entry, where known.
fn open(
    place: &Place,
    name: SegmentName,
    expected: Option<u64>,
) -> Result<Option<(Segment, LogId)>, RaftError> {
    let path = name.path(&place.dir);
    let corrupt = |offset: u64, reason: String| RaftError::Corrupt {
        file: path.clone(),
        offset,
        reason,
    };
    let buf = Bytes::from(place.disk.read(&path).map_err(io_error("read", &path))?);
    if buf.get(..16) != Some(file_header(name.first).as_slice()) {
        return Err(corrupt(0, "no header of a log segment".into()));
    }
    let scan = Scan::of(&buf, name.first);
    let next = scan.last.map_or(name.first, |last| last.index() + 1);
    match expected {
        Some(expected) if next != expected => {
            let reason = format!(
                "entry {next} is damaged, entries up to {} follow",
                expected - 1
            );
            return Err(corrupt(scan.end(), reason));
        }
        Some(_) => {}
        None => cut_torn_end(place, &path, &buf, &scan)?,
    }
    let Some(last) = scan.last else {
        remove(place, &path)?;
        return Ok(None);
    };
    let file = place
        .disk
        .open(&path, OpenMode::Write)
        .map_err(io_error("open", &path))?;
    let segment = Segment::new(name, file, scan.offsets);
    if let (None, Some(expected)) = (name.last, expected) {
        // A crash came between closing this segment and opening the next.
        let closed = SegmentName {
            last: Some(expected - 1),
            ..name
        };
        place
            .rename(name, closed)
            .map_err(io_error("rename", &path))?;
        segment.rename(closed);
    }
    Ok(Some((segment, last)))
}

/// Zeroes what follows the last valid entry, unless a later frame proves that it was fsynced once.
fn cut_torn_end(place: &Place, path: &Path, buf: &Bytes, scan: &Scan) -> Result<(), RaftError> {
    let end = scan.end();
    let at = usize::try_from(end).unwrap_or(usize::MAX).min(buf.len());
    for later in (at..buf.len()).step_by(ALIGN) {
        let Some(frame) = frame::parse(buf, later) else {
            continue;
        };
        if frame.synced > end || later == at {
            let reason = format!(
                "entry damaged: entry {} at offset {later} was written after it was on disk",
                frame.index
            );
            return Err(RaftError::Corrupt {
                file: path.to_path_buf(),
                offset: end,
                reason,
            });
        }
    }
    let tail = &buf[at..];
    let Some(used) = tail.iter().rposition(|byte| *byte != 0) else {
        return Ok(());
    };
    let bytes = used as u64 + 1;
    tracing::warn!(
        file = %path.display(), offset = end, bytes,
        "cut the end of a write that a crash interrupted; it was never acknowledged"
    );
    let file = place
        .disk
        .open(path, OpenMode::Write)
        .map_err(io_error("open", path))?;
    file.zero(end, bytes)
        .and_then(|()| file.sync_data())
        .map_err(io_error("cut torn end", path))
}
