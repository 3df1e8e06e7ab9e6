//! Ordered tables on disk: the only crate that knows RocksDB.
//!
//! A [`Db`] is a set of named tables (column families). Rows are read through a [`ReadView`]: the
//! live database, a [`Snapshot`] of it, a checkpoint opened read-only, or an [`Overlay`] that shows
//! changes before they are written. They are changed by a [`Batch`], which takes effect as a whole
//! or not at all. [`Table`] puts types on keys and values.
//!
//! All functions block; async code goes through [`blocking`].

mod batch;
mod blocking;
mod codec;
mod db;
mod error;
mod lock;
mod options;
mod overlay;
mod range;
mod swap;
mod table;
#[cfg(test)]
mod tests;
mod view;

pub use batch::{Batch, Op, WriteTarget};
pub use blocking::{BlockingError, blocking};
pub use codec::{CodecError, EncodeKey, KeyCodec, Raw, ValueCodec};
pub use db::{Db, Snapshot};
pub use error::KvError;
pub use options::{BlockCache, DbOptions, TableKind, TableSpec};
pub use overlay::Overlay;
pub use range::{KeyRange, key_after, prefix_end};
pub use swap::{finish_swap, swap_in};
pub use table::Table;
pub use view::{ReadView, Row};
