//! What a database holds and takes, for operators.

use rocksdb::properties as prop;

use crate::db::Db;
use crate::error::KvError;

/// One table's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSize {
    /// The table.
    pub table: &'static str,
    /// Rows, roughly.
    pub rows: u64,
    /// Bytes not flushed yet.
    pub memtable_bytes: u64,
    /// Bytes in files.
    pub file_bytes: u64,
    /// Bytes that compaction still has to rewrite, roughly.
    pub pending_compaction_bytes: u64,
}

impl Db {
    /// The size of every table.
    pub fn sizes(&self) -> Result<Vec<TableSize>, KvError> {
        let table_size = |table| {
            Ok(TableSize {
                table,
                rows: self.property(table, prop::ESTIMATE_NUM_KEYS)?,
                memtable_bytes: self.property(table, prop::CUR_SIZE_ALL_MEM_TABLES)?,
                file_bytes: self.property(table, prop::TOTAL_SST_FILES_SIZE)?,
                pending_compaction_bytes: self
                    .property(table, prop::ESTIMATE_PENDING_COMPACTION_BYTES)?,
            })
        };
        self.tables().map(table_size).collect()
    }

    /// Bytes that a flush would write, roughly.
    pub fn unflushed(&self) -> Result<u64, KvError> {
        let bytes = |table| self.property(table, prop::CUR_SIZE_ALL_MEM_TABLES);
        self.tables().map(bytes).sum()
    }

    /// Sets the gauges `rocksdb_*` of this database, labelled `db="<name>"`.
    pub fn publish_metrics(&self, name: &'static str) -> Result<(), KvError> {
        for size in self.sizes()? {
            let labels = [("db", name), ("table", size.table)];
            metrics::gauge!("rocksdb_estimate_num_keys", &labels).set(size.rows as f64);
            metrics::gauge!("rocksdb_memtable_bytes", &labels).set(size.memtable_bytes as f64);
            metrics::gauge!("rocksdb_sst_file_bytes", &labels).set(size.file_bytes as f64);
            metrics::gauge!("rocksdb_pending_compaction_bytes", &labels)
                .set(size.pending_compaction_bytes as f64);
        }
        metrics::gauge!("rocksdb_block_cache_bytes", "db" => name).set(self.cache_usage() as f64);
        Ok(())
    }
}
