//! A key that is written piece by piece, by whoever is given its bytes rather than fetching them. Nothing is visible
//! before it is committed, and nothing stays of one that is dropped.

use bytes::Bytes;
use ozone_proto::namespace::{Extent, Replication};
use ozone_proto::om::KeyArgs;

use super::{KeyName, Objects, replication_fields};
use crate::data::{FileWriter, inline_extents};
use crate::{Result, own_session};

/// A key that is being written.
#[derive(Debug)]
pub struct Upload {
    objects: Objects,
    args: KeyArgs,
    replication: Option<Replication>,
    /// Bytes that may yet ride in the OM's log.
    small: Vec<(u64, Bytes)>,
    size: u64,
    writer: Option<(FileWriter, u64)>,
}

/// What was written and is durable, ready to become a key.
#[derive(Debug)]
pub(super) struct Written {
    /// The key, with its content.
    pub(super) args: KeyArgs,
    /// Whoever dropped it would give the blocks back.
    pub(super) writer: Option<FileWriter>,
}

impl Objects {
    /// Begins to write a key.
    pub fn upload(&self, name: KeyName<'_>, replication: Option<Replication>) -> Upload {
        let (r#type, factor) = replication_fields(replication);
        Upload {
            objects: self.clone(),
            args: KeyArgs {
                r#type,
                factor,
                ..name.args()
            },
            replication,
            small: Vec::new(),
            size: 0,
            writer: None,
        }
    }
}

impl Upload {
    /// Gives the key these permission bits, instead of the server's default.
    pub fn set_mode(&mut self, mode: u32) {
        self.args.mode = Some(mode);
    }

    /// Bytes that were written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes. Waits while too much is on its way to the datanodes.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let at = self.size;
        self.size += data.len() as u64;
        if let Some((writer, _)) = &mut self.writer {
            return writer.write(at, data).await;
        }
        self.small.push((at, data));
        if self.size <= self.objects.inline_limit as u64 {
            return Ok(());
        }
        let (volume, bucket) = (&self.args.volume_name, &self.args.bucket_name);
        let dir = self.objects.bucket_dir(volume, bucket).await?;
        let session = own_session(&self.objects.session, &self.objects.namespace).await?;
        let data = &self.objects.data;
        let mut writer = data.writer_with(dir, &session, self.replication);
        for (at, data) in self.small.drain(..) {
            writer.write(at, data).await?;
        }
        self.writer = Some((writer, session.id()));
        Ok(())
    }

    /// Makes all of it durable.
    pub(super) async fn finish(self) -> Result<(Objects, Written)> {
        let (extents, session, writer) = match self.writer {
            Some((mut writer, session)) => (writer.flush().await?, Some(session), Some(writer)),
            None => (inline(self.small), None, None),
        };
        let args = KeyArgs {
            data_size: Some(self.size),
            extents,
            session,
            ..self.args
        };
        Ok((self.objects, Written { args, writer }))
    }
}

fn inline(parts: Vec<(u64, Bytes)>) -> Vec<Extent> {
    match parts.is_empty() {
        true => Vec::new(),
        false => inline_extents(parts),
    }
}
