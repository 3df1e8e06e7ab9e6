//! The content of one file: what the disk below has, and what only memory has.

use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use crate::disk::DiskFile;

/// Bytes that a disk writes whole or not at all.
const SECTOR: u64 = 512;

enum Change {
    Write { offset: u64, data: Vec<u8> },
    Len(u64),
}

struct Pending {
    change: Change,
    /// A failed fsync took it: still readable, never durable.
    lost: bool,
}

/// One file with its changes that are not fsynced, shared by all handles and names of it.
pub(super) struct Tracked {
    below: Arc<dyn DiskFile>,
    pending: Mutex<Vec<Pending>>,
}

impl Tracked {
    pub(super) fn new(below: Arc<dyn DiskFile>) -> Self {
        Self {
            below,
            pending: Mutex::default(),
        }
    }

    pub(super) fn below(&self) -> &dyn DiskFile {
        &*self.below
    }

    pub(super) fn is_clean(&self) -> bool {
        self.pending.lock().is_empty()
    }

    pub(super) fn buffer_write(&self, bufs: &[IoSlice<'_>], offset: u64) {
        let data = bufs.iter().flat_map(|b| b.iter().copied()).collect();
        let change = Change::Write { offset, data };
        self.pending.lock().push(Pending {
            change,
            lost: false,
        });
    }

    pub(super) fn buffer_len(&self, len: u64) {
        self.pending.lock().push(Pending {
            change: Change::Len(len),
            lost: false,
        });
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        let pending = self.pending.lock();
        Ok(len_after(self.below.len()?, &pending))
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let pending = self.pending.lock();
        let mut len = self.below.len()?;
        let mut from_below = 0;
        while from_below < buf.len() {
            match self
                .below
                .read_at(&mut buf[from_below..], offset + from_below as u64)?
            {
                0 => break,
                n => from_below += n,
            }
        }
        buf[from_below..].fill(0);
        for p in pending.iter() {
            match &p.change {
                Change::Write { offset: at, data } => {
                    overlay(buf, offset, data, *at);
                    len = len.max(at + data.len() as u64);
                }
                Change::Len(new) => {
                    if *new < len {
                        let keep = new.saturating_sub(offset);
                        let keep = usize::try_from(keep).map_or(buf.len(), |k| k.min(buf.len()));
                        buf[keep..].fill(0);
                    }
                    len = *new;
                }
            }
        }
        let left = len.saturating_sub(offset);
        Ok(usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len())))
    }

    /// The fsync that succeeds.
    pub(super) fn write_pending(&self) -> io::Result<()> {
        let mut pending = self.pending.lock();
        for p in pending.iter().filter(|p| !p.lost) {
            match &p.change {
                Change::Write { offset, data } => self.below.write_at(data, *offset)?,
                Change::Len(len) => self.below.set_len(*len)?,
            }
        }
        pending.retain(|p| p.lost);
        Ok(())
    }

    /// The fsync that fails.
    pub(super) fn lose_pending(&self) {
        for p in self.pending.lock().iter_mut() {
            p.lost = true;
        }
    }

    /// The power cut: forgets what is pending, or writes a random part of it.
    pub(super) fn cut(&self, rng: &mut Option<StdRng>) -> io::Result<()> {
        let pending = std::mem::take(&mut *self.pending.lock());
        let Some(rng) = rng else { return Ok(()) };
        for p in pending.into_iter().filter(|p| !p.lost) {
            match p.change {
                Change::Len(len) if rng.random() => self.below.set_len(len)?,
                Change::Len(_) => {}
                Change::Write { offset, data } => self.write_part(rng, offset, &data)?,
            }
        }
        Ok(())
    }

    fn write_part(&self, rng: &mut StdRng, offset: u64, data: &[u8]) -> io::Result<()> {
        let odds = [0.0, 0.5, 0.9, 1.0][rng.random_range(0..4)];
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let to_edge = usize::try_from(SECTOR - at % SECTOR).unwrap_or(1);
            let end = data.len().min(done + to_edge);
            if rng.random_bool(odds) {
                self.below.write_at(&data[done..end], at)?;
            }
            done = end;
        }
        Ok(())
    }
}

fn len_after(mut len: u64, pending: &[Pending]) -> u64 {
    for p in pending {
        len = match &p.change {
            Change::Write { offset, data } => len.max(offset + data.len() as u64),
            Change::Len(new) => *new,
        };
    }
    len
}

/// Copies what of `data` (at `data_at` in the file) falls into `buf` (at `buf_at`).
fn overlay(buf: &mut [u8], buf_at: u64, data: &[u8], data_at: u64) {
    let start = buf_at.max(data_at);
    let end = (buf_at + buf.len() as u64).min(data_at + data.len() as u64);
    if start >= end {
        return;
    }
    let within = |at: u64, base: u64| usize::try_from(at - base).unwrap_or(usize::MAX);
    buf[within(start, buf_at)..within(end, buf_at)]
        .copy_from_slice(&data[within(start, data_at)..within(end, data_at)]);
}
