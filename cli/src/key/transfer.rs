//! The bytes of keys: `put`, `get` and `cat`, a few buffers in memory at a time.

use std::io;
use std::path::Path;

use ozone_client::FileReader;
use ozone_client::objects::NewKey;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::local::LocalTarget;
use super::{Get, Put, Target};
use crate::address::Address;
use crate::error::{CliError, Result};
use crate::shell::Shell;

/// Bytes asked for at a time. The reader fetches ahead by itself.
const PIECE: u64 = 4 << 20;

/// Stores a file as a key.
pub(super) async fn put(put: Put, shell: &Shell<'_>) -> Result<()> {
    let address = Address::parse(&put.target.uri)?;
    let key = address.key()?;
    let replication = put.replication.or_configured(shell.config())?;
    let source = open(&put.file).await.map_err(CliError::local(&put.file))?;
    let objects = shell.client(&address).await?.objects();
    let new = NewKey {
        replication,
        ..Default::default()
    };
    objects.put_key(key, source, new).await?;
    Ok(())
}

/// Fetches a key into a file.
pub(super) async fn get(get: Get, shell: &Shell<'_>) -> Result<()> {
    let address = Address::parse(&get.target.uri)?;
    let key = address.key()?;
    let target = LocalTarget::find(get.file, key.key, get.force).await?;
    let content = Content::open(&get.target, &address, shell).await?;
    let failed = |error| CliError::local(target.path())(error);
    let write = async |file: &mut File| content.copy_to(file, failed).await;
    target.fill(write).await
}

/// Prints a key.
pub(super) async fn cat(target: &Target, shell: &Shell<'_>) -> Result<()> {
    let address = Address::parse(&target.uri)?;
    let content = Content::open(target, &address, shell).await?;
    content
        .copy_to(&mut tokio::io::stdout(), CliError::Output)
        .await
}

async fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path).await?;
    if file.metadata().await?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// A key that is being read.
struct Content {
    key: String,
    size: u64,
    reader: FileReader,
}

impl Content {
    async fn open(target: &Target, address: &Address, shell: &Shell<'_>) -> Result<Self> {
        let name = address.key()?;
        let objects = shell.client(address).await?.objects();
        let (info, reader) = objects.get_key(name).await?;
        let key = target.uri.clone();
        if info.is_file == Some(false) {
            return Err(CliError::NotAFile { key });
        }
        let size = info.data_size;
        Ok(Self { key, size, reader })
    }

    /// Writes everything to `out`; `failed` says what `out` is when it fails.
    async fn copy_to(
        &self,
        out: &mut (impl AsyncWrite + Unpin),
        failed: impl Fn(io::Error) -> CliError,
    ) -> Result<()> {
        let mut got = 0;
        while got < self.size {
            let want = (self.size - got).min(PIECE);
            let pieces = self.reader.read_pieces(got, want as usize).await?;
            if pieces.is_empty() {
                let (key, size) = (self.key.clone(), self.size);
                return Err(CliError::Short { key, got, size });
            }
            for piece in pieces {
                got += piece.len() as u64;
                out.write_all(&piece).await.map_err(&failed)?;
            }
        }
        out.flush().await.map_err(failed)
    }
}
