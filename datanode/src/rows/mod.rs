//! The rows of `container.db`: one database per volume, shared by its containers.
//!
//! Every key begins with the eight big-endian bytes of a container id and `|`, so that a container
//! is one range of each table. The chunks of a block are rows of their own: committing more of a
//! block costs what is added, not what it holds.

mod change;
mod values;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ozone_kv::{Batch, BlockCache, Db, DbOptions, KeyRange, KvError, Raw, ReadView, Table};

pub(crate) use self::change::Change;
pub(crate) use self::values::BlockRow;
use self::values::{ChunkRow, U64Row};
use crate::chunk::Chunk;
use crate::error::{OpError, OpResult};

/// `container|local` → size, commit and flags of a block.
const BLOCK_DATA: Table<Vec<u8>, BlockRow> = Table::new("block_data");
/// `container|local|offset` → one chunk.
const CHUNK_INFO: Table<Vec<u8>, ChunkRow> = Table::new("chunk_info");
/// `container|#NAME` → a counter of the container.
const METADATA: Table<Vec<u8>, U64Row> = Table::new("metadata");
/// `container|transaction` → local ids whose files are still to be removed.
const DELETE_TXNS: Table<Vec<u8>, Raw> = Table::new("delete_txns");
/// `container|local` → from which byte on this replica lacks a committed block.
const MISSING: Table<Vec<u8>, U64Row> = Table::new("missing_blocks");

const PAGE: usize = 4096;
/// A row of no container, written for the sake of its fsync.
const SYNC_KEY: &[u8] = b"#SYNC";

fn prefix(container: i64) -> Vec<u8> {
    let mut key = container.to_be_bytes().to_vec();
    key.push(b'|');
    key
}

fn block_key(container: i64, local: i64) -> Vec<u8> {
    let mut key = prefix(container);
    key.extend_from_slice(&local.to_be_bytes());
    key
}

fn chunk_prefix(container: i64, local: i64) -> Vec<u8> {
    let mut key = block_key(container, local);
    key.push(b'|');
    key
}

fn chunk_key(container: i64, local: i64, offset: u64) -> Vec<u8> {
    let mut key = chunk_prefix(container, local);
    key.extend_from_slice(&offset.to_be_bytes());
    key
}

fn name_key(container: i64, name: &str) -> Vec<u8> {
    let mut key = prefix(container);
    key.extend_from_slice(name.as_bytes());
    key
}

/// The last eight bytes of a key.
fn tail(key: &[u8]) -> [u8; 8] {
    let at = key.len().saturating_sub(8);
    key[at..].try_into().unwrap_or_default()
}

/// What a container holds, as its `metadata` rows say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Blocks that exist.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Latest commit.
    pub bcsid: u64,
    /// Latest deletion transaction.
    pub delete_tx: u64,
}

const COUNTERS: [&str; 4] = ["#BLOCKCOUNT", "#BYTESUSED", "#BCSID", "#delTX"];

/// The database of one volume.
pub struct BlockDb {
    db: Db,
    path: PathBuf,
}

impl std::fmt::Debug for BlockDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockDb({})", self.path.display())
    }
}

impl BlockDb {
    /// Opens the database in `path`, made if missing. Blocks.
    pub fn open(path: &Path, cache: &BlockCache) -> Result<Self, KvError> {
        let tables = [
            BLOCK_DATA.spec(),
            CHUNK_INFO.spec(),
            METADATA.spec(),
            DELETE_TXNS.spec(),
            MISSING.spec(),
        ];
        let options = DbOptions {
            cache: cache.clone(),
            ..DbOptions::default()
        };
        Ok(Self {
            db: Db::open(path, &tables, options)?,
            path: path.to_path_buf(),
        })
    }

    /// Writes a change. With `durable` it survives a power cut when this returns. Blocks.
    pub fn write(&self, change: Change, durable: bool) -> OpResult<()> {
        self.db
            .write(&change.batch, durable)
            .map_err(|error| self.failed(&error))
    }

    /// All that was written survives a power cut when this returns. Blocks.
    pub fn sync(&self) -> OpResult<()> {
        // The log is written in order: a durable row makes those before it durable.
        let mut batch = Batch::new();
        METADATA.put(&mut batch, SYNC_KEY, &U64Row(0));
        self.db
            .write(&batch, true)
            .map_err(|error| self.failed(&error))
    }

    /// The row of a block.
    pub fn block(&self, container: i64, local: i64) -> OpResult<Option<BlockRow>> {
        let row = BLOCK_DATA.get(&self.db, &block_key(container, local));
        row.map_err(|error| self.failed(&error))
    }

    /// Up to `limit` blocks of a container, from `start` on.
    pub fn blocks(
        &self,
        container: i64,
        start: i64,
        limit: usize,
    ) -> OpResult<Vec<(i64, BlockRow)>> {
        let from = block_key(container, start);
        let rows = BLOCK_DATA.scan(&self.db, &prefix(container), &from, limit);
        let rows = rows.map_err(|error| self.failed(&error))?;
        Ok(rows
            .into_iter()
            .map(|(key, row)| (i64::from_be_bytes(tail(&key)), row))
            .collect())
    }

    /// Whether the container has rows.
    pub fn any(&self, container: i64) -> OpResult<bool> {
        let any = |table| self.db.any(table, &prefix(container));
        let any = any(METADATA.name()).and_then(|yes| Ok(yes || any(BLOCK_DATA.name())?));
        any.map_err(|error| self.failed(&error))
    }

    /// Calls `each` for every block of a container, until it fails.
    pub fn each_block(
        &self,
        container: i64,
        mut each: impl FnMut(i64, BlockRow) -> OpResult<()>,
    ) -> OpResult<()> {
        let mut start = 0;
        loop {
            let page = self.blocks(container, start, PAGE)?;
            let Some((last, _)) = page.last().copied() else {
                return Ok(());
            };
            let full = page.len() == PAGE;
            page.into_iter()
                .try_for_each(|(local, row)| each(local, row))?;
            match last.checked_add(1) {
                Some(next) if full => start = next,
                _ => return Ok(()),
            }
        }
    }

    /// The chunk of a block that begins at `offset`.
    pub fn chunk(&self, container: i64, local: i64, offset: u64) -> OpResult<Option<Chunk>> {
        let row = CHUNK_INFO.get(&self.db, &chunk_key(container, local, offset));
        let row = row.map_err(|error| self.failed(&error))?;
        Ok(row.map(|row| to_chunk(offset, row)))
    }

    /// The chunks of a block that hold any byte of `[from, to)`, in order.
    pub fn chunks(&self, container: i64, local: i64, from: u64, to: u64) -> OpResult<Vec<Chunk>> {
        let prefix = chunk_prefix(container, local);
        let at = chunk_key(container, local, from);
        let first = self.db.last_at_or_below(CHUNK_INFO.name(), &prefix, &at);
        let first = first.map_err(|error| self.failed(&error))?;
        let low = first.map_or(at, |(key, _)| key);
        let range = KeyRange::prefix(&prefix)
            .from(&low)
            .before(&chunk_key(container, local, to));
        let rows = CHUNK_INFO.scan_range(&self.db, &range, false, usize::MAX);
        let rows = rows.map_err(|error| self.failed(&error))?;
        let chunks = rows
            .into_iter()
            .map(|(key, row)| to_chunk(u64::from_be_bytes(tail(&key)), row));
        Ok(chunks.filter(|chunk| chunk.end() > from).collect())
    }

    /// The counters of a container.
    pub fn counters(&self, container: i64) -> OpResult<Counters> {
        let mut values = [0; 4];
        for (value, name) in values.iter_mut().zip(COUNTERS) {
            let row = METADATA.get(&self.db, &name_key(container, name));
            *value = row
                .map_err(|error| self.failed(&error))?
                .map_or(0, |row| row.0);
        }
        let [blocks, bytes, bcsid, delete_tx] = values;
        Ok(Counters {
            blocks,
            bytes,
            bcsid,
            delete_tx,
        })
    }

    /// Blocks of a container that lack bytes here, and from where on.
    pub fn missing(&self, container: i64) -> OpResult<Vec<(i64, u64)>> {
        let rows = MISSING.scan(&self.db, &prefix(container), b"", usize::MAX);
        let rows = rows.map_err(|error| self.failed(&error))?;
        Ok(rows
            .into_iter()
            .map(|(key, row)| (i64::from_be_bytes(tail(&key)), row.0))
            .collect())
    }

    /// Deletions whose files may still be there: transaction and local ids.
    pub fn deletions(&self, container: i64) -> OpResult<Vec<(i64, Vec<i64>)>> {
        let rows = DELETE_TXNS.scan(&self.db, &prefix(container), b"", usize::MAX);
        let rows = rows.map_err(|error| self.failed(&error))?;
        let locals = |raw: Raw| {
            let ids = raw.0.chunks_exact(8);
            ids.map(|id| i64::from_be_bytes(id.try_into().unwrap_or_default()))
                .collect()
        };
        Ok(rows
            .into_iter()
            .map(|(key, raw)| (i64::from_be_bytes(tail(&key)), locals(raw)))
            .collect())
    }

    fn failed(&self, error: &KvError) -> OpError {
        OpError::internal(format!("{}: {error}", self.path.display()))
    }
}

fn to_chunk(offset: u64, row: ChunkRow) -> Chunk {
    Chunk {
        offset,
        len: row.len,
        window: row.window,
        crcs: Bytes::from(row.crcs),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::chunk::tests::chunk_of;

    fn db() -> (tempfile::TempDir, BlockDb) {
        let dir = tempfile::tempdir().unwrap();
        let db = BlockDb::open(&dir.path().join("db"), &BlockCache::new(1 << 20)).unwrap();
        (dir, db)
    }

    #[test]
    fn a_range_finds_the_chunks_that_hold_it() {
        let (_dir, db) = db();
        let mut change = Change::new(5);
        for i in 0..10u64 {
            change.put_chunk(9, &chunk_of(i * 2000, &[1; 2000]));
        }
        change.put_chunk(10, &chunk_of(0, &[1; 2000]));
        db.write(change, true).unwrap();
        let offsets = |from, to| -> Vec<u64> {
            db.chunks(5, 9, from, to)
                .unwrap()
                .into_iter()
                .map(|c| c.offset)
                .collect()
        };
        assert_eq!(offsets(0, 1), [0]);
        assert_eq!(offsets(1999, 2001), [0, 2000]);
        assert_eq!(offsets(4000, 6000), [4000]);
        assert_eq!(offsets(17_999, u64::MAX), [16_000, 18_000]);
        assert!(offsets(20_000, 30_000).is_empty());
        assert!(db.chunks(6, 9, 0, 100).unwrap().is_empty());
    }

    #[test]
    fn containers_do_not_see_each_others_rows() {
        let (_dir, db) = db();
        let row = BlockRow {
            size: 3,
            bcsid: 4,
            flags: -1,
        };
        for container in [1, 2] {
            let mut change = Change::new(container);
            change.put_block(7, &row);
            change.put_missing(7, 1);
            change.put_deletion(3, &[8, 9]);
            change.counters(&Counters {
                blocks: 1,
                bytes: 3,
                bcsid: 4,
                delete_tx: 3,
            });
            db.write(change, false).unwrap();
        }
        let mut change = Change::new(1);
        change.delete_all();
        db.write(change, true).unwrap();
        assert_eq!(db.block(1, 7).unwrap(), None);
        assert_eq!(db.counters(1).unwrap(), Counters::default());
        assert_eq!(db.block(2, 7).unwrap(), Some(row));
        assert_eq!(db.counters(2).unwrap().bcsid, 4);
        assert_eq!(db.missing(2).unwrap(), [(7, 1)]);
        assert_eq!(db.deletions(2).unwrap(), [(3, vec![8, 9])]);
        assert!(db.deletions(1).unwrap().is_empty());
    }

    #[test]
    fn deleting_a_block_takes_its_chunks_and_no_others() {
        let (_dir, db) = db();
        let mut change = Change::new(1);
        for local in [7, 8] {
            change.put_block(
                local,
                &BlockRow {
                    size: 10,
                    bcsid: 1,
                    flags: 0,
                },
            );
            change.put_chunk(local, &chunk_of(0, &[1; 10]));
        }
        db.write(change, false).unwrap();
        let mut change = Change::new(1);
        change.delete_block(7, &db.chunks(1, 7, 0, u64::MAX).unwrap());
        db.write(change, false).unwrap();
        assert!(db.chunks(1, 7, 0, 100).unwrap().is_empty());
        assert_eq!(db.chunks(1, 8, 0, 100).unwrap().len(), 1);
        let mut seen = Vec::new();
        db.each_block(1, |local, _| {
            seen.push(local);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [8]);
    }
}
