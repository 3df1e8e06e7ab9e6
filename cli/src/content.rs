//! The bytes of a key, from its first to its last.

use bytes::Bytes;
use ozone_client::objects::{KeyName, Objects};
use ozone_client::{Client, FileReader};

use crate::error::{CliError, Result};

/// Bytes asked for at a time. The reader fetches ahead by itself.
const PIECE: u64 = 4 << 20;

/// A key that is being read.
pub(crate) struct Content {
    key: String,
    size: u64,
    at: u64,
    reader: FileReader,
}

impl Content {
    /// Looks a key up; `shown` names it in errors.
    pub(crate) async fn open(client: &Client, name: KeyName<'_>, shown: String) -> Result<Self> {
        let objects: &Objects = client.objects();
        let (info, reader) = objects.get_key(name).await?;
        if info.is_file == Some(false) {
            return Err(CliError::NotAFile { key: shown });
        }
        Ok(Self {
            key: shown,
            size: info.data_size,
            at: 0,
            reader,
        })
    }

    /// The next bytes; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Vec<Bytes>> {
        let want = (self.size - self.at).min(PIECE);
        if want == 0 {
            return Ok(Vec::new());
        }
        let pieces = self.reader.read_pieces(self.at, want as usize).await?;
        if pieces.is_empty() {
            return Err(CliError::Short {
                key: self.key.clone(),
                got: self.at,
                size: self.size,
            });
        }
        self.at += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Ok(pieces)
    }
}
