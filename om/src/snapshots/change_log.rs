//! What has changed in buckets that have snapshots, command by command: which names, and which inodes
//! that have several names. So the difference of two snapshots costs what changed between them.
//!
//! An entry says only where to look: what was there before and after is in the checkpoints.

use crate::apply::Apply;
use crate::error::{OmError, Result};
use crate::rows::Rows;
use crate::{snapshots, tables};

/// Entries read at a time.
const PAGE: usize = 1000;
const NAME: u8 = 0;
const INODE: u8 = 1;

/// Something that a command changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Changed {
    /// What is under a name of a directory.
    Name { directory: u64, name: Vec<u8> },
    /// An inode that has several names.
    Inode(u64),
}

impl Changed {
    fn encode(&self, bucket: u64, index: u64) -> Vec<u8> {
        let mut key = tables::number_key(&[bucket, index]);
        match self {
            Self::Name { directory, name } => {
                key.push(NAME);
                key.extend_from_slice(&directory.to_be_bytes());
                key.extend_from_slice(name);
            }
            Self::Inode(object) => {
                key.push(INODE);
                key.extend_from_slice(&object.to_be_bytes());
            }
        }
        key
    }

    fn decode(key: &[u8]) -> Option<Self> {
        let (kind, rest) = key.get(16..)?.split_first()?;
        let (number, name) = rest.split_first_chunk()?;
        let number = u64::from_be_bytes(*number);
        match *kind {
            NAME => Some(Self::Name {
                directory: number,
                name: name.to_vec(),
            }),
            INODE => Some(Self::Inode(number)),
            _ => None,
        }
    }
}

/// Files what the command has changed, where a snapshot shows how it was before.
pub fn write(apply: &mut Apply<'_>) -> Result<()> {
    let mut known: Option<(u64, bool)> = None;
    for (bucket, changed) in std::mem::take(&mut apply.changed) {
        let has_snapshots = match known {
            Some((last, any)) if last == bucket => any,
            _ => snapshots::any(apply, bucket)?,
        };
        known = Some((bucket, has_snapshots));
        if has_snapshots {
            let key = changed.encode(bucket, apply.index);
            apply.put_raw(tables::CHANGE_LOG, &key, Vec::new());
        }
    }
    Ok(())
}

/// What the commands between two have changed in a bucket, in pages; the same change may come several times.
pub struct Changes<'a, R> {
    rows: &'a R,
    bucket: u64,
    after: Vec<u8>,
    to: u64,
    done: bool,
}

impl<'a, R: Rows> Changes<'a, R> {
    /// Those of the commands after `from` and before `to`.
    pub fn between(rows: &'a R, bucket: u64, from: u64, to: u64) -> Self {
        Self {
            rows,
            bucket,
            after: tables::number_key(&[bucket, from.saturating_add(1)]),
            to,
            done: false,
        }
    }

    /// Some more; `None` at the end.
    pub fn more(&mut self) -> Result<Option<Vec<Changed>>> {
        if self.done {
            return Ok(None);
        }
        let prefix = tables::number_key(&[self.bucket]);
        let page = self
            .rows
            .scan(tables::CHANGE_LOG, &prefix, Some(&self.after), PAGE)?;
        self.done = page.len() < PAGE;
        let mut found = Vec::new();
        for (key, _) in page {
            if index_of(&key)? >= self.to {
                self.done = true;
                break;
            }
            found.push(Changed::decode(&key).ok_or_else(bad_key)?);
            self.after = key;
        }
        Ok((!found.is_empty()).then_some(found))
    }
}

/// Removes at most `limit` entries of commands before `index`; how many there were.
pub fn forget_before(
    apply: &mut Apply<'_>,
    bucket: u64,
    index: u64,
    limit: usize,
) -> Result<usize> {
    let prefix = tables::number_key(&[bucket]);
    let mut removed = 0;
    for (key, _) in apply.scan(tables::CHANGE_LOG, &prefix, None, limit)? {
        if index_of(&key)? >= index {
            break;
        }
        apply.delete(tables::CHANGE_LOG, &key);
        removed += 1;
    }
    Ok(removed)
}

fn index_of(key: &[u8]) -> Result<u64> {
    let numbers = key.get(..16).and_then(tables::parse_number_key::<2>);
    numbers.map(|[_, index]| index).ok_or_else(bad_key)
}

fn bad_key() -> OmError {
    OmError::Storage("changeLogTable: bad key".into())
}
