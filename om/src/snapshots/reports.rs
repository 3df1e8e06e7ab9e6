//! Differences on disk: one may have millions of entries, and what it is made of more. They are in a database
//! of their own, in the directory that Ozone keeps its own in. Nothing in it outlives the process.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ozone_common::disk::{Disk, RealDisk};
use ozone_kv::{
    Batch, BlockCache, Db, DbOptions, KeyRange, ReadView, TableSpec, WriteTarget, key_after,
    prefix_end,
};
use parking_lot::Mutex;

use super::difference::Difference;
use crate::error::{OmError, Result};
use crate::rows::Row;

/// Its directory, beside `om.db`.
const DIR: &str = "db.snapshots/diffState/db.snapdiff";
/// Bytes of blocks cached, and of rows that are not flushed yet.
const MEMORY: usize = 8 << 20;
/// Rows read or written at a time.
const PAGE: usize = 1000;

/// Names to look at: directory, name -> nothing.
pub(super) const PLACE: &str = "places";
/// What is not where it was: object, side, directory, name -> what was seen.
pub(super) const MOVED: &str = "moved";
/// Entries in the order of the report: entry -> nothing.
pub(super) const ENTRY: &str = "entries";
/// Entries by number: number -> entry.
const NUMBERED: &str = "numbered";

const TABLES: [&str; 4] = [PLACE, MOVED, ENTRY, NUMBERED];

fn fault(error: impl Display) -> OmError {
    OmError::Storage(format!("differences: {error}"))
}

/// All reports of this process.
pub struct Reports {
    dir: PathBuf,
    /// Made with the first report.
    db: Mutex<Option<Arc<Db>>>,
    next: AtomicU64,
}

impl Reports {
    /// Those of the OM that keeps its data in `data`; removes what a process before it has left.
    pub fn new(data: &Path) -> Result<Self> {
        let dir = data.join(DIR);
        if RealDisk.exists(&dir).map_err(fault)? {
            RealDisk.remove_dir_all(&dir).map_err(fault)?;
        }
        Ok(Self {
            dir,
            db: Mutex::default(),
            next: AtomicU64::new(1),
        })
    }

    fn db(&self) -> Result<Arc<Db>> {
        let mut open = self.db.lock();
        if let Some(db) = &*open {
            return Ok(db.clone());
        }
        let options = DbOptions {
            cache: BlockCache::new(MEMORY),
            memtable_total: MEMORY,
            ..DbOptions::without_wal()
        };
        let db = Db::open(&self.dir, &TABLES.map(TableSpec::lookup), options).map_err(fault)?;
        Ok(open.insert(Arc::new(db)).clone())
    }

    /// An empty report.
    pub fn begin(&self) -> Result<Report> {
        Ok(Report {
            db: self.db()?,
            number: self.next.fetch_add(1, Ordering::Relaxed),
            entries: 0,
        })
    }
}

/// One difference: what it is made of, and in the end its entries. Its rows go with it.
pub struct Report {
    db: Arc<Db>,
    number: u64,
    entries: u64,
}

impl Report {
    /// How many entries it has, once it is complete.
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// At most `limit` entries, from the one with this number on.
    pub fn page(&self, from: u64, limit: usize) -> Result<Vec<Difference>> {
        let prefix = self.number.to_be_bytes();
        let range = KeyRange {
            low: self.key(&from.to_be_bytes()),
            high: prefix_end(&prefix),
        };
        let rows = self.db.scan_range(NUMBERED, &range, false, limit);
        let entries = rows.map_err(fault)?.into_iter();
        entries
            .map(|(_, entry)| Difference::decode(&entry).ok_or_else(|| fault("bad entry")))
            .collect()
    }

    /// The rows of a table, in pages.
    pub(super) fn rows(&self, table: &'static str) -> RowPages<'_> {
        RowPages {
            report: self,
            table,
            after: None,
        }
    }

    /// Puts rows into the tables.
    pub(super) fn writer(&self) -> Writer<'_> {
        Writer {
            report: self,
            batch: Batch::new(),
        }
    }

    /// Numbers the entries, when all are there.
    pub(super) fn complete(&mut self) -> Result<()> {
        let mut number = 0_u64;
        let mut writer = self.writer();
        let mut entries = self.rows(ENTRY);
        while let Some(page) = entries.next()? {
            for (entry, _) in page {
                writer.put(NUMBERED, &number.to_be_bytes(), entry)?;
                number += 1;
            }
        }
        writer.finish()?;
        self.clear(&[PLACE, MOVED, ENTRY])?;
        self.entries = number;
        Ok(())
    }

    fn clear(&self, tables: &[&'static str]) -> Result<()> {
        let low = self.number.to_be_bytes();
        let high = (self.number + 1).to_be_bytes();
        let mut batch = Batch::new();
        for table in tables {
            batch.delete_range(table, low.to_vec(), high.to_vec());
        }
        self.db.write(&batch, false).map_err(fault)
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.number.to_be_bytes(), key].concat()
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Err(error) = self.clear(&TABLES) {
            tracing::warn!(%error, "a difference that nobody wants any more stays until the next start");
        }
    }
}

/// A walk over a table of a report.
pub(super) struct RowPages<'a> {
    report: &'a Report,
    table: &'static str,
    after: Option<Vec<u8>>,
}

impl RowPages<'_> {
    /// Some more rows; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Row>>> {
        let prefix = self.report.number.to_be_bytes();
        let range = KeyRange {
            low: match self.after.take() {
                Some(last) => key_after(&last),
                None => prefix.to_vec(),
            },
            high: prefix_end(&prefix),
        };
        let rows = self.report.db.scan_range(self.table, &range, false, PAGE);
        let rows = rows.map_err(fault)?;
        self.after = rows.last().map(|(key, _)| key.clone());
        let bare = |(key, value): Row| (key[prefix.len()..].to_vec(), value);
        let rows: Vec<_> = rows.into_iter().map(bare).collect();
        Ok((!rows.is_empty()).then_some(rows))
    }
}

/// Collects rows and writes them by the page.
pub(super) struct Writer<'a> {
    report: &'a Report,
    batch: Batch,
}

impl Writer<'_> {
    /// Puts a row.
    pub(super) fn put(&mut self, table: &'static str, key: &[u8], value: Vec<u8>) -> Result<()> {
        self.batch.put(table, self.report.key(key), value);
        match self.batch.ops().len() {
            ..PAGE => Ok(()),
            _ => self.write(),
        }
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.report.db.write(&batch, false).map_err(fault)
    }
}
