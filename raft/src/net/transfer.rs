//! Sending the files of a copy of the state.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ozone_common::checksum::crc32c;
use ozone_common::disk::{Disk, OpenMode};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use crate::snapshot::SnapshotFiles;
use crate::wire::raft_service_client::RaftServiceClient;
use crate::wire::{
    FileChunk, FileStart, SnapshotHeader, SnapshotPart, SnapshotReply, snapshot_part::Part,
};

/// Bytes of a chunk.
const CHUNK: usize = 1 << 20;
/// Chunks read ahead of the network.
const READ_AHEAD: usize = 8;

/// Sends all files; returns the answer of the member that installed them.
pub(super) async fn send_files(
    client: &mut RaftServiceClient<Channel>,
    header: SnapshotHeader,
    disk: Arc<dyn Disk>,
    files: SnapshotFiles,
) -> Result<SnapshotReply, Status> {
    let (parts, receiver) = mpsc::channel(READ_AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let sender = Sender { parts, disk };
        sender.send_all(header, files.dir())
    });
    let reply = client.install_snapshot(ReceiverStream::new(receiver)).await;
    match (reply, reader.await) {
        (Ok(reply), _) => Ok(reply.into_inner()),
        (Err(_), Ok(Err(cause))) if cause.kind() != io::ErrorKind::BrokenPipe => Err(
            Status::internal(format!("reading the copy of the state: {cause}")),
        ),
        (Err(status), _) => Err(status),
    }
}

struct Sender {
    parts: mpsc::Sender<SnapshotPart>,
    disk: Arc<dyn Disk>,
}

/// A file to send: its path, its name for the receiver, its length.
struct Found {
    path: PathBuf,
    name: String,
    length: u64,
}

impl Sender {
    fn send(&self, part: Part) -> io::Result<()> {
        let part = SnapshotPart { part: Some(part) };
        self.parts
            .blocking_send(part)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn send_all(&self, mut header: SnapshotHeader, dir: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        self.find(dir, "", &mut files)?;
        header.files = files.len() as u64;
        header.bytes = files.iter().map(|file| file.length).sum();
        self.send(Part::Header(header))?;
        files.into_iter().try_for_each(|file| self.send_file(file))
    }

    fn find(&self, dir: &Path, prefix: &str, files: &mut Vec<Found>) -> io::Result<()> {
        for entry in self.disk.list(dir)? {
            let name = format!("{prefix}{}", entry.name);
            if entry.info.is_dir {
                self.find(&entry.path, &format!("{name}/"), files)?;
            } else {
                files.push(Found {
                    path: entry.path,
                    name,
                    length: entry.info.len,
                });
            }
        }
        Ok(())
    }

    fn send_file(&self, file: Found) -> io::Result<()> {
        let Found { path, name, length } = file;
        self.send(Part::File(FileStart { name, length }))?;
        let file = self.disk.open(&path, OpenMode::Read)?;
        let mut offset = 0;
        while offset < length {
            let size = usize::try_from(length - offset).map_or(CHUNK, |left| left.min(CHUNK));
            let mut data = vec![0; size];
            file.read_exact_at(&mut data, offset)?;
            let crc = crc32c(&data);
            self.send(Part::Chunk(FileChunk {
                offset,
                data: Bytes::from(data),
                crc,
            }))?;
            offset += size as u64;
        }
        Ok(())
    }
}
