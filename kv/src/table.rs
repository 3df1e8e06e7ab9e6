//! Tables with types.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use crate::batch::WriteTarget;
use crate::codec::{EncodeKey, KeyCodec, ValueCodec};
use crate::error::KvError;
use crate::options::TableSpec;
use crate::range::KeyRange;
use crate::view::{ReadView, Row};

/// A table by name, with the types of its keys and values. Costs nothing to hold or copy.
pub struct Table<K, V> {
    spec: TableSpec,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.spec.name)
    }
}

impl<K, V> Table<K, V> {
    /// The table `name`, for lookups and scans.
    pub const fn new(name: &'static str) -> Self {
        Self::with_spec(TableSpec::lookup(name))
    }

    /// The table `name`, used as a queue.
    pub const fn queue(name: &'static str) -> Self {
        Self::with_spec(TableSpec::queue(name))
    }

    const fn with_spec(spec: TableSpec) -> Self {
        Self {
            spec,
            types: PhantomData,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.spec.name
    }

    /// What [`crate::Db::open`] has to know of it.
    pub const fn spec(&self) -> TableSpec {
        self.spec
    }
}

impl<K: KeyCodec, V: ValueCodec> Table<K, V> {
    /// The value of `key`.
    pub fn get<Q>(&self, view: &(impl ReadView + ?Sized), key: &Q) -> Result<Option<V>, KvError>
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        let value = view.get(self.name(), &key.encode())?;
        value.map(|bytes| self.decode_value(&bytes)).transpose()
    }

    /// Whether `key` is there.
    pub fn contains<Q>(&self, view: &(impl ReadView + ?Sized), key: &Q) -> Result<bool, KvError>
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        Ok(view.get(self.name(), &key.encode())?.is_some())
    }

    /// The values of several keys, in their order.
    pub fn multi_get(
        &self,
        view: &(impl ReadView + ?Sized),
        keys: &[K],
    ) -> Result<Vec<Option<V>>, KvError> {
        let keys: Vec<_> = keys.iter().map(EncodeKey::encode).collect();
        let values = view.multi_get(self.name(), &keys)?;
        let decode = |bytes: Vec<u8>| self.decode_value(&bytes);
        values
            .into_iter()
            .map(|v| v.map(decode).transpose())
            .collect()
    }

    /// Up to `limit` rows whose encoded keys start with `prefix`, from the encoded key `from` on.
    pub fn scan(
        &self,
        view: &(impl ReadView + ?Sized),
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(K, V)>, KvError> {
        self.decode_rows(view.scan(self.name(), prefix, from, limit)?)
    }

    /// Up to `limit` rows of `range`, from the last down when `reverse`.
    pub fn scan_range(
        &self,
        view: &(impl ReadView + ?Sized),
        range: &KeyRange,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<(K, V)>, KvError> {
        self.decode_rows(view.scan_range(self.name(), range, reverse, limit)?)
    }

    /// Sets a row.
    pub fn put<Q>(&self, target: &mut (impl WriteTarget + ?Sized), key: &Q, value: &V)
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        target.put(self.name(), key.encode(), value.encode());
    }

    /// Removes a row, if it is there.
    pub fn delete<Q>(&self, target: &mut (impl WriteTarget + ?Sized), key: &Q)
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        target.delete(self.name(), key.encode());
    }

    fn decode_value(&self, bytes: &[u8]) -> Result<V, KvError> {
        V::decode(bytes).map_err(|source| KvError::Codec {
            table: self.name(),
            source,
        })
    }

    fn decode_rows(&self, rows: Vec<Row>) -> Result<Vec<(K, V)>, KvError> {
        let decode = |(key, value): Row| {
            let key = K::decode(&key).map_err(|source| KvError::Codec {
                table: self.name(),
                source,
            })?;
            Ok((key, self.decode_value(&value)?))
        };
        rows.into_iter().map(decode).collect()
    }
}
