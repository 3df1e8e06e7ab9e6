//! The files of one log, as the fsync threads change them, one at a time.
//!
//! Every method leaves the directory in a state that recovery understands, wherever a crash cuts it
//! short. An error leaves the writer unusable; its log fails for good.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ozone_common::disk::{Disk, DiskFile, OpenMode, TMP_SUFFIX};
use parking_lot::{Condvar, Mutex, RwLock};

use super::frame;
use super::housekeeper::Housekeeper;
use super::meta::Meta;
use super::segment::{FILE_HEADER, NEXT_NAME, Segment, SegmentName, file_header};
use crate::types::{Entry, LogId, Vote};

/// Segments in order, shared with readers.
pub(super) type Segments = Arc<RwLock<Vec<Arc<Segment>>>>;

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) segment_bytes: u64,
}

impl Place {
    /// Creates the zero-filled file that becomes the next segment.
    fn allocate(&self) -> io::Result<Arc<dyn DiskFile>> {
        let file = self
            .disk
            .open(&self.dir.join(NEXT_NAME), OpenMode::Truncate)?;
        file.zero(0, self.segment_bytes)?;
        file.sync_data()?;
        Ok(file)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)
    }

    pub(super) fn rename(&self, from: SegmentName, to: SegmentName) -> io::Result<()> {
        self.disk.rename(&from.path(&self.dir), &to.path(&self.dir))
    }
}

/// The segment that is prepared in the background.
#[derive(Debug, Default)]
struct Next {
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Preparing,
    Ready(Arc<dyn DiskFile>),
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    end: u64,
    synced: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    place: Place,
    segments: Segments,
    housekeeper: Arc<Housekeeper>,
    meta: Meta,
    active: Option<Active>,
    next: Arc<Next>,
    /// Encoded entries that follow `active.end`, and where each ends.
    buf: Vec<u8>,
    ends: Vec<u64>,
}

impl Writer {
    pub(super) fn new(
        place: Place,
        segments: Segments,
        meta: Meta,
        housekeeper: Arc<Housekeeper>,
    ) -> Self {
        let last = segments.read().last().cloned();
        let active = last
            .filter(|segment| segment.name().last.is_none())
            .map(|segment| {
                let end = segment.end();
                Active {
                    segment,
                    end,
                    synced: end,
                }
            });
        let writer = Self {
            place,
            segments,
            housekeeper,
            meta,
            active,
            next: Arc::default(),
            buf: Vec::new(),
            ends: Vec::new(),
        };
        if writer.active.is_none() {
            writer.prepare_next();
        }
        writer
    }

    /// Hands entries to the operating system.
    pub(super) fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        for entry in entries {
            let start = self.buf.len();
            let synced = self
                .active
                .as_ref()
                .map_or(FILE_HEADER, |active| active.synced);
            frame::encode(entry, synced, &mut self.buf);
            if !self.fits() {
                self.buf.truncate(start);
                self.write_buf()?;
                self.roll(entry.log_id.index())?;
                frame::encode(entry, FILE_HEADER, &mut self.buf);
            }
            let base = self
                .active
                .as_ref()
                .map_or(FILE_HEADER, |active| active.end);
            self.ends.push(base + self.buf.len() as u64);
        }
        self.write_buf()
    }

    /// Whether what is encoded belongs into the active segment. An entry that is larger than a
    /// segment gets one of its own, which grows.
    fn fits(&self) -> bool {
        self.active.as_ref().is_some_and(|active| {
            let empty = active.end == FILE_HEADER && self.ends.is_empty();
            empty || active.end + self.buf.len() as u64 <= self.place.segment_bytes
        })
    }

    fn write_buf(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        if self.buf.is_empty() {
            return Ok(());
        }
        active.segment.file.write_at(&self.buf, active.end)?;
        active.end += self.buf.len() as u64;
        active.segment.extend(&self.ends);
        self.buf.clear();
        self.ends.clear();
        if active.end > self.place.segment_bytes / 2 {
            self.prepare_next();
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        if active.synced < active.end {
            active.segment.file.sync_data()?;
            active.synced = active.end;
            metrics::counter!("raft_log_fsyncs").increment(1);
        }
        Ok(())
    }

    /// Index after the last entry in the files.
    pub(super) fn written(&self) -> u64 {
        self.segments
            .read()
            .last()
            .map_or(0, |segment| segment.next())
    }

    fn roll(&mut self, first: u64) -> io::Result<()> {
        self.sync()?;
        if let Some(active) = self.active.take() {
            let open = active.segment.name();
            let closed = SegmentName {
                last: Some(active.segment.next() - 1),
                ..open
            };
            active.segment.file.set_len(active.end)?;
            self.place.rename(open, closed)?;
            active.segment.rename(closed);
        }
        let file = self.take_next()?;
        file.write_at(&file_header(first), 0)?;
        file.sync_data()?;
        let name = SegmentName { first, last: None };
        let next = self.place.dir.join(NEXT_NAME);
        self.place.disk.rename(&next, &name.path(&self.place.dir))?;
        self.place.sync()?;
        let segment = Arc::new(Segment::new(name, file, vec![FILE_HEADER]));
        self.segments.write().push(segment.clone());
        self.active = Some(Active {
            segment,
            end: FILE_HEADER,
            synced: FILE_HEADER,
        });
        Ok(())
    }

    fn prepare_next(&self) {
        let mut slot = self.next.slot.lock();
        if !matches!(*slot, Slot::Empty) {
            return;
        }
        *slot = Slot::Preparing;
        let (next, place) = (self.next.clone(), self.place.clone());
        self.housekeeper.run(move || {
            let made = place.allocate();
            if let Err(cause) = &made {
                tracing::warn!(dir = %place.dir.display(), %cause, "log segment not prepared");
            }
            *next.slot.lock() = made.map_or(Slot::Empty, Slot::Ready);
            next.changed.notify_all();
        });
    }

    fn take_next(&self) -> io::Result<Arc<dyn DiskFile>> {
        let mut slot = self.next.slot.lock();
        while matches!(*slot, Slot::Preparing) {
            self.next.changed.wait(&mut slot);
        }
        match std::mem::take(&mut *slot) {
            Slot::Ready(file) => Ok(file),
            _ => self.place.allocate(),
        }
    }

    pub(super) fn save_vote(&mut self, vote: Vote) -> io::Result<()> {
        self.meta.vote = Some(vote);
        self.save_meta()
    }

    pub(super) fn save_meta(&self) -> io::Result<()> {
        self.meta.save(&*self.place.disk, &self.place.dir)
    }

    /// Removes entries from `next` on, durably. From the end backwards, so that a crash leaves a
    /// longer log but never a hole.
    pub(super) fn truncate(&mut self, next: u64) -> io::Result<()> {
        self.sync()?;
        loop {
            let last = self.segments.read().last().cloned();
            let Some(segment) = last.filter(|segment| segment.next() > next) else {
                return Ok(());
            };
            self.active = None;
            if segment.first < next {
                return self.cut(&segment, next);
            }
            self.segments.write().pop();
            self.place
                .disk
                .remove_file(&segment.name().path(&self.place.dir))?;
            self.place.sync()?;
        }
    }

    /// Replaces a segment by a copy that ends before `next`.
    fn cut(&mut self, segment: &Segment, next: u64) -> io::Result<()> {
        let open = SegmentName {
            first: segment.first,
            last: None,
        };
        if segment.name() != open {
            self.place.rename(segment.name(), open)?;
            segment.rename(open);
            self.place.sync()?;
        }
        let offsets = segment.offsets_before(next);
        let end = offsets.last().copied().unwrap_or(FILE_HEADER);
        let mut keep = vec![0; usize::try_from(end).map_err(io::Error::other)?];
        segment.file.read_exact_at(&mut keep, 0)?;
        let path = open.path(&self.place.dir);
        let tmp = with_tmp_suffix(&path);
        let file = self.place.disk.open(&tmp, OpenMode::Truncate)?;
        file.write_at(&keep, 0)?;
        file.zero(end, self.place.segment_bytes.saturating_sub(end))?;
        file.sync_data()?;
        self.place.disk.rename(&tmp, &path)?;
        self.place.sync()?;
        let copy = Arc::new(Segment::new(open, file, offsets));
        if let Some(last) = self.segments.write().last_mut() {
            *last = copy.clone();
        }
        self.active = Some(Active {
            segment: copy,
            end,
            synced: end,
        });
        Ok(())
    }

    /// Lets go of whole segments that hold nothing past `upto`. When the log ends before `upto`
    /// (a copy of the state was installed), all of it goes.
    pub(super) fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let index = upto.index();
        let leap = self.written() <= index;
        let gone: Vec<Arc<Segment>> = {
            let segments = self.segments.read();
            let closed = segments
                .iter()
                .filter(|s| s.name().last.is_some_and(|l| l <= index));
            if leap {
                segments.clone()
            } else {
                closed.cloned().collect()
            }
        };
        if gone.is_empty() && !leap {
            return Ok(());
        }
        self.sync()?;
        self.meta.purged = self.meta.purged.max(Some(upto));
        self.meta.save(&*self.place.disk, &self.place.dir)?;
        self.segments
            .write()
            .retain(|s| !gone.iter().any(|g| g.first == s.first));
        if leap {
            self.active = None;
        }
        let place = self.place.clone();
        self.housekeeper.run(move || {
            for segment in gone {
                let path = segment.name().path(&place.dir);
                if let Err(cause) = place.disk.remove_file(&path) {
                    tracing::warn!(path = %path.display(), %cause, "purged log segment stays");
                }
            }
        });
        if self.active.is_none() {
            self.prepare_next();
        }
        Ok(())
    }
}

fn with_tmp_suffix(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(TMP_SUFFIX);
    PathBuf::from(name)
}
