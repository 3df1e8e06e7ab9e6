//! The state machine of SCM: applies commands to the model and to `scm.db`, together.
//!
//! `scm.db` has no write-ahead log of its own: the Raft log is that. Effects, the position in the
//! log and the model change in one step; operations in one batch see one another's effects.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ozone_common::disk::RealDisk;
use ozone_kv::{Db, DbOptions, Overlay, ReadView, WriteTarget, finish_swap, swap_in};
use ozone_raft::{ApplyBatch, StateMachine, StateMachineError};
use parking_lot::{RwLock, RwLockReadGuard};
use prost::Message;

use crate::model::{DeletedQueue, Model, QueueError, View};
use crate::ops::{COMMAND_VERSION, Entry, Refusal, Reply};
use crate::rows::DeletedBlocksRow;
use crate::tables::{self, TableError};

/// Name of the copy inside a checkpoint.
const COPY: &str = "scm.db";

/// The replicated state, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// None only while it is replaced, or after that failed.
    db: RwLock<Option<Db>>,
    model: RwLock<Model>,
}

/// The store could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed, or holds what it should not.
    #[error("{}: {source}", path.display())]
    Table {
        /// The database.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database was closed by a replacement that failed.
    #[error("{}: the database is closed", path.display())]
    Closed {
        /// The database.
        path: PathBuf,
    },
}

impl Store {
    /// Opens or makes the database in `path`. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        finish_swap(&RealDisk, path).map_err(|e| table_error(path, e.into()))?;
        let (db, model) = open(path)?;
        Ok(Self {
            path: path.to_owned(),
            db: RwLock::new(Some(db)),
            model: RwLock::new(model),
        })
    }

    /// The replicated state. To be held briefly: apply waits for it.
    pub(crate) fn model(&self) -> RwLockReadGuard<'_, Model> {
        self.model.read()
    }

    /// Up to `limit` transactions of deleted blocks after `after`, in order. Blocks.
    pub(crate) fn deleted_blocks(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, DeletedBlocksRow)>, StoreError> {
        self.with_db(|db| tables::transactions(db, after, limit))
    }

    fn with_db<T>(&self, read: impl FnOnce(&Db) -> Result<T, TableError>) -> Result<T, StoreError> {
        let guard = self.db.read();
        let db = guard.as_ref().ok_or_else(|| StoreError::Closed {
            path: self.path.clone(),
        })?;
        read(db).map_err(|source| table_error(&self.path, source))
    }

    /// Puts the database in `copy` in the place of this one. A crash leaves one or the other.
    fn replace(&self, copy: &Path) -> Result<(), StoreError> {
        let mut guard = self.db.write();
        *guard = None;
        swap_in(&RealDisk, &self.path, copy).map_err(|e| table_error(&self.path, e.into()))?;
        let (db, model) = open(&self.path)?;
        *self.model.write() = model;
        *guard = Some(db);
        Ok(())
    }
}

impl StateMachine for Store {
    fn load(&self) -> Result<Option<Vec<u8>>, StateMachineError> {
        let position =
            self.with_db(|db| Ok(db.get(tables::TRANSACTION_INFO, tables::POSITION_KEY)?));
        position.map_err(StateMachineError::new)
    }

    fn apply(&self, batch: ApplyBatch<'_>) -> Result<Vec<Bytes>, StateMachineError> {
        let applied = self.with_db(|db| {
            let mut model = self.model.write();
            let mut rows = Overlay::new(db);
            let mut replies = Vec::with_capacity(batch.commands.len());
            for command in batch.commands {
                let reply = apply_one(&mut model, &mut rows, &command.data);
                match reply {
                    Ok(reply) => replies.push(Bytes::from(reply.encode_to_vec())),
                    Err(error) => return Ok(Err(error)),
                }
            }
            let key = tables::POSITION_KEY.to_vec();
            rows.put(tables::TRANSACTION_INFO, key, batch.position.to_vec());
            db.write(&rows.into_batch(), false)?;
            Ok(Ok(replies))
        });
        applied.map_err(StateMachineError::new)?
    }

    fn flush(&self) -> Result<(), StateMachineError> {
        let flushed = self.with_db(|db| Ok(db.flush()?));
        flushed.map_err(StateMachineError::new)
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), StateMachineError> {
        let made = self.with_db(|db| Ok(db.checkpoint(&dir.join(COPY))?));
        made.map_err(StateMachineError::new)
    }

    fn restore(&self, dir: &Path) -> Result<(), StateMachineError> {
        self.replace(&dir.join(COPY))
            .map_err(StateMachineError::new)
    }
}

/// Deleted-block transactions through the changes of a batch.
struct Queue<'a, V>(&'a Overlay<V>);

impl<V: ReadView> DeletedQueue for Queue<'_, V> {
    fn transaction(&self, id: u64) -> Result<Option<DeletedBlocksRow>, QueueError> {
        tables::transaction(self.0, id).map_err(|error| QueueError(Box::new(error)))
    }
}

/// Applies one entry. An entry that makes no sense is answered and passed over, because stopping
/// would stop every replica again after each restart; one of newer software stops this replica,
/// because passing it over would make it differ from the others.
fn apply_one<V: ReadView>(
    model: &mut Model,
    rows: &mut Overlay<V>,
    data: &[u8],
) -> Result<Reply, StateMachineError> {
    let entry = match Entry::decode(data) {
        Ok(entry) => entry,
        Err(error) => {
            tracing::error!(%error, "log entry that is no command");
            return Ok(Reply::from(&Refusal::Malformed("no command")));
        }
    };
    if entry.version > COMMAND_VERSION {
        return Err(StateMachineError::new(format!(
            "the log has commands of version {}, this software knows up to {COMMAND_VERSION}: \
             start a newer version",
            entry.version
        )));
    }
    let Some(command) = entry.command else {
        return Ok(Reply::from(&Refusal::Malformed("empty command")));
    };
    let op = command.op();
    let queue = Queue(rows);
    let view = View {
        model,
        queue: &queue,
    };
    if let Err(refusal) = op.validate(view) {
        metrics::counter!("scm_refused_total", "op" => op.name()).increment(1);
        tracing::debug!(op = op.name(), %refusal, "refused");
        return Ok(Reply::from(&refusal));
    }
    let mut changes = Vec::new();
    let answer = op
        .apply(view, &mut changes)
        .map_err(StateMachineError::new)?;
    for change in &changes {
        tables::write(rows, change);
        model.absorb(change);
    }
    metrics::counter!("scm_applied_total", "op" => op.name()).increment(1);
    Ok(Reply::from(answer))
}

fn open(path: &Path) -> Result<(Db, Model), StoreError> {
    let opened = Db::open(path, tables::ALL, DbOptions::without_wal());
    let db = opened.map_err(|source| table_error(path, source.into()))?;
    let model = tables::load(&db).map_err(|source| table_error(path, source))?;
    Ok((db, model))
}

fn table_error(path: &Path, source: TableError) -> StoreError {
    StoreError::Table {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
#[path = "state_machine_test.rs"]
mod tests;
