//! New content: whole files, which appear at once, and additions to files.

use std::sync::Arc;

use bytes::Bytes;
use ozone_proto::namespace::{CommitRequest, Inode, Replication};
use tokio::io::AsyncRead;

use super::error::{OfsError, Result};
use super::path::{Level, OfsPath};
use super::{Ofs, key_name};
use crate::namespace::{dir_of, place_of};
use crate::objects::NewKey;
use crate::{ClientError, FileWriter, Session};

/// What a new file is to be like.
#[derive(Debug, Clone, Default)]
pub struct NewFile {
    /// Whether it takes the place of a file that is there.
    pub overwrite: bool,
    /// How it is replicated; as its bucket says when not said.
    pub replication: Option<Replication>,
}

/// Adds to the end of a file. Nothing of it is part of the file before `close`.
#[derive(Debug)]
pub struct Appender {
    ofs: Ofs,
    inode: Inode,
    size: u64,
    writer: FileWriter,
    session: Arc<Session>,
}

impl Ofs {
    /// Makes a file of everything that `source` gives; its size. Missing directories above it are made. It
    /// appears when all of it is durable; until then, and when that fails, what was there stays.
    pub async fn create(
        &self,
        path: &OfsPath,
        source: impl AsyncRead + Unpin,
        new: NewFile,
    ) -> Result<u64> {
        if path.level() != Level::Key {
            return Err(OfsError::Refused(
                "Cannot create file under root or volume.",
            ));
        }
        if path.is_past() {
            return Err(OfsError::ReadOnly);
        }
        if let Some(found) = self.found(path).await? {
            match found.is_directory() {
                true => return Err(OfsError::IsADirectory),
                false if !new.overwrite => return Err(OfsError::Exists),
                false => {}
            }
        }
        let key = path.key();
        let kept = NewKey {
            replication: new.replication,
            ..Default::default()
        };
        let objects = self.client.objects();
        Ok(objects.put_key(key_name(path, &key), source, kept).await?)
    }

    /// Starts to add to a file.
    pub async fn append(&self, path: &OfsPath) -> Result<Appender> {
        if path.is_past() {
            return Err(OfsError::ReadOnly);
        }
        let status = self.status(path).await?;
        let inode = match (status.kind, status.inode) {
            (super::Kind::File, Some(inode)) => inode,
            (super::Kind::Directory, _) => return Err(OfsError::IsADirectory),
            _ => return Err(OfsError::Refused("Is not a regular file")),
        };
        let within = self.inode(&path.bucket_path()).await?;
        let session = self.client.session().await?;
        let writer = self.client.data().writer(dir_of(&within)?, &session);
        Ok(Appender {
            ofs: self.clone(),
            inode,
            size: status.length,
            writer,
            session,
        })
    }
}

impl Appender {
    /// Takes some more bytes.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        let at = self.size;
        self.size += data.len() as u64;
        Ok(self.writer.write(at, data).await?)
    }

    /// Makes what was taken durable and part of the file, unless somebody else has changed it meanwhile.
    pub async fn close(mut self) -> Result<()> {
        let outcome = self.commit().await;
        self.writer.close().await;
        outcome
    }

    async fn commit(&mut self) -> Result<()> {
        let extents = self.writer.flush().await?;
        if extents.is_empty() {
            return Ok(());
        }
        let Some(row) = &self.inode.row else {
            return Err(ClientError::protocol("OM", "a file without attributes").into());
        };
        let request = CommitRequest {
            r#ref: Some(place_of(&self.inode)?.clone()),
            extents,
            size: self.size,
            session: self.session.id(),
            expected_data_version: Some(row.data_version),
            ..Default::default()
        };
        self.ofs.client.namespace().commit(request).await?;
        Ok(())
    }
}
