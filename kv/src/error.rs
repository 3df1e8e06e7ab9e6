//! What can go wrong with a database.

use std::path::PathBuf;

use crate::codec::CodecError;

/// A failed database operation.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// RocksDB refused or failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Engine {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// RocksDB's words.
        source: rocksdb::Error,
    },
    /// Another process has the database open, or this one a second time.
    #[error(
        "{} is in use by {}: stop that one, or configure another directory for this one",
        path.display(), holder.map_or("this process".to_owned(), |id| format!("process {id}"))
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// The process; none if it is this one.
        holder: Option<i32>,
    },
    /// A file operation beside RocksDB failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A table that the database was not opened with.
    #[error("no table {table} in {}", path.display())]
    UnknownTable {
        /// The table.
        table: String,
        /// The database.
        path: PathBuf,
    },
    /// The row is not in memory, where alone it was looked for.
    #[error("not in memory")]
    NotInMemory,
    /// A row that is not what its table holds.
    #[error("table {table} has a bad row: {source}")]
    Codec {
        /// The table.
        table: &'static str,
        /// What is wrong with the row.
        source: CodecError,
    },
}
