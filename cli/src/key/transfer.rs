//! The bytes of keys: `put`, `get` and `cat`, a few buffers in memory at a time.

use std::io;
use std::path::Path;

use ozone_client::objects::NewKey;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::local::LocalTarget;
use super::{Get, Put, Target};
use crate::address::Address;
use crate::content::Content;
use crate::error::{CliError, Result};
use crate::shell::Shell;

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
    let content = open_key(&get.target, &address, shell).await?;
    let failed = |error| CliError::local(target.path())(error);
    let write = async |file: &mut File| copy(content, file, failed).await;
    target.fill(write).await
}

/// Prints a key.
pub(super) async fn cat(target: &Target, shell: &Shell<'_>) -> Result<()> {
    let address = Address::parse(&target.uri)?;
    let content = open_key(target, &address, shell).await?;
    copy(content, &mut tokio::io::stdout(), CliError::Output).await
}

async fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path).await?;
    if file.metadata().await?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

async fn open_key(target: &Target, address: &Address, shell: &Shell<'_>) -> Result<Content> {
    let name = address.key()?;
    let client = shell.client(address).await?;
    Content::open(client, name, target.uri.clone()).await
}

/// Writes everything to `out`; `failed` says what `out` is when it fails.
async fn copy(
    mut content: Content,
    out: &mut (impl AsyncWrite + Unpin),
    failed: impl Fn(io::Error) -> CliError,
) -> Result<()> {
    loop {
        let pieces = content.next().await?;
        if pieces.is_empty() {
            return out.flush().await.map_err(failed);
        }
        for piece in pieces {
            out.write_all(&piece).await.map_err(&failed)?;
        }
    }
}
