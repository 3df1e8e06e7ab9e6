//! Receiving the files of a copy of the state.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use ozone_common::checksum::crc32c;
use ozone_common::disk::{Disk, DiskFile, OpenMode};
use tonic::{Status, Streaming};

use crate::snapshot::{SnapshotDir, SnapshotFiles};
use crate::wire::{FileChunk, FileStart, SnapshotHeader, SnapshotPart, snapshot_part::Part};

/// The header that a transfer begins with.
pub(super) async fn header(parts: &mut Streaming<SnapshotPart>) -> Result<SnapshotHeader, Status> {
    match parts.message().await?.and_then(|part| part.part) {
        Some(Part::Header(header)) => Ok(header),
        _ => Err(Status::invalid_argument(
            "a snapshot begins with its header",
        )),
    }
}

/// Writes the files that follow the header into a new directory, durably.
pub(super) async fn files(
    header: &SnapshotHeader,
    mut parts: Streaming<SnapshotPart>,
    copies: &SnapshotDir,
) -> Result<SnapshotFiles, Status> {
    let copies = copies.clone();
    let mut receiver = blocking(move || {
        let files = copies.create("in")?;
        Ok(Receiver {
            disk: copies.disk.clone(),
            files,
            current: None,
            complete: 0,
            bytes: 0,
        })
    })
    .await?;
    while let Some(message) = parts.message().await? {
        receiver = blocking(move || {
            match message.part {
                Some(Part::File(start)) => receiver.start(start)?,
                Some(Part::Chunk(chunk)) => receiver.chunk(&chunk)?,
                Some(Part::Header(_)) | None => return Err(refused("an unexpected part")),
            }
            Ok(receiver)
        })
        .await?;
    }
    let (count, bytes) = (header.files, header.bytes);
    blocking(move || {
        receiver.finish_file()?;
        if (receiver.complete, receiver.bytes) != (count, bytes) {
            return Err(refused("fewer files than announced"));
        }
        Ok(receiver.files)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other);
    done.flatten().map_err(|cause| match cause.kind() {
        io::ErrorKind::InvalidData => Status::data_loss(cause.to_string()),
        _ => Status::internal(cause.to_string()),
    })
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

struct Current {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    length: u64,
    written: u64,
}

struct Receiver {
    disk: Arc<dyn Disk>,
    files: SnapshotFiles,
    current: Option<Current>,
    complete: u64,
    bytes: u64,
}

impl Receiver {
    fn start(&mut self, start: FileStart) -> io::Result<()> {
        self.finish_file()?;
        let name = Path::new(&start.name);
        let plain = |part| matches!(part, Component::Normal(_));
        if start.name.is_empty() || !name.components().all(plain) {
            return Err(refused("the name of a file leads elsewhere"));
        }
        let path = self.files.dir().join(name);
        if let Some(dir) = path.parent() {
            self.disk.create_dir_all(dir)?;
        }
        let file = self.disk.open(&path, OpenMode::CreateNew)?;
        self.current = Some(Current {
            file,
            path,
            length: start.length,
            written: 0,
        });
        Ok(())
    }

    fn chunk(&mut self, chunk: &FileChunk) -> io::Result<()> {
        let current = self
            .current
            .as_mut()
            .ok_or_else(|| refused("a chunk without a file"))?;
        if chunk.offset != current.written {
            return Err(refused("a chunk out of order"));
        }
        if crc32c(&chunk.data) != chunk.crc {
            return Err(refused("a chunk with a wrong checksum"));
        }
        current.file.write_at(&chunk.data, chunk.offset)?;
        current.written += chunk.data.len() as u64;
        Ok(())
    }

    fn finish_file(&mut self) -> io::Result<()> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        if current.written != current.length {
            return Err(refused("a file that is cut short"));
        }
        current.file.sync_data()?;
        if let Some(dir) = current.path.parent() {
            self.disk.sync_dir(dir)?;
        }
        self.complete += 1;
        self.bytes += current.length;
        Ok(())
    }
}
