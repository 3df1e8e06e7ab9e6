//! Keys: written whole, visible at once or not at all.

use bytes::Bytes;
use ozone_proto::hdds::KeyValue;
use ozone_proto::namespace::{Extent, Replication};
use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;
use ozone_proto::om::{
    CommitKeyRequest, CreateKeyRequest, DeleteKeyRequest, GetKeyInfoRequest, KeyArgs, KeyInfo,
    ListKeysRequest, RenameKeyRequest,
};
use tokio::io::AsyncRead;

use super::{Objects, Page, ask, read_some, replication_fields};
use crate::data::{FileReader, FileWriter, inline_extents};
use crate::{ClientError, Result, own_session};

/// Bytes read from a source at a time.
const BUFFER: usize = 1 << 20;

/// What a key is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyName<'a> {
    /// Its volume.
    pub volume: &'a str,
    /// Its bucket.
    pub bucket: &'a str,
    /// Its whole name within the bucket.
    pub key: &'a str,
}

/// What a new key is to be like.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// How it is replicated; as its bucket says when not said.
    pub replication: Option<Replication>,
    /// Its permission bits; the server's default when not said.
    pub mode: Option<u32>,
    /// Names and values that are kept with it.
    pub metadata: Vec<KeyValue>,
}

/// What was written, ready to be committed.
#[derive(Debug, Default)]
struct Content {
    size: u64,
    extents: Vec<Extent>,
    /// Session that the blocks belong to; none when all is inline.
    session: Option<u64>,
    writer: Option<FileWriter>,
}

impl KeyName<'_> {
    pub(super) fn args(&self) -> KeyArgs {
        KeyArgs {
            volume_name: self.volume.to_owned(),
            bucket_name: self.bucket.to_owned(),
            key_name: self.key.to_owned(),
            ..Default::default()
        }
    }
}

impl Objects {
    /// Stores everything that `source` gives, in place of what had the name. Gives the size in
    /// bytes. Nothing is visible before all of it is durable.
    pub async fn put_key(
        &self,
        name: KeyName<'_>,
        mut source: impl AsyncRead + Unpin,
        new: NewKey,
    ) -> Result<u64> {
        let (r#type, factor) = replication_fields(new.replication);
        let args = KeyArgs {
            r#type,
            factor,
            metadata: new.metadata.clone(),
            mode: new.mode,
            ..name.args()
        };
        let request = CreateKeyRequest {
            key_args: args.clone(),
            ..Default::default()
        };
        let opened = ask!(self, CreateKeyRequest, CreateKeyResponse, request)?;
        let first = read_some(&mut source, BUFFER).await?;
        let content = match first.len() <= self.inline_limit {
            true => Content::inline(first),
            false => self.write_blocks(name, first, source, &new).await?,
        };
        let args = KeyArgs {
            data_size: Some(content.size),
            extents: content.extents,
            session: content.session,
            ..args
        };
        let request = CommitKeyRequest {
            key_args: args,
            client_id: opened.id(),
            ..Default::default()
        };
        let committed = ask!(self, CommitKeyRequest, CommitKeyResponse, request);
        if let Some(writer) = content.writer {
            writer.close().await;
        }
        committed.map(|_| content.size)
    }

    /// A key's description and a reader of its content.
    pub async fn get_key(&self, name: KeyName<'_>) -> Result<(KeyInfo, FileReader)> {
        let mut info = self.key_info(name).await?;
        let missing = || ClientError::protocol("OM", "a key without its inode");
        let inode = info.inode.take().ok_or_else(missing)?;
        let reader = self.data.reader(inode.clone());
        info.inode = Some(inode);
        Ok((info, reader))
    }

    /// A key's description.
    pub async fn key_info(&self, name: KeyName<'_>) -> Result<KeyInfo> {
        let request = GetKeyInfoRequest {
            key_args: name.args(),
            assume_s3_context: None,
        };
        let answer = ask!(self, GetKeyInfoRequest, GetKeyInfoResponse, request)?;
        let missing = || ClientError::protocol("OM", "a key without its description");
        answer.key_info.ok_or_else(missing)
    }

    /// Keys in the order of their names, and whether there are more.
    pub async fn list_keys(
        &self,
        volume: &str,
        bucket: &str,
        page: &Page,
    ) -> Result<(Vec<KeyInfo>, bool)> {
        let request = ListKeysRequest {
            volume_name: volume.to_owned(),
            bucket_name: bucket.to_owned(),
            start_key: Some(page.start.clone()),
            prefix: Some(page.prefix.clone()),
            count: (page.limit > 0).then_some(page.limit as i32),
        };
        let answer = ask!(self, ListKeysRequest, ListKeysResponse, request)?;
        let more = answer.is_truncated();
        Ok((answer.key_info, more))
    }

    /// Removes a key.
    pub async fn delete_key(&self, name: KeyName<'_>) -> Result<()> {
        let request = DeleteKeyRequest {
            key_args: name.args(),
            keep: None,
            as_object: None,
        };
        ask!(self, DeleteKeyRequest, DeleteKeyResponse, request).map(drop)
    }

    /// Removes a key; a directory with all that it holds.
    pub async fn delete_tree(&self, name: KeyName<'_>) -> Result<()> {
        let mut key_args = name.args();
        key_args.recursive = Some(true);
        let request = DeleteKeyRequest {
            key_args,
            keep: None,
            as_object: None,
        };
        ask!(self, DeleteKeyRequest, DeleteKeyResponse, request).map(drop)
    }

    /// Gives a key another name in its bucket.
    pub async fn rename_key(&self, name: KeyName<'_>, to: &str) -> Result<()> {
        let request = RenameKeyRequest {
            key_args: name.args(),
            to_key_name: to.to_owned(),
            update_id: None,
        };
        ask!(self, RenameKeyRequest, RenameKeyResponse, request).map(drop)
    }

    async fn write_blocks(
        &self,
        name: KeyName<'_>,
        first: Bytes,
        mut source: impl AsyncRead + Unpin,
        new: &NewKey,
    ) -> Result<Content> {
        let dir = self.bucket_dir(name.volume, name.bucket).await?;
        let session = own_session(&self.session, &self.namespace).await?;
        let mut writer = self.data.writer_with(dir, &session, new.replication);
        match copy(&mut writer, first, &mut source).await {
            Ok((size, extents)) => Ok(Content {
                size,
                extents,
                session: Some(session.id()),
                writer: Some(writer),
            }),
            Err(error) => {
                writer.close().await;
                Err(error)
            }
        }
    }
}

impl Content {
    fn inline(data: Bytes) -> Self {
        Self {
            size: data.len() as u64,
            extents: match data.is_empty() {
                true => Vec::new(),
                false => inline_extents(vec![(0, data)]),
            },
            ..Default::default()
        }
    }
}

/// Writes all of the source; its size and extents.
async fn copy(
    writer: &mut FileWriter,
    first: Bytes,
    source: &mut (impl AsyncRead + Unpin),
) -> Result<(u64, Vec<Extent>)> {
    let mut size = 0;
    let mut data = first;
    while !data.is_empty() {
        let length = data.len() as u64;
        writer.write(size, data).await?;
        size += length;
        data = read_some(source, BUFFER).await?;
    }
    Ok((size, writer.flush().await?))
}
