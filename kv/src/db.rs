//! A database: open, read, write, flush, checkpoint.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, FlushOptions, Options, ReadOptions,
    ReadTier, SingleThreaded, SnapshotWithThreadMode, WriteBatch, WriteOptions,
};

use crate::batch::{Batch, Op};
use crate::error::KvError;
use crate::lock;
use crate::options::{DbOptions, TableSpec};
use crate::range::KeyRange;
use crate::view::{ReadView, Row};

type Rocks = DBWithThreadMode<SingleThreaded>;

/// An open database. One process at a time may open it for writing; any thread may use it.
pub struct Db {
    rocks: Rocks,
    path: PathBuf,
    tables: Vec<&'static str>,
    /// Tables asked for that a read-only database does not have: they read as empty.
    absent: BTreeSet<&'static str>,
    options: DbOptions,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Db({})", self.path.display())
    }
}

impl Db {
    /// Opens the database in `path` for reading and writing; makes it, and tables that it lacks.
    pub fn open(path: &Path, tables: &[TableSpec], options: DbOptions) -> Result<Self, KvError> {
        let created = std::fs::create_dir_all(path);
        created.map_err(|source| KvError::Io {
            doing: "create directory",
            path: path.to_owned(),
            source,
        })?;
        let families = descriptors(tables, &options);
        let opened = Rocks::open_cf_descriptors(&options.database(true), path, families);
        let rocks = opened.map_err(|source| match lock::holder(path, &source) {
            Some(in_use) => in_use,
            None => engine("open database", path, source),
        })?;
        Ok(Self {
            rocks,
            path: path.to_owned(),
            tables: tables.iter().map(|table| table.name).collect(),
            absent: BTreeSet::new(),
            options,
        })
    }

    /// Opens a checkpoint, or a database that nobody writes, for reading alone. Tables that it
    /// lacks, because it is older than they are, read as empty.
    pub fn open_read_only(
        path: &Path,
        tables: &[TableSpec],
        options: DbOptions,
    ) -> Result<Self, KvError> {
        let fail = |source| engine("open checkpoint", path, source);
        let database = options.database(false);
        let present = Rocks::list_cf(&Options::default(), path).map_err(fail)?;
        let is_present = |table: &TableSpec| present.iter().any(|name| name == table.name);
        let (present, absent): (Vec<_>, Vec<_>) = tables.iter().copied().partition(is_present);
        let families = descriptors(&present, &options);
        let opened = Rocks::open_cf_descriptors_read_only(&database, path, families, false);
        Ok(Self {
            rocks: opened.map_err(fail)?,
            path: path.to_owned(),
            tables: present.iter().map(|table| table.name).collect(),
            absent: absent.iter().map(|table| table.name).collect(),
            options,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of its tables.
    pub fn tables(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.tables.iter().copied()
    }

    /// Applies all of `batch` at once. With `sync` it is durable when this returns; without, once a
    /// later sync or flush returns. A database without WAL has to flush for a sync: leave that to
    /// whoever flushes.
    pub fn write(&self, batch: &Batch, sync: bool) -> Result<(), KvError> {
        let mut rocks_batch = WriteBatch::default();
        for op in batch.ops() {
            self.add(&mut rocks_batch, op)?;
        }
        let mut options = WriteOptions::default();
        options.disable_wal(!self.options.wal);
        options.set_sync(sync && self.options.wal);
        let written = self.rocks.write_opt(rocks_batch, &options);
        written.map_err(|source| self.fail("write to", source))?;
        if sync && !self.options.wal {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes everything written so far durable, all tables at one moment.
    pub fn flush(&self) -> Result<(), KvError> {
        let mut families = vec![self.family("default")?];
        for table in &self.tables {
            families.push(self.family(table)?);
        }
        let families: Vec<_> = families.iter().collect();
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let flushed = self.rocks.flush_cfs_opt(&families, &options);
        flushed.map_err(|source| self.fail("flush", source))
    }

    /// The value of `key` as a crash right now would leave it in a database without WAL: what was
    /// flushed, whatever has been written since.
    #[cfg(test)]
    pub(crate) fn get_flushed(
        &self,
        table: &'static str,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, KvError> {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::Persisted);
        let found = self.rocks.get_cf_opt(self.family(table)?, key, &options);
        found.map_err(|source| self.fail("read", source))
    }

    /// Makes a copy in `dir` (which must not exist) of everything written so far, durable, by hard
    /// links to files that never change: cheap, whatever the size, when little has to be flushed.
    pub fn checkpoint(&self, dir: &Path) -> Result<(), KvError> {
        let made = Checkpoint::new(&self.rocks).and_then(|c| c.create_checkpoint(dir));
        made.map_err(|source| engine("make checkpoint", dir, source))?;
        let parent = dir.parent().unwrap_or(Path::new("."));
        let synced = File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(|source| KvError::Io {
            doing: "sync directory",
            path: parent.to_owned(),
            source,
        })
    }

    /// A view that stays as the database is now. Cheap, but not free: one serves many reads.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            db: self,
            rocks: self.rocks.snapshot(),
            in_memory: false,
        }
    }

    /// As [`snapshot`](Self::snapshot), of what is in memory alone: no read waits for the disk, and what is not there
    /// is [`KvError::NotInMemory`].
    pub fn snapshot_in_memory(&self) -> Snapshot<'_> {
        Snapshot {
            in_memory: true,
            ..self.snapshot()
        }
    }

    /// Bytes that a flush would write, roughly.
    pub fn unflushed(&self) -> Result<u64, KvError> {
        let bytes = |table| self.property(table, rocksdb::properties::CUR_SIZE_ALL_MEM_TABLES);
        self.tables().map(bytes).sum()
    }

    pub(crate) fn property(
        &self,
        table: &'static str,
        name: &rocksdb::properties::PropName,
    ) -> Result<u64, KvError> {
        let value = self.rocks.property_int_value_cf(&self.family(table)?, name);
        Ok(value
            .map_err(|source| self.fail("read properties of", source))?
            .unwrap_or(0))
    }

    fn add(&self, batch: &mut WriteBatch, op: &Op) -> Result<(), KvError> {
        match op {
            Op::Put { table, key, value } => batch.put_cf(&self.family(table)?, key, value),
            Op::Delete { table, key } => batch.delete_cf(&self.family(table)?, key),
            Op::DeleteRange { table, low, high } => {
                batch.delete_range_cf(&self.family(table)?, low, high);
            }
        }
        Ok(())
    }

    fn family(&self, table: &str) -> Result<&ColumnFamily, KvError> {
        let found = self.rocks.cf_handle(table);
        found.ok_or_else(|| KvError::UnknownTable {
            table: table.to_owned(),
            path: self.path.clone(),
        })
    }

    fn fail(&self, doing: &'static str, source: rocksdb::Error) -> KvError {
        engine(doing, &self.path, source)
    }

    fn scan_with(
        &self,
        mut options: ReadOptions,
        table: &'static str,
        range: &KeyRange,
        direction: Direction,
    ) -> Result<Vec<Row>, KvError> {
        if range.is_empty() || self.absent.contains(table) || direction.limit == 0 {
            return Ok(Vec::new());
        }
        options.set_iterate_lower_bound(range.low.clone());
        if let Some(high) = &range.high {
            options.set_iterate_upper_bound(high.clone());
        }
        let mut iterator = self.rocks.raw_iterator_cf_opt(self.family(table)?, options);
        match direction.reverse {
            true => iterator.seek_to_last(),
            false => iterator.seek_to_first(),
        }
        let mut rows = Vec::new();
        while let Some((key, value)) = iterator.item() {
            rows.push((key.to_vec(), value.to_vec()));
            if rows.len() == direction.limit {
                return Ok(rows);
            }
            match direction.reverse {
                true => iterator.prev(),
                false => iterator.next(),
            }
        }
        let status = iterator.status();
        status.map_err(|source| self.fail("scan", source))?;
        Ok(rows)
    }
}

/// Which way a scan goes, and how far.
struct Direction {
    reverse: bool,
    limit: usize,
}

impl ReadView for Db {
    fn get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        if self.absent.contains(table) {
            return Ok(None);
        }
        let found = self.rocks.get_cf(self.family(table)?, key);
        found.map_err(|source| self.fail("read", source))
    }

    fn scan_range(
        &self,
        table: &'static str,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Row>, KvError> {
        let direction = Direction { reverse, limit };
        self.scan_with(ReadOptions::default(), table, range, direction)
    }

    fn multi_get(
        &self,
        table: &'static str,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        if self.absent.contains(table) {
            return Ok(vec![None; keys.len()]);
        }
        let found = self
            .rocks
            .batched_multi_get_cf(self.family(table)?, keys, false);
        found
            .into_iter()
            .map(|value| match value {
                Ok(value) => Ok(value.map(|slice| slice.to_vec())),
                Err(source) => Err(self.fail("read", source)),
            })
            .collect()
    }
}

/// A view of a database at one moment.
pub struct Snapshot<'a> {
    db: &'a Db,
    rocks: SnapshotWithThreadMode<'a, Rocks>,
    in_memory: bool,
}

impl Snapshot<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.rocks);
        if self.in_memory {
            options.set_read_tier(ReadTier::BlockCache);
        }
        options
    }
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.db.path.display())
    }
}

impl ReadView for Snapshot<'_> {
    fn get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        if self.db.absent.contains(table) {
            return Ok(None);
        }
        let family = self.db.family(table)?;
        let found = self.db.rocks.get_cf_opt(family, key, &self.options());
        found.map_err(|source| self.db.fail("read", source))
    }

    fn scan_range(
        &self,
        table: &'static str,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Row>, KvError> {
        let direction = Direction { reverse, limit };
        self.db.scan_with(self.options(), table, range, direction)
    }
}

fn descriptors(tables: &[TableSpec], options: &DbOptions) -> Vec<ColumnFamilyDescriptor> {
    let default = TableSpec::lookup("default");
    let all = std::iter::once(&default).chain(tables);
    all.map(|table| ColumnFamilyDescriptor::new(table.name, options.table(table.kind)))
        .collect()
}

fn engine(doing: &'static str, path: &Path, source: rocksdb::Error) -> KvError {
    if source.kind() == rocksdb::ErrorKind::Incomplete {
        return KvError::NotInMemory;
    }
    KvError::Engine {
        doing,
        path: path.to_owned(),
        source,
    }
}
