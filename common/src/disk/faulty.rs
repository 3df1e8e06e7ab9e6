//! A disk that fails on demand: fsyncs that fail, room that runs out, power that is cut.

mod buffered;
mod gate;
mod names;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rand::SeedableRng;
use rand::rngs::StdRng;

use self::buffered::Tracked;
use self::gate::Gate;
use self::names::{Names, is_hidden};
use super::{DirEntry, Disk, DiskFile, DiskSpace, FileInfo, OpenMode};

/// What a power cut leaves of what was written but not fsynced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Clean,
    /// Any of it: single sectors of single writes, some of the names of each directory. The seed
    /// decides.
    Random(u64),
}

/// Wraps another disk and makes it fail.
///
/// With power cuts ([`with_power_cuts`](Self::with_power_cuts)) writes stay in memory until they
/// are fsynced, and names can be taken back until their directory is; only then the disk below
/// has them for good. Paths must be spelled the same way at every call.
pub struct FaultyDisk {
    below: Arc<dyn Disk>,
    shared: Arc<Shared>,
}

struct Shared {
    buffered: bool,
    state: Mutex<State>,
    syncs: Gate,
}

#[derive(Default)]
struct State {
    off: bool,
    /// Power cuts so far; a handle works only in the period that it was opened in.
    period: u64,
    syncs: u64,
    fail_sync: Option<u64>,
    /// Changes left until the power goes off.
    fuse: Option<u64>,
    room: Option<u64>,
    names: Names,
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyDisk")
            .field("below", &self.below)
            .finish_non_exhaustive()
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl Shared {
    /// For calls that change something.
    fn changing(&self, period: Option<u64>) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.on(period)?;
        state.burn()?;
        Ok(state)
    }

    fn on(&self, period: Option<u64>) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.off || period.is_some_and(|p| p != state.period) {
            return Err(power_is_off());
        }
        Ok(state)
    }
}

impl State {
    /// The power is on, and handles opened so far are of the past.
    fn start_over(&mut self) {
        self.off = false;
        self.fuse = None;
        self.period += 1;
    }

    /// Counts a change of anything.
    fn burn(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            None => return Ok(()),
            Some(0) => {}
            Some(left) => {
                *left -= 1;
                return Ok(());
            }
        }
        self.off = true;
        Err(power_is_off())
    }

    fn take_room(&mut self, bytes: u64) -> io::Result<()> {
        let Some(left) = self.room else { return Ok(()) };
        let Some(rest) = left.checked_sub(bytes) else {
            return Err(io::Error::from_raw_os_error(nix::libc::ENOSPC));
        };
        self.room = Some(rest);
        Ok(())
    }

    /// Counts an fsync; `false` when it is the one to fail.
    fn count_sync(&mut self) -> bool {
        self.syncs += 1;
        match self.fail_sync {
            Some(n) if self.syncs >= n => {
                self.fail_sync = None;
                false
            }
            _ => true,
        }
    }
}

impl FaultyDisk {
    /// Passes everything on until told to fail.
    pub fn new(below: Arc<dyn Disk>) -> Arc<Self> {
        Self::build(below, false)
    }

    /// Keeps what is not fsynced in memory, for [`crash`](Self::crash) to lose.
    pub fn with_power_cuts(below: Arc<dyn Disk>) -> Arc<Self> {
        Self::build(below, true)
    }

    fn build(below: Arc<dyn Disk>, buffered: bool) -> Arc<Self> {
        Arc::new(Self {
            below,
            shared: Arc::new(Shared {
                buffered,
                state: Mutex::default(),
                syncs: Gate::default(),
            }),
        })
    }

    /// Makes the `nth` fsync from now on (1 is the next) of a file or directory fail.
    pub fn fail_sync(&self, nth: u64) {
        let mut state = self.shared.state.lock();
        state.fail_sync = Some(state.syncs + nth);
    }

    /// Lets `bytes` more be written before the disk is full; `None` lifts the limit.
    pub fn limit_room(&self, bytes: Option<u64>) {
        self.shared.state.lock().room = bytes;
    }

    /// Fsyncs so far, of files and directories.
    pub fn syncs(&self) -> u64 {
        self.shared.state.lock().syncs
    }

    /// Lets no fsync of a file return, until [`release_syncs`](Self::release_syncs).
    pub fn hold_syncs(&self) {
        self.shared.syncs.close();
    }

    /// Lets all fsyncs return.
    pub fn release_syncs(&self) {
        self.shared.syncs.open();
    }

    /// Whether `count` fsyncs are held at the same time before `limit` is over.
    pub fn holds_syncs(&self, count: usize, limit: Duration) -> bool {
        self.shared.syncs.reaches(count, limit)
    }

    /// Lets `changes` more (writes, fsyncs, names) happen before the power goes off.
    pub fn power_off_after(&self, changes: u64) {
        self.shared.state.lock().fuse = Some(changes);
    }

    /// Everything fails from now on, until [`crash`](Self::crash).
    pub fn power_off(&self) {
        self.shared.state.lock().off = true;
    }

    /// Ends the process that uses the disk, as `kill -9` does: handles opened before fail, and the
    /// next process finds everything that was written, of which what was not fsynced is still to be
    /// lost in a power cut.
    pub fn kill(&self) {
        self.shared.state.lock().start_over();
    }

    /// Cuts the power and switches it on again: what was not fsynced is gone as far as `cut` says,
    /// and handles opened before fail.
    pub fn crash(&self, cut: Cut) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let mut rng = match cut {
            Cut::Clean => None,
            Cut::Random(seed) => Some(StdRng::seed_from_u64(seed)),
        };
        state.names.cut(&*self.below, &mut rng)?;
        state.start_over();
        Ok(())
    }
}

struct FaultyFile {
    shared: Arc<Shared>,
    file: Arc<Tracked>,
    period: u64,
    writable: bool,
}

impl fmt::Debug for FaultyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyFile").finish_non_exhaustive()
    }
}

impl FaultyFile {
    fn writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(nix::libc::EBADF))
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        drop(self.shared.on(Some(self.period))?);
        self.file.read_at(buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.writable()?;
        let bytes: usize = bufs.iter().map(|b| b.len()).sum();
        self.shared
            .changing(Some(self.period))?
            .take_room(bytes as u64)?;
        if self.shared.buffered {
            self.file.buffer_write(bufs, offset);
            return Ok(());
        }
        self.file.below().write_vectored_at(bufs, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let fine = self.shared.changing(Some(self.period))?.count_sync();
        self.shared.syncs.pass();
        if !fine {
            self.file.lose_pending();
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        if self.shared.buffered {
            return self.file.write_pending();
        }
        self.file.below().sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        drop(self.shared.changing(Some(self.period))?);
        if self.shared.buffered {
            self.file.buffer_len(len);
            return Ok(());
        }
        self.file.below().set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        drop(self.shared.on(Some(self.period))?);
        self.file.len()
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.shared.on(None)?;
        let below = &*self.below;
        let exists = below.exists(path)?;
        if !exists && !matches!(mode, OpenMode::Read | OpenMode::Write) {
            state.burn()?;
            below.open(path, OpenMode::CreateNew)?;
            state.names.created(path);
        } else if exists && mode == OpenMode::CreateNew {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.names.track(below, path)?;
        if exists && mode == OpenMode::Truncate {
            if self.shared.buffered {
                file.buffer_len(0);
            } else {
                file.below().set_len(0)?;
            }
        }
        Ok(Arc::new(FaultyFile {
            shared: self.shared.clone(),
            file,
            period: state.period,
            writable: mode != OpenMode::Read,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.shared.changing(None)?;
        if self.shared.buffered {
            return state.names.rename(&*self.below, from, to);
        }
        self.below.rename(from, to)?;
        state.names.moved(from, to);
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.shared.changing(None)?;
        self.below.hard_link(from, to)?;
        state.names.linked(from, to);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.remove(path, |disk| disk.remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        if !self.exists(path)? {
            return Ok(());
        }
        self.remove(path, |disk| disk.remove_dir_all(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.shared.changing(None)?;
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|dir| {
                !dir.as_os_str().is_empty() && !self.below.exists(dir).unwrap_or(true)
            })
            .collect();
        self.below.create_dir_all(path)?;
        for dir in missing.into_iter().rev() {
            state.names.created_dir(dir);
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.shared.on(None)?;
        let mut entries = self.below.list(dir)?;
        entries.retain(|entry| !is_hidden(&entry.name));
        for entry in &mut entries {
            if let Some(file) = state.names.tracked(&entry.path) {
                entry.info.len = file.len()?;
            }
        }
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<FileInfo> {
        let state = self.shared.on(None)?;
        let mut info = self.below.metadata(path)?;
        if let Some(file) = state.names.tracked(path) {
            info.len = file.len()?;
        }
        Ok(info)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.shared.changing(None)?;
        if !state.count_sync() {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        if self.shared.buffered {
            return state.names.settle(&*self.below, dir);
        }
        drop(state);
        self.below.sync_dir(dir)
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let room = self.shared.on(None)?.room;
        let mut space = self.below.space(path)?;
        space.available = space.available.min(room.unwrap_or(u64::MAX));
        Ok(space)
    }
}

impl FaultyDisk {
    fn remove(&self, path: &Path, now: impl Fn(&dyn Disk) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.shared.changing(None)?;
        if self.shared.buffered {
            return state.names.hide(&*self.below, path);
        }
        now(&*self.below)?;
        state.names.forget(path);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
