//! A file that programs read without this mount: the kernel reads the file of its block, which the datanode of
//! this machine has lent (docs/adr/0004).
//!
//! Programs that have it open go on reading that very file, whatever becomes of the content. So when the content
//! changes, the file is taken over from the datanode and changed in the same way.

use std::any::Any;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::statvfs::fstatvfs;
use ozone_client::{LENT_FROM, LentFile};

use crate::errno::Result;
use crate::wire::extent::Source;
use crate::wire::{Extent, InodeKind, InodeRow};

/// Pauses between attempts to take a file over.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Bytes that stay free on the disk of a file that grows.
const RESERVE: u64 = 1 << 30;

/// What the kernel gave for a file that it is to read by itself; it does so until this is dropped.
pub(crate) type Registration = Box<dyn Any + Send + Sync>;

/// The kernel, as far as it reads files by itself.
pub(crate) trait PassThrough: Sync {
    /// Tells it of a file.
    fn register(&self, file: BorrowedFd<'_>) -> io::Result<Registration>;
}

/// See the module.
pub(crate) struct Lent {
    file: Arc<LentFile>,
    registration: Registration,
    /// Nobody else is to open it: its content changes.
    closed: AtomicBool,
    /// Held while the file is changed.
    pub(crate) mirror: tokio::sync::Mutex<Mirror>,
}

/// What a lent file shows.
pub(crate) struct Mirror {
    /// Version of the content.
    version: u64,
    /// The map of that version or of an earlier one since which only this mount has changed the file.
    map: Map,
    /// Whether it lacks something that was written, or shows what was lost.
    missed: bool,
    /// The file once it is this mount's own.
    own: Option<Arc<File>>,
    /// After a failure to take it over: when that may be tried again, and the pause before.
    again: Duration,
    pause: Duration,
}

/// Where the bytes of a file are, as far as that tells one content from another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    /// Bytes of the file.
    pub(crate) size: u64,
    /// In order.
    pub(crate) extents: Vec<Extent>,
    /// Whether these are all.
    pub(crate) complete: bool,
}

/// Whether a datanode may have the whole content in one file.
pub(crate) fn may_be_lent(row: &InodeRow) -> bool {
    row.kind() == InodeKind::File && row.size >= LENT_FROM
}

impl Lent {
    /// Has the kernel read `file`, which shows that version of the content.
    pub(crate) fn new(file: LentFile, version: u64, kernel: &dyn PassThrough) -> io::Result<Self> {
        let extent = file.extent();
        let map = Map {
            size: extent.length,
            extents: vec![extent],
            complete: true,
        };
        Ok(Self {
            registration: kernel.register(file.as_fd())?,
            file: Arc::new(file),
            closed: AtomicBool::new(false),
            mirror: tokio::sync::Mutex::new(Mirror {
                version,
                map,
                missed: false,
                own: None,
                again: Duration::ZERO,
                pause: Duration::ZERO,
            }),
        })
    }

    /// What the kernel gave for it.
    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The kernel does not read it any more.
    pub(crate) async fn give_back(self) {
        drop(self.registration);
        if let Some(file) = Arc::into_inner(self.file) {
            file.give_back().await;
        }
    }

    /// Nobody opens it from now on who has not.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes the file over, unless that was done. What has failed is tried again after a pause: each attempt may
    /// copy the block.
    pub(crate) async fn take_over(&self, mirror: &mut Mirror, now: Duration) -> Result<Arc<File>> {
        if let Some(own) = &mirror.own {
            return Ok(own.clone());
        }
        if now < mirror.again {
            return Err(Errno::EAGAIN.into());
        }
        match self.file.detach().await {
            Ok(own) => Ok(mirror.own.insert(Arc::new(own)).clone()),
            Err(error) => {
                mirror.pause = (mirror.pause * 2).clamp(PAUSE.0, PAUSE.1);
                mirror.again = now + mirror.pause;
                Err(error.into())
            }
        }
    }
}

impl Mirror {
    /// Whether the file shows that version of the content.
    pub(crate) fn shows(&self, version: u64) -> bool {
        !self.missed && version == self.version
    }

    /// Where it may differ from the content which has this map.
    pub(crate) fn changed(&self, now: &Map) -> Vec<Range<u64>> {
        match self.missed {
            true => std::iter::once(0..now.size).collect(),
            false => changed(&self.map, now),
        }
    }

    /// It shows this from now on.
    pub(crate) fn now_shows(&mut self, version: u64, map: Map) {
        (self.version, self.map, self.missed) = (version, map, false);
    }

    /// What this mount has written into it as well is that version.
    pub(crate) fn committed(&mut self, version: u64) {
        self.version = version;
    }

    /// It does not show the content any more.
    pub(crate) fn miss(&mut self) {
        self.missed = true;
    }

    /// Writes into the file what is written to the content.
    pub(crate) async fn write(&mut self, offset: u64, data: Bytes) -> Result<()> {
        let written = match &self.own {
            Some(own) => write(own, offset, data).await,
            None => Err(Errno::EAGAIN.into()),
        };
        self.missed |= written.is_err();
        written
    }
}

/// Writes into a file of this mount's own. What makes it longer has to leave room to the datanode.
pub(crate) async fn write(own: &Arc<File>, offset: u64, data: Bytes) -> Result<()> {
    let own = own.clone();
    blocking(move || {
        if offset + data.len() as u64 > own.metadata()?.len() {
            let disk = fstatvfs(&own)?;
            if disk.blocks_available() * disk.fragment_size() < RESERVE {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        own.write_all_at(&data, offset)
    })
    .await
}

/// Cuts a file of this mount's own, if it is longer.
pub(crate) async fn cut(own: &Arc<File>, size: u64) -> Result<()> {
    let own = own.clone();
    blocking(move || match own.metadata()?.len() > size {
        true => own.set_len(size),
        false => Ok(()),
    })
    .await
}

/// Makes a file of this mount's own longer, if it is shorter.
pub(crate) async fn grow(own: &Arc<File>, size: u64) -> Result<()> {
    let own = own.clone();
    blocking(move || match own.metadata()?.len() < size {
        true => own.set_len(size),
        false => Ok(()),
    })
    .await
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<()> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|panic| Err(io::Error::other(panic.to_string())));
    done.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)).into())
}

/// Where `now` may hold other bytes than `before`, in order.
fn changed(before: &Map, now: &Map) -> Vec<Range<u64>> {
    if !before.complete || !now.complete {
        return std::iter::once(0..now.size).collect();
    }
    let mut borders: Vec<u64> = [&before.extents, &now.extents]
        .into_iter()
        .flatten()
        .flat_map(|extent| [extent.file_offset, extent.file_offset + extent.length])
        .chain([0, before.size, now.size])
        .filter(|border| *border <= now.size)
        .collect();
    borders.sort_unstable();
    borders.dedup();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for pair in borders.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        if at(&before.extents, from).is_same(&at(&now.extents, from)) {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if last.end == from => last.end = to,
            _ => ranges.push(from..to),
        }
    }
    ranges
}

/// What a byte of a file is.
enum Byte {
    Hole,
    /// Container, block and offset in it.
    Stored(u64, u64, u64),
    Inline,
}

impl Byte {
    /// Whether it is certain that both are the same.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hole, Self::Hole) => true,
            (Self::Stored(a, b, c), Self::Stored(x, y, z)) => (a, b, c) == (x, y, z),
            _ => false,
        }
    }
}

fn at(extents: &[Extent], offset: u64) -> Byte {
    let covers = |extent: &&Extent| {
        (extent.file_offset..extent.file_offset + extent.length).contains(&offset)
    };
    let Some(extent) = extents.iter().find(covers) else {
        return Byte::Hole;
    };
    match &extent.source {
        Some(Source::Block(block)) => {
            let within = offset - extent.file_offset;
            Byte::Stored(block.container, block.local, block.offset + within)
        }
        _ => Byte::Inline,
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::single_range_in_vec_init
)]
mod tests {
    use crate::wire::BlockSource;

    use super::*;

    fn block(file_offset: u64, length: u64, local: u64, offset: u64) -> Extent {
        let source = BlockSource {
            container: 1,
            local,
            offset,
            bcsid: 9,
        };
        Extent {
            file_offset,
            length,
            source: Some(Source::Block(source)),
        }
    }

    fn map(size: u64, extents: Vec<Extent>) -> Map {
        Map {
            size,
            extents,
            complete: true,
        }
    }

    #[test]
    fn an_append_changes_what_it_adds() {
        let before = map(100, vec![block(0, 100, 1, 0)]);
        let now = map(150, vec![block(0, 100, 1, 0), block(100, 50, 2, 0)]);
        assert_eq!(changed(&before, &now), [100..150]);
        assert_eq!(changed(&now, &before), [], "a cut file is only shorter");
    }

    #[test]
    fn an_overwrite_changes_its_stretch_alone() {
        let before = map(100, vec![block(0, 100, 1, 0)]);
        let parts = vec![
            block(0, 30, 1, 0),
            block(30, 20, 2, 0),
            block(50, 50, 1, 50),
        ];
        assert_eq!(changed(&before, &map(100, parts.clone())), [30..50]);
        let punched = vec![parts[0].clone(), parts[2].clone()];
        assert_eq!(changed(&before, &map(100, punched)), [30..50]);
        let moved = vec![block(0, 100, 1, 1)];
        assert_eq!(changed(&before, &map(100, moved)), [0..100]);
    }

    #[test]
    fn what_is_not_known_whole_may_have_changed_everywhere() {
        let before = map(100, vec![block(0, 100, 1, 0)]);
        let now = Map {
            complete: false,
            ..before.clone()
        };
        assert_eq!(changed(&before, &now), [0..100]);
    }
}
