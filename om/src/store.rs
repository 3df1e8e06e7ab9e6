//! `om.db`: the OM's tables in one RocksDB.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ozone_common::disk::RealDisk;
use ozone_kv::{
    Db, DbOptions, KvError, Overlay, ReadView, Snapshot, TableSpec, finish_swap, key_after,
};

use crate::apply::Batched;
use crate::error::{OmError, Result};
use crate::rows::{Row, Rows};
use crate::tables::{self, Table};

/// Directory of the database.
pub(crate) const NAME: &str = "om.db";

/// Tables whose rows are written, read in order and deleted.
const QUEUES: &[Table] = &[
    tables::DELETED,
    tables::DELETED_DIRECTORY,
    tables::FREED_BLOCK,
    tables::REPLY,
    tables::FOLD,
    tables::SNAPSHOT_BLOCK,
    tables::CHANGE_LOG,
];

/// Unflushed bytes that take longer to write than a flush takes at all.
const MUCH: u64 = 8 << 20;

/// Between looks at whether readers are done with a database that is to be closed.
const CLOSE_PAUSE: Duration = Duration::from_millis(1);

/// The open database.
pub struct Store {
    /// The database.
    pub db: Arc<Db>,
}

/// What the tables are for.
pub(crate) fn specs() -> Vec<TableSpec> {
    let spec = |t: &Table| match QUEUES.contains(t) {
        true => TableSpec::queue(t.0),
        false => TableSpec::lookup(t.0),
    };
    tables::ALL.iter().map(spec).collect()
}

fn fault(error: KvError) -> OmError {
    match error {
        KvError::NotInMemory => OmError::NotInMemory,
        error => OmError::Storage(error.to_string()),
    }
}

impl Store {
    /// Opens `<dir>/om.db`, or makes it.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        finish_swap(&RealDisk, &path).map_err(fault)?;
        let db = Db::open(&path, &specs(), DbOptions::without_wal()).map_err(fault)?;
        Ok(Self { db: Arc::new(db) })
    }

    /// Waits until nobody else uses the database, and closes it.
    pub fn close(self: Arc<Self>) {
        let mut store = self;
        loop {
            match Arc::try_unwrap(store) {
                Ok(mut last) => {
                    while let Err(db) = Arc::try_unwrap(last.db) {
                        last.db = db;
                        std::thread::sleep(CLOSE_PAUSE);
                    }
                    return;
                }
                Err(shared) => store = shared,
            }
            std::thread::sleep(CLOSE_PAUSE);
        }
    }

    /// Changes to collect and then [write](Self::write).
    pub fn overlay(&self) -> Batched {
        Overlay::new(self.db.clone())
    }

    /// Writes the changes as one.
    pub fn write(&self, changes: Batched) -> Result<()> {
        self.db.write(&changes.into_batch(), false).map_err(fault)
    }

    /// The rows as of now, whatever is written meanwhile.
    pub fn view(&self) -> View<'_> {
        View(self.db.snapshot())
    }

    /// The same, without waiting for the disk: what is not in memory is [`OmError::NotInMemory`].
    pub fn view_in_memory(&self) -> View<'_> {
        View(self.db.snapshot_in_memory())
    }

    /// Everything written so far is on disk when this returns.
    pub fn flush(&self) -> Result<()> {
        self.db.flush().map_err(fault)
    }

    /// Flushes, where that takes long enough to be worth doing beforehand.
    pub fn flush_much(&self) -> Result<()> {
        match self.db.unflushed().map_err(fault)? {
            MUCH.. => self.flush(),
            _ => Ok(()),
        }
    }

    /// A hard-linked copy at `path`.
    pub fn checkpoint(&self, path: &Path) -> Result<()> {
        self.db.checkpoint(path).map_err(fault)
    }
}

/// The rows as of one moment: what several of them say together is true.
pub struct View<'a>(Snapshot<'a>);

impl Rows for View<'_> {
    fn get_raw(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        get(&self.0, table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        scan(&self.0, table, prefix, after, limit)
    }
}

impl Rows for Store {
    fn get_raw(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        get(&*self.db, table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        scan(&*self.db, table, prefix, after, limit)
    }
}

/// Puts the database `new` in the place of `<dir>/om.db`, which is closed. After a crash half-way, the
/// next [`Store::open`] finishes it or takes it back.
pub fn swap_in(dir: &Path, new: &Path) -> Result<()> {
    ozone_kv::swap_in(&RealDisk, &dir.join(NAME), new).map_err(fault)
}

/// The value of a key in any view.
pub fn get(view: &impl ReadView, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
    view.get(table.0, key).map_err(fault)
}

/// Rows after a key in any view.
pub fn scan(
    view: &impl ReadView,
    table: Table,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>> {
    let from = after.map(key_after).unwrap_or_default();
    view.scan(table.0, prefix, &from, limit).map_err(fault)
}
