//! What a datanode remembers of its pipelines: who they are, and how far each is applied and
//! durable.

use std::path::{Path, PathBuf};

use ozone_kv::{Batch, BlockCache, Db, DbOptions, KvError, Raw, Table};
use ozone_proto::hdds::{Pipeline, PipelineState};

use crate::error::{OpError, OpResult, StartError};

const PIPELINES: Table<String, Pipeline> = Table::new("pipelines");
const POSITIONS: Table<String, Raw> = Table::new("positions");

/// A small database beside the logs.
pub(crate) struct PipelineStore {
    db: Db,
    path: PathBuf,
}

impl PipelineStore {
    /// Opens the database in `path`, made if missing. Blocks.
    pub(crate) fn open(path: &Path, cache: &BlockCache) -> Result<Self, StartError> {
        let options = DbOptions {
            cache: cache.clone(),
            memtable_total: 2 << 20,
            ..DbOptions::default()
        };
        let db = Db::open(path, &[PIPELINES.spec(), POSITIONS.spec()], options);
        let path = path.to_path_buf();
        match db {
            Ok(db) => Ok(Self { db, path }),
            Err(error) => Err(StartError::Database {
                path,
                reason: error.to_string(),
            }),
        }
    }

    /// Remembers a pipeline as open, durably. Blocks.
    pub(crate) fn remember(&self, id: &str, info: &Pipeline) -> OpResult<()> {
        let mut info = info.clone();
        info.set_state(PipelineState::PipelineOpen);
        let mut batch = Batch::new();
        PIPELINES.put(&mut batch, &id.to_owned(), &info);
        self.write(&batch)
    }

    /// The pipeline is not opened again; its members stay known. Blocks.
    pub(crate) fn mark_closed(&self, id: &str) -> OpResult<()> {
        let Some(mut info) = self.pipeline(id)? else {
            return Ok(());
        };
        info.set_state(PipelineState::PipelineClosed);
        let mut batch = Batch::new();
        PIPELINES.put(&mut batch, &id.to_owned(), &info);
        POSITIONS.delete(&mut batch, &id.to_owned());
        self.write(&batch)
    }

    /// A pipeline that is or was open here.
    pub(crate) fn pipeline(&self, id: &str) -> OpResult<Option<Pipeline>> {
        PIPELINES
            .get(&self.db, &id.to_owned())
            .map_err(|error| self.failed(&error))
    }

    /// Pipelines that are to be opened.
    pub(crate) fn open_pipelines(&self) -> OpResult<Vec<Pipeline>> {
        let all = PIPELINES.scan(&self.db, b"", b"", usize::MAX);
        let all = all.map_err(|error| self.failed(&error))?;
        let open = all.into_iter().map(|(_, info)| info);
        Ok(open
            .filter(|info| info.state() == PipelineState::PipelineOpen)
            .collect())
    }

    /// How far a pipeline is applied and durable.
    pub(crate) fn position(&self, id: &str) -> OpResult<Option<Vec<u8>>> {
        let row = POSITIONS.get(&self.db, &id.to_owned());
        Ok(row.map_err(|error| self.failed(&error))?.map(|raw| raw.0))
    }

    /// A pipeline is applied and durable up to here. Blocks.
    pub(crate) fn set_position(&self, id: &str, position: Vec<u8>) -> OpResult<()> {
        let mut batch = Batch::new();
        POSITIONS.put(&mut batch, &id.to_owned(), &Raw(position));
        self.write(&batch)
    }

    fn write(&self, batch: &Batch) -> OpResult<()> {
        self.db
            .write(batch, true)
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &KvError) -> OpError {
        OpError::internal(format!("{}: {error}", self.path.display()))
    }
}
