//! Changes that take effect together.

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Sets a row.
    Put {
        /// The table.
        table: &'static str,
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Removes a row, if it is there.
    Delete {
        /// The table.
        table: &'static str,
        /// The key.
        key: Vec<u8>,
    },
    /// Removes all rows from `low` on and before `high`.
    DeleteRange {
        /// The table.
        table: &'static str,
        /// First key removed.
        low: Vec<u8>,
        /// First key kept.
        high: Vec<u8>,
    },
}

/// Something that takes changes.
pub trait WriteTarget {
    /// Takes one change; later ones win.
    fn change(&mut self, op: Op);

    /// Sets a row.
    fn put(&mut self, table: &'static str, key: Vec<u8>, value: Vec<u8>) {
        self.change(Op::Put { table, key, value });
    }

    /// Removes a row, if it is there.
    fn delete(&mut self, table: &'static str, key: Vec<u8>) {
        self.change(Op::Delete { table, key });
    }

    /// Removes all rows from `low` on and before `high`. Cheap to write however many there are; many
    /// overlapping ranges make reads slow.
    fn delete_range(&mut self, table: &'static str, low: Vec<u8>, high: Vec<u8>) {
        self.change(Op::DeleteRange { table, low, high });
    }
}

/// Changes in order, written as a whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    ops: Vec<Op>,
}

impl Batch {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The changes, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Adds the changes of `other` after its own.
    pub fn append(&mut self, other: Batch) {
        self.ops.extend(other.ops);
    }
}

impl IntoIterator for Batch {
    type Item = Op;
    type IntoIter = std::vec::IntoIter<Op>;

    fn into_iter(self) -> Self::IntoIter {
        self.ops.into_iter()
    }
}

impl WriteTarget for Batch {
    fn change(&mut self, op: Op) {
        self.ops.push(op);
    }
}
