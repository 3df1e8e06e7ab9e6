//! Reading rows, wherever they are.

use std::sync::Arc;

use crate::error::KvError;
use crate::range::{KeyRange, key_after};

/// Key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Something that rows can be read from, all of one moment or of the present.
pub trait ReadView: Send + Sync {
    /// The value of `key`.
    fn get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Up to `limit` rows of `range` in order of key, or from the last down when `reverse`. Fewer
    /// than `limit` mean that there are no more.
    fn scan_range(
        &self,
        table: &'static str,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Row>, KvError>;

    /// The values of several keys, in their order.
    fn multi_get(
        &self,
        table: &'static str,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }

    /// Up to `limit` rows whose keys start with `prefix`, from the key `from` on (an empty `from`
    /// starts at the first), in order.
    fn scan(
        &self,
        table: &'static str,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Row>, KvError> {
        self.scan_range(table, &KeyRange::prefix(prefix).from(from), false, limit)
    }

    /// The row with the greatest key that starts with `prefix` and is not above `at`.
    fn last_at_or_below(
        &self,
        table: &'static str,
        prefix: &[u8],
        at: &[u8],
    ) -> Result<Option<Row>, KvError> {
        let range = KeyRange::prefix(prefix).before(&key_after(at));
        Ok(self.scan_range(table, &range, true, 1)?.pop())
    }

    /// Whether any key starts with `prefix`.
    fn any(&self, table: &'static str, prefix: &[u8]) -> Result<bool, KvError> {
        Ok(!self.scan(table, prefix, b"", 1)?.is_empty())
    }
}

macro_rules! read_through {
    ($($pointer:ty),*) => {$(
        impl<V: ReadView + ?Sized> ReadView for $pointer {
            fn get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
                (**self).get(table, key)
            }

            fn scan_range(
                &self,
                table: &'static str,
                range: &KeyRange,
                reverse: bool,
                limit: usize,
            ) -> Result<Vec<Row>, KvError> {
                (**self).scan_range(table, range, reverse, limit)
            }

            fn multi_get(
                &self,
                table: &'static str,
                keys: &[Vec<u8>],
            ) -> Result<Vec<Option<Vec<u8>>>, KvError> {
                (**self).multi_get(table, keys)
            }
        }
    )*};
}

read_through!(&V, Arc<V>, Box<V>);
