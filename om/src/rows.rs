//! Reading rows, from wherever they are: the live database, a batch that is being applied, a
//! checkpoint. Everything that only looks is written against [`Rows`].

use prost::Message;

use crate::error::{OmError, Result};
use crate::tables::Table;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Something that rows can be read from.
pub trait Rows {
    /// The value of `key`.
    fn get_raw(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Rows whose key starts with `prefix` and is greater than `after` (if given), in key order, at
    /// most `limit`.
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>>;

    /// Which snapshot's rows these are, 0 for those that are there now.
    fn snapshot(&self) -> u64 {
        0
    }

    /// The row of `key`, decoded.
    fn get<M: Message + Default>(&self, table: Table, key: &[u8]) -> Result<Option<M>>
    where
        Self: Sized,
    {
        self.get_raw(table, key)?
            .map(|bytes| decode(table, &bytes))
            .transpose()
    }

    /// Whether any key starts with `prefix`.
    fn any(&self, table: Table, prefix: &[u8]) -> Result<bool> {
        Ok(!self.scan(table, prefix, None, 1)?.is_empty())
    }
}

impl<R: Rows + ?Sized> Rows for &R {
    fn get_raw(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        (**self).get_raw(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        (**self).scan(table, prefix, after, limit)
    }

    fn snapshot(&self) -> u64 {
        (**self).snapshot()
    }
}

/// Decodes a row, naming the table when it cannot be.
pub fn decode<M: Message + Default>(table: Table, bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|e| OmError::Storage(format!("{}: undecodable row: {e}", table.0)))
}
