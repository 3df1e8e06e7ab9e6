//! The filesystems that a path may lead to, as the commands use them: the cluster by `ofs`, one of its
//! buckets by `o3fs`, and this machine's own files.

use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use ozone_client::FileReader;
use ozone_client::ofs::{
    ContentSummary, FileStatus, Listing, NewFile, Ofs, OfsError, OfsPath, Times,
};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::error::Trouble;
use super::local;
use super::location::{join, name_of};

/// Bytes asked for at a time. The reader fetches ahead by itself.
const PIECE: usize = 4 << 20;

/// Bytes to read, wherever they come from.
pub(super) type Source = Pin<Box<dyn AsyncRead + Send>>;

type Outcome<T> = Result<T, Trouble>;

/// A filesystem.
#[derive(Debug)]
pub(super) enum System {
    /// A cluster, or one of its buckets.
    Cluster(Box<Cluster>),
    /// This machine.
    Local,
}

/// A cluster as a filesystem.
#[derive(Debug)]
pub(super) struct Cluster {
    /// What comes before its paths in whole addresses.
    pub uri: String,
    /// The volume and the bucket that its paths are in, if it is one bucket.
    pub bucket: Option<(String, String)>,
    /// The filesystem.
    pub ofs: Ofs,
}

impl Cluster {
    /// The path in the cluster.
    pub(super) fn path(&self, path: &str) -> Result<OfsPath, OfsError> {
        match &self.bucket {
            None => self.ofs.path(path),
            Some((volume, bucket)) => OfsPath::in_bucket(volume, bucket, path),
        }
    }

    /// The whole address of a path in the cluster.
    pub(super) fn address(&self, path: &OfsPath) -> String {
        match self.bucket {
            None => format!("{}{path}", self.uri),
            Some(_) => format!("{}/{}", self.uri, path.key()),
        }
    }
}

/// The entries of a directory, in the order of their names.
pub(super) enum Entries {
    /// Of the cluster, page by page.
    Cluster(Listing),
    /// Of this machine.
    Local(Vec<FileStatus>),
}

impl Entries {
    /// The next entries; none at the end.
    pub(super) async fn next_page(&mut self) -> Outcome<Vec<FileStatus>> {
        match self {
            Self::Cluster(listing) => Ok(listing.next_page().await?),
            Self::Local(entries) => Ok(std::mem::take(entries)),
        }
    }
}

impl System {
    /// What comes before a path in a whole address.
    pub(super) fn uri(&self) -> &str {
        match self {
            Self::Cluster(cluster) => &cluster.uri,
            Self::Local => "file://",
        }
    }

    /// Where paths that are not absolute start.
    pub(super) fn home(&self) -> String {
        match self {
            Self::Cluster(cluster) => format!("/user/{}", cluster.ofs.client().caller().user),
            Self::Local => local::home(),
        }
    }

    /// What is at `path`, if anything is.
    pub(super) async fn found(&self, path: &str) -> Outcome<Option<FileStatus>> {
        match self {
            Self::Cluster(cluster) => Ok(cluster.ofs.found(&cluster.path(path)?).await?),
            Self::Local => match local::status(path).await.map_err(Trouble::from) {
                Ok(mut status) => {
                    name_of(path).clone_into(&mut status.name);
                    Ok(Some(status))
                }
                Err(error) if error.is_missing() => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// The entries of a directory.
    pub(super) async fn list(&self, path: &str) -> Outcome<Entries> {
        match self {
            Self::Cluster(cluster) => {
                let listing = cluster.ofs.list(&cluster.path(path)?).await?;
                Ok(Entries::Cluster(listing))
            }
            Self::Local => Ok(Entries::Local(local::list(path).await?)),
        }
    }

    /// The bytes of a file from `offset`.
    pub(super) async fn read(&self, path: &str, offset: u64) -> Outcome<Source> {
        match self {
            Self::Cluster(cluster) => {
                let (reader, length) = cluster.ofs.open(&cluster.path(path)?).await?;
                Ok(Box::pin(StreamReader::new(Box::pin(stream(
                    reader, offset, length,
                )))))
            }
            Self::Local => Ok(Box::pin(local::read(path, offset).await?)),
        }
    }

    /// Makes a file of everything that `source` gives. It appears whole or not at all.
    pub(super) async fn write(&self, path: &str, source: Source, overwrite: bool) -> Outcome<()> {
        match self {
            Self::Cluster(cluster) => {
                let new = NewFile {
                    overwrite,
                    replication: None,
                };
                cluster
                    .ofs
                    .create(&cluster.path(path)?, source, new)
                    .await?;
                Ok(())
            }
            Self::Local => Ok(local::write(Path::new(path), source, overwrite).await?),
        }
    }

    /// Makes a directory and those above it, where they are missing.
    pub(super) async fn mkdirs(&self, path: &str) -> Outcome<()> {
        match self {
            Self::Cluster(cluster) => Ok(cluster.ofs.mkdirs(&cluster.path(path)?).await?),
            Self::Local => Ok(tokio::fs::create_dir_all(path).await?),
        }
    }

    /// Gives something another name.
    pub(super) async fn rename(&self, from: &str, to: &str) -> Outcome<()> {
        match self {
            Self::Cluster(cluster) => {
                let (from, to) = (cluster.path(from)?, cluster.path(to)?);
                Ok(cluster.ofs.rename(&from, &to).await?)
            }
            Self::Local => Ok(tokio::fs::rename(from, to).await?),
        }
    }

    /// Removes a file or an empty directory; with `recursive`, whatever is in a directory too.
    pub(super) async fn delete(&self, path: &str, recursive: bool) -> Outcome<()> {
        match self {
            Self::Cluster(cluster) => {
                Ok(cluster.ofs.delete(&cluster.path(path)?, recursive).await?)
            }
            Self::Local => Ok(local::delete(path, recursive).await?),
        }
    }

    /// Sets permission bits.
    pub(super) async fn set_permission(&self, path: &str, mode: u32) -> Outcome<()> {
        match self {
            Self::Cluster(cluster) => {
                let path = cluster.path(path)?;
                Ok(cluster.ofs.set_permission(&path, mode).await?)
            }
            Self::Local => Ok(local::set_permission(path, mode).await?),
        }
    }

    /// Sets the owner and the group.
    pub(super) async fn set_owner(
        &self,
        path: &str,
        owner: Option<String>,
        group: Option<String>,
    ) -> Outcome<()> {
        match self {
            Self::Cluster(cluster) => {
                let path = cluster.path(path)?;
                Ok(cluster.ofs.set_owner(&path, owner, group).await?)
            }
            Self::Local => Ok(local::set_owner(path, owner, group).await?),
        }
    }

    /// Sets times.
    pub(super) async fn set_times(&self, path: &str, times: Times) -> Outcome<()> {
        match self {
            Self::Cluster(cluster) => {
                Ok(cluster.ofs.set_times(&cluster.path(path)?, times).await?)
            }
            Self::Local => Ok(local::set_times(path, times).await?),
        }
    }

    /// What is at `path` and below, added up.
    pub(super) async fn summary(&self, path: &str) -> Outcome<ContentSummary> {
        match self {
            Self::Cluster(cluster) => Ok(cluster.ofs.content_summary(&cluster.path(path)?).await?),
            Self::Local => {
                let mut sum = ContentSummary::default();
                let mut todo = vec![path.to_owned()];
                sum.add(&local::status(path).await?);
                while let Some(dir) = todo.pop() {
                    for entry in local::list(&dir).await.unwrap_or_default() {
                        sum.add(&entry);
                        if entry.is_directory() {
                            todo.push(join(&dir, &entry.name));
                        }
                    }
                }
                Ok(sum)
            }
        }
    }
}

/// The bytes of a file of the cluster. That it ends too early is an error.
fn stream(
    reader: FileReader,
    offset: u64,
    length: u64,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let pieces = futures::stream::try_unfold((reader, offset), move |(reader, at)| async move {
        if at >= length {
            return Ok(None);
        }
        let want = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        let pieces = reader.read_pieces(at, want).await;
        let pieces = pieces.map_err(|error| std::io::Error::other(error.to_string()))?;
        let got: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if got == 0 {
            let text = format!("the file ended after {at} of {length} bytes");
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, text));
        }
        let pieces = futures::stream::iter(pieces.into_iter().map(Ok));
        Ok(Some((pieces, (reader, at + got))))
    });
    futures::TryStreamExt::try_flatten(pieces)
}
