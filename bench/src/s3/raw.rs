//! The disk by itself, with what an object store promises: an object that was put is on disk, its name too, and
//! nobody ever sees half of it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Amounts, PART, Place};
use crate::error::{BenchError, Result, io_error};

/// Files in directories, as a store has objects.
pub(crate) struct Raw {
    dir: PathBuf,
    small: Vec<u8>,
    part: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(dir: PathBuf, small: &[u8], part: &[u8]) -> Result<Self> {
        fs::create_dir(&dir).map_err(io_error("create", &dir))?;
        Ok(Self {
            dir,
            small: small.to_vec(),
            part: part.to_vec(),
        })
    }

    fn path(&self, prefix: &str, n: usize) -> PathBuf {
        let dir = self.dir.join(prefix).join((n % 10).to_string());
        dir.join(format!("{n:06}"))
    }
}

/// Lets `clients` threads take the next of `count` numbers until there are no more.
fn share(count: usize, clients: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let client = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return Ok(());
            }
            work(n)?;
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let join = |client: thread::ScopedJoinHandle<'_, Result<()>>| {
            client.join().map_err(|_| BenchError::Panicked)?
        };
        clients.into_iter().try_for_each(join)
    })
}

/// Writes a file under another name, and gives it its own when it is on disk.
fn store(path: &Path, pieces: usize, piece: &[u8]) -> Result<()> {
    let hidden = path.with_extension("new");
    let mut file = File::create(&hidden).map_err(io_error("create", &hidden))?;
    for _ in 0..pieces {
        file.write_all(piece).map_err(io_error("write", &hidden))?;
    }
    file.sync_all().map_err(io_error("sync", &hidden))?;
    fs::rename(&hidden, path).map_err(io_error("rename", &hidden))?;
    let dir = path.parent().unwrap_or(path);
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(io_error("sync", dir))
}

impl Place for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn put(&self, prefix: &str, count: usize, clients: usize) -> Result<()> {
        for n in 0..10 {
            let path = self.path(prefix, n);
            let dir = path.parent().unwrap_or(&path);
            fs::create_dir_all(dir).map_err(io_error("create", dir))?;
        }
        share(count, clients, |n| {
            store(&self.path(prefix, n), 1, &self.small)
        })
    }

    fn get(&self, prefix: &str, count: usize, clients: usize) -> Result<()> {
        share(count, clients, |n| {
            let path = self.path(prefix, n);
            let found = fs::read(&path).map_err(io_error("read", &path))?;
            match found == self.small {
                true => Ok(()),
                false => Err(BenchError::OtherBytes { path, block: 0 }),
            }
        })
    }

    fn list(&self, prefix: &str) -> Result<usize> {
        let mut found = 0;
        for n in 0..10 {
            let path = self.path(prefix, n);
            let dir = path.parent().unwrap_or(&path);
            for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
                let info = entry.and_then(|entry| entry.metadata());
                found += usize::from(info.map_err(io_error("list", dir))?.is_file());
            }
        }
        Ok(found)
    }

    fn put_large(&self, amounts: &Amounts) -> Result<()> {
        store(&self.dir.join("large"), amounts.parts(), &self.part)
    }

    fn get_large(&self, amounts: &Amounts) -> Result<()> {
        let path = self.dir.join("large");
        let mut file = File::open(&path).map_err(io_error("open", &path))?;
        let mut piece = vec![0; PART];
        for block in 0..amounts.parts() as u64 {
            file.read_exact(&mut piece)
                .map_err(io_error("read", &path))?;
            if piece != self.part {
                return Err(BenchError::OtherBytes { path, block });
            }
        }
        Ok(())
    }
}
