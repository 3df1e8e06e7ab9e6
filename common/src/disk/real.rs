//! The disk of the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::direct::Direct;
use super::{DirEntry, Disk, DiskFile, DiskSpace, FileInfo, OpenMode, large_pages};

/// The filesystem of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile {
    file: File,
    direct: Direct,
}

impl RealDisk {
    /// A file that is open already.
    pub fn opened(file: File) -> Arc<dyn DiskFile> {
        Arc::new(RealFile {
            file,
            direct: Direct::default(),
        })
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        if let [one] = bufs {
            return self.file.write_all_at(one, offset);
        }
        let mut owned = bufs.to_vec();
        let mut rest = owned.as_mut_slice();
        let mut at = offset;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let position = i64::try_from(at).map_err(io::Error::other)?;
            let n = match nix::sys::uio::pwritev(&self.file, rest, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => n,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(e) => return Err(e.into()),
            };
            at += n as u64;
            IoSlice::advance_slices(&mut rest, n);
        }
        Ok(())
    }

    fn write_past_cache(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        match self.direct.write(&self.file, buf, offset)? {
            true => Ok(()),
            false => self.write_at(buf, offset),
        }
    }

    fn populate(&self, offset: u64, length: u64) -> io::Result<()> {
        let length = length.min(self.len()?.saturating_sub(offset));
        match usize::try_from(length).map_err(io::Error::other)? {
            0 => Ok(()),
            length => large_pages::populate(&self.file, offset, length),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

fn info(meta: &fs::Metadata) -> FileInfo {
    FileInfo {
        len: meta.len(),
        allocated: meta.blocks() * 512,
        is_dir: meta.is_dir(),
        modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        device: meta.dev(),
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut how = OpenOptions::new();
        how.read(true).write(mode != OpenMode::Read);
        match mode {
            OpenMode::Read | OpenMode::Write => {}
            OpenMode::CreateNew => {
                how.create_new(true);
            }
            OpenMode::OpenOrCreate => {
                how.create(true);
            }
            OpenMode::Truncate => {
                how.create(true).truncate(true);
            }
        }
        Ok(Self::opened(how.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        // In the kernel, and without copying where the filesystem can share.
        let (mut from, mut to) = (File::open(from)?, File::create_new(to)?);
        io::copy(&mut from, &mut to).map(drop)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|name| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("name is not UTF-8: {name:?}"),
                )
            })?;
            let meta = match entry.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                meta => meta?,
            };
            entries.push(DirEntry {
                name,
                path: entry.path(),
                info: info(&meta),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<FileInfo> {
        Ok(info(&fs::metadata(path)?))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let stat = nix::sys::statvfs::statvfs(path)?;
        let unit = stat.fragment_size();
        Ok(DiskSpace {
            total: stat.blocks() * unit,
            available: stat.blocks_available() * unit,
        })
    }
}
