//! How databases are laid out in memory and on disk.

use std::fmt;

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, Options};

/// Smallest piece of memory that a table takes: many tables share a small budget.
const ARENA_BLOCK: usize = 64 << 10;
/// Write-ahead log size at which memtables are flushed.
const MAX_WAL: u64 = 128 << 20;
/// Bits per key of a bloom filter: one false positive in a hundred.
const BLOOM_BITS: f64 = 10.0;

/// How a table is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableKind {
    /// Point lookups and ordered scans.
    #[default]
    Lookup,
    /// Rows that are written, read in order and deleted: what was deleted is compacted away soon,
    /// so that scans do not wade through it.
    Queue,
}

/// One table of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name on disk.
    pub name: &'static str,
    /// How it is used.
    pub kind: TableKind,
}

impl TableSpec {
    /// A table for lookups and scans.
    pub const fn lookup(name: &'static str) -> Self {
        Self {
            name,
            kind: TableKind::Lookup,
        }
    }

    /// A table that works as a queue.
    pub const fn queue(name: &'static str) -> Self {
        Self {
            name,
            kind: TableKind::Queue,
        }
    }
}

/// A cache of blocks that several databases may share.
#[derive(Clone)]
pub struct BlockCache(Cache);

impl BlockCache {
    /// A cache of this many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Cache::new_lru_cache(bytes))
    }

    /// Bytes in use.
    pub fn usage(&self) -> usize {
        self.0.get_usage()
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockCache({} bytes used)", self.usage())
    }
}

/// Options of a database.
#[derive(Debug, Clone)]
pub struct DbOptions {
    /// Whether writes go to RocksDB's own log. Without it they survive a crash only once flushed,
    /// and flushes are atomic over all tables: for state whose log is elsewhere.
    pub wal: bool,
    /// Bytes that unflushed writes of all tables may take together.
    pub memtable_total: usize,
    /// The block cache.
    pub cache: BlockCache,
    /// Most files open at a time.
    pub max_open_files: i32,
    /// Threads for flushes and compactions.
    pub background_jobs: i32,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self {
            wal: true,
            memtable_total: 32 << 20,
            cache: BlockCache::new(64 << 20),
            max_open_files: 512,
            background_jobs: 2,
        }
    }
}

impl DbOptions {
    /// For a state machine, whose log is the Raft log.
    pub fn without_wal() -> Self {
        Self {
            wal: false,
            ..Self::default()
        }
    }

    pub(crate) fn database(&self, create: bool) -> Options {
        let mut options = Options::default();
        options.create_if_missing(create);
        options.create_missing_column_families(create);
        options.set_atomic_flush(!self.wal);
        options.set_db_write_buffer_size(self.memtable_total);
        options.set_max_total_wal_size(MAX_WAL);
        options.set_max_open_files(self.max_open_files);
        options.set_max_background_jobs(self.background_jobs);
        options.set_bytes_per_sync(1 << 20);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(4 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    pub(crate) fn table(&self, kind: TableKind) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache.0);
        blocks.set_block_size(16 << 10);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        match kind {
            TableKind::Lookup => blocks.set_bloom_filter(BLOOM_BITS, false),
            TableKind::Queue => options.add_compact_on_deletion_collector_factory(4096, 1024, 0.5),
        }
        options.set_block_based_table_factory(&blocks);
        options.set_write_buffer_size(self.memtable_total);
        options.set_arena_block_size(ARENA_BLOCK);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_compression_per_level(&compression());
        options
    }
}

/// New data is not compressed: it is rewritten soon.
fn compression() -> [DBCompressionType; 7] {
    let mut levels = [DBCompressionType::Lz4; 7];
    levels[..2].fill(DBCompressionType::None);
    levels
}
