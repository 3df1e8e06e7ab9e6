//! What a tree adds up to, and the checksum of a file.

use ozone_common::checksum::RunningCrc;

use super::Ofs;
use super::error::{OfsError, Result};
use super::path::OfsPath;
use super::status::FileStatus;

/// Bytes read at a time for a checksum.
const PIECE: usize = 4 << 20;

/// What is in a tree, its top included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentSummary {
    /// Directories.
    pub directories: u64,
    /// Files.
    pub files: u64,
    /// Bytes of content.
    pub length: u64,
    /// Bytes with all their copies.
    pub consumed: u64,
}

/// The checksum of a file's content, which does not depend on how it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// As Hadoop names it.
    pub algorithm: &'static str,
    /// The checksum.
    pub bytes: [u8; 4],
}

impl ContentSummary {
    /// Counts one more file or directory.
    pub fn add(&mut self, status: &FileStatus) {
        if status.is_directory() {
            self.directories += 1;
            return;
        }
        self.files += 1;
        self.length += status.length;
        self.consumed += status.length * u64::from(status.replication);
    }
}

impl Ofs {
    /// Adds up what is at `path` and below. Directories are read page by page.
    pub async fn content_summary(&self, path: &OfsPath) -> Result<ContentSummary> {
        let top = self.status(path).await?;
        let mut sum = ContentSummary::default();
        sum.add(&top);
        if !top.is_directory() {
            return Ok(sum);
        }
        let mut todo = vec![path.clone()];
        while let Some(dir) = todo.pop() {
            let mut listing = match self.list(&dir).await {
                Ok(listing) => listing,
                // It was removed since it was listed, or is a link that leads nowhere.
                Err(OfsError::NotFound) => continue,
                // An object store has no directories to walk through.
                Err(OfsError::Layout { .. }) if dir != *path => continue,
                Err(error) => return Err(error),
            };
            loop {
                let page = listing.next_page().await?;
                if page.is_empty() {
                    break;
                }
                page.iter().for_each(|entry| sum.add(entry));
                let below = page.iter().filter(|entry| entry.is_directory());
                todo.extend(below.map(|entry| dir.child(&entry.name)));
            }
        }
        Ok(sum)
    }

    /// The checksum of a file's content.
    pub async fn checksum(&self, path: &OfsPath) -> Result<Checksum> {
        let (reader, length) = self.open(path).await?;
        let mut crc = RunningCrc::default();
        let mut at = 0;
        while at < length {
            let pieces = reader.read_pieces(at, PIECE).await?;
            if pieces.is_empty() {
                break;
            }
            for piece in pieces {
                crc.update(&piece);
                at += piece.len() as u64;
            }
        }
        Ok(Checksum {
            algorithm: "COMPOSITE-CRC32C",
            bytes: crc.value().to_be_bytes(),
        })
    }
}
