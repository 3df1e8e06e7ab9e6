//! The checkpoints of snapshots: `om.db/snapshots/om.db-<snapshot id>/`, hard links to the files that
//! the database had. They are made complete or not at all, and opened while somebody reads them.

use std::collections::HashSet;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ozone_common::disk::{Disk, RealDisk, create_dir_durably};
use ozone_kv::{BlockCache, Db, DbOptions};
use ozone_proto::namespace::SnapshotRow;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::error::{OmError, Result};
use crate::rows::{Row, Rows};
use crate::snapshots;
use crate::store;
use crate::tables::Table;

/// Directory of checkpoints inside the database's.
const NAME: &str = "snapshots";
/// What the names of checkpoints begin with.
const PREFIX: &str = "om.db-";
/// Bytes of blocks cached for all of them together.
const CACHE: usize = 16 << 20;
/// Files of one checkpoint kept open.
const OPEN_FILES: i32 = 64;

/// The checkpoints of one database.
pub struct Checkpoints {
    dir: PathBuf,
    cache: BlockCache,
    /// Most databases kept open.
    limit: usize,
    /// The one used last comes last.
    open: Mutex<Vec<(Uuid, Arc<Db>)>>,
}

fn fault(error: impl Display) -> OmError {
    OmError::Storage(error.to_string())
}

impl Checkpoints {
    /// Those of the database in `db_dir`, of which `limit` are kept open.
    pub fn new(db_dir: &Path, limit: usize) -> Self {
        Self {
            dir: db_dir.join(NAME),
            cache: BlockCache::new(CACHE),
            limit: limit.max(1),
            open: Mutex::default(),
        }
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.dir.join(format!("{PREFIX}{id}"))
    }

    /// Whether the snapshot's checkpoint is there; if so, it is complete.
    pub fn has(&self, row: &SnapshotRow) -> Result<bool> {
        RealDisk
            .exists(&self.path(snapshots::id(row)))
            .map_err(fault)
    }

    /// Makes the snapshot's checkpoint of the database as it is now.
    pub fn make(&self, db: &Db, row: &SnapshotRow) -> Result<()> {
        create_dir_durably(&RealDisk, &self.dir).map_err(fault)?;
        db.checkpoint(&self.path(snapshots::id(row))).map_err(fault)
    }

    /// The rows as the snapshot has them.
    pub fn open(&self, row: &SnapshotRow) -> Result<Checkpoint> {
        let id = snapshots::id(row);
        let checkpoint = |db| Checkpoint {
            db,
            index: row.index,
        };
        let mut open = self.open.lock();
        if let Some(at) = open.iter().position(|(known, _)| *known == id) {
            let used = open.remove(at);
            let db = used.1.clone();
            open.push(used);
            return Ok(checkpoint(db));
        }
        let options = DbOptions {
            cache: self.cache.clone(),
            max_open_files: OPEN_FILES,
            ..DbOptions::without_wal()
        };
        let path = self.path(id);
        let db = Db::open_read_only(&path, &store::specs(), options).map_err(|error| {
            fault(format!(
                "the checkpoint of snapshot {} in {} cannot be read: {error}",
                row.name,
                path.display()
            ))
        })?;
        let db = Arc::new(db);
        if open.len() >= self.limit {
            open.remove(0);
        }
        open.push((id, db.clone()));
        Ok(checkpoint(db))
    }

    /// Whether there are checkpoints of other snapshots than `kept`.
    pub fn has_others(&self, kept: &HashSet<Uuid>) -> Result<bool> {
        if !RealDisk.exists(&self.dir).map_err(fault)? {
            return Ok(false);
        }
        let there = RealDisk.list(&self.dir).map_err(fault)?;
        Ok(there.iter().any(|entry| !is_kept(&entry.path, kept)))
    }

    /// Removes the checkpoints of all other snapshots than `kept`, and what is left of those that were
    /// never complete.
    pub fn sweep(&self, kept: &HashSet<Uuid>) -> Result<()> {
        self.open.lock().retain(|(id, _)| kept.contains(id));
        if !RealDisk.exists(&self.dir).map_err(fault)? {
            return Ok(());
        }
        for entry in RealDisk.list(&self.dir).map_err(fault)? {
            if !is_kept(&entry.path, kept) {
                RealDisk.remove_dir_all(&entry.path).map_err(fault)?;
            }
        }
        Ok(())
    }

    /// Hard-linked copies of all checkpoints, for a copy of the database at `db_dir`.
    pub fn copy_to(&self, db_dir: &Path) -> Result<()> {
        if !RealDisk.exists(&self.dir).map_err(fault)? {
            return Ok(());
        }
        for checkpoint in RealDisk.list(&self.dir).map_err(fault)? {
            let name = checkpoint.path.file_name().unwrap_or_default();
            copy_dir(&checkpoint.path, &db_dir.join(NAME).join(name)).map_err(fault)?;
        }
        Ok(())
    }

    /// Forgets what is open: the directory becomes another one.
    pub fn close(&self) {
        self.open.lock().clear();
    }
}

fn is_kept(path: &Path, kept: &HashSet<Uuid>) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let id = name.and_then(|name| name.strip_prefix(PREFIX));
    let id = id.and_then(|id| Uuid::parse_str(id).ok());
    id.is_some_and(|id| kept.contains(&id))
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    create_dir_durably(&RealDisk, to)?;
    for file in RealDisk.list(from)? {
        if let Some(name) = file.path.file_name() {
            RealDisk.hard_link(&file.path, &to.join(name))?;
        }
    }
    RealDisk.sync_dir(to)
}

/// The rows as a snapshot has them.
#[derive(Clone)]
pub struct Checkpoint {
    db: Arc<Db>,
    index: u64,
}

impl Rows for Checkpoint {
    fn get_raw(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        store::get(&*self.db, table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        store::scan(&*self.db, table, prefix, after, limit)
    }

    fn snapshot(&self) -> u64 {
        self.index
    }
}
