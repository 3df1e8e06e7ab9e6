//! Changes of rows that take effect together.

use ozone_kv::{Batch, Raw, WriteTarget, prefix_end};

use super::values::{ChunkRow, U64Row};
use super::{
    BLOCK_DATA, BlockRow, CHUNK_INFO, COUNTERS, Counters, DELETE_TXNS, METADATA, MISSING,
    block_key, chunk_key, name_key, prefix,
};
use crate::chunk::Chunk;

/// Changes of one container's rows, written together.
#[derive(Debug)]
pub struct Change {
    container: i64,
    pub(super) batch: Batch,
}

impl Change {
    /// Nothing yet.
    pub fn new(container: i64) -> Self {
        Self {
            container,
            batch: Batch::new(),
        }
    }

    /// Sets the row of a block.
    pub fn put_block(&mut self, local: i64, row: &BlockRow) {
        BLOCK_DATA.put(&mut self.batch, &block_key(self.container, local), row);
    }

    /// Sets the row of a chunk; one at the same offset is replaced.
    pub fn put_chunk(&mut self, local: i64, chunk: &Chunk) {
        let row = ChunkRow {
            len: chunk.len,
            window: chunk.window,
            crcs: chunk.crcs.to_vec(),
        };
        CHUNK_INFO.put(
            &mut self.batch,
            &chunk_key(self.container, local, chunk.offset),
            &row,
        );
    }

    /// Removes all rows of a block, `chunks` being all it has.
    pub fn delete_block(&mut self, local: i64, chunks: &[Chunk]) {
        BLOCK_DATA.delete(&mut self.batch, &block_key(self.container, local));
        MISSING.delete(&mut self.batch, &block_key(self.container, local));
        for chunk in chunks {
            CHUNK_INFO.delete(
                &mut self.batch,
                &chunk_key(self.container, local, chunk.offset),
            );
        }
    }

    /// Sets the counters.
    pub fn counters(&mut self, counters: &Counters) {
        let values = [
            counters.blocks,
            counters.bytes,
            counters.bcsid,
            counters.delete_tx,
        ];
        for (name, value) in COUNTERS.iter().zip(values) {
            METADATA.put(
                &mut self.batch,
                &name_key(self.container, name),
                &U64Row(value),
            );
        }
    }

    /// Notes that the block lacks its bytes from `from` on here.
    pub fn put_missing(&mut self, local: i64, from: u64) {
        MISSING.put(
            &mut self.batch,
            &block_key(self.container, local),
            &U64Row(from),
        );
    }

    /// The block has all its bytes.
    pub fn delete_missing(&mut self, local: i64) {
        MISSING.delete(&mut self.batch, &block_key(self.container, local));
    }

    /// Notes files that are to be removed.
    pub fn put_deletion(&mut self, transaction: i64, locals: &[i64]) {
        let value = locals
            .iter()
            .flat_map(|local| local.to_be_bytes())
            .collect();
        DELETE_TXNS.put(
            &mut self.batch,
            &block_key(self.container, transaction),
            &Raw(value),
        );
    }

    /// The files are gone.
    pub fn delete_deletion(&mut self, transaction: i64) {
        DELETE_TXNS.delete(&mut self.batch, &block_key(self.container, transaction));
    }

    /// Removes every row of the container.
    pub fn delete_all(&mut self) {
        let prefix = prefix(self.container);
        let tables = [
            BLOCK_DATA.name(),
            CHUNK_INFO.name(),
            METADATA.name(),
            DELETE_TXNS.name(),
            MISSING.name(),
        ];
        for table in tables {
            delete_prefix(&mut self.batch, table, &prefix);
        }
    }
}

fn delete_prefix(batch: &mut Batch, table: &'static str, prefix: &[u8]) {
    // A prefix that ends in `|` always has an end.
    if let Some(end) = prefix_end(prefix) {
        batch.delete_range(table, prefix.to_vec(), end);
    }
}
