//! What an operation works with while it is applied.
//!
//! Apply is pure: it sees the rows, the command's index, and what the leader decided before the
//! command entered the log. It has no clock, no randomness and no network to reach for.

use std::sync::Arc;

use ozone_kv::{Db, Overlay, WriteTarget};
use ozone_proto::bucket::OBJECT_STORE;
use ozone_proto::namespace::{
    BucketRow, Change, DirRef, Inode, InodeRow, OrphanRow, Replication, VolumeRow,
};
use ozone_proto::om::Status;
use prost::Message;

use crate::error::{OmError, Result, refuse};
use crate::namespace::{self, Found, Level, ROW_VERSION, Slot, layout};
use crate::rows::{Row, Rows};
use crate::snapshots::change_log::{self, Changed};
use crate::tables::{self, Table};

/// Who asks, as far as rules of apply need it.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    /// User name.
    pub user: String,
    /// POSIX user id.
    pub uid: u32,
    /// POSIX group id.
    pub gid: u32,
}

/// The rows that a batch of commands has changed so far.
pub type Batched = Overlay<Arc<Db>>;

/// What a command of the log gives to the operations in it.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Log index.
    pub index: u64,
    /// The leader's clock when it accepted the command, ns since the epoch.
    pub time_ns: u64,
    /// The leader's default for data of which neither request nor bucket say how it is kept.
    pub default_replication: Option<Replication>,
    /// Who asks.
    pub asker: Asker,
    /// The session in whose name it is asked, 0 for none.
    pub session: u64,
}

impl Given {
    /// Log time, milliseconds since the epoch.
    pub fn time_ms(&self) -> i64 {
        i64::try_from(self.time_ns / 1_000_000).unwrap_or(i64::MAX)
    }

    /// Applies one operation: its effects enter `rows`, or none of them when it fails. Returns with its
    /// answer what sessions may have cached and is no longer so.
    pub fn apply<T>(
        &self,
        rows: &mut Batched,
        operation: impl FnOnce(&mut Apply<'_>) -> Result<T>,
    ) -> Result<(T, Vec<Change>)> {
        let mut apply = Apply {
            rows: Overlay::new(&*rows),
            index: self.index,
            time_ns: self.time_ns,
            given: self,
            inline_values: 0,
            removed: self.index,
            changes: Vec::new(),
            changed: Vec::new(),
        };
        let answer = operation(&mut apply)?;
        change_log::write(&mut apply)?;
        let changes = apply.changes;
        rows.apply(apply.rows.into_batch());
        Ok((answer, changes))
    }
}

/// The world of one operation that is being applied.
pub struct Apply<'a> {
    /// Rows as of this operation, over the effects of those before it. Thrown away if it fails.
    pub rows: Overlay<&'a Batched>,
    /// Log index: the update id of every row that the operation writes.
    pub index: u64,
    /// When the operation was made, ns since the epoch: what inodes are stamped with.
    pub time_ns: u64,
    /// The command that the operation is in, with time as the log has it.
    pub given: &'a Given,
    /// Inline values filed under the command's index so far: the number of the next.
    pub inline_values: u64,
    /// Snapshots made after this command do not show what is removed: the command itself, or an earlier
    /// one that removed the directory around it.
    pub removed: u64,
    /// What sessions may have cached and is no longer so.
    pub changes: Vec<Change>,
    /// What snapshots may show otherwise, by bucket.
    pub changed: Vec<(u64, Changed)>,
}

impl Rows for Apply<'_> {
    fn get_raw(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        crate::store::get(&self.rows, table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        crate::store::scan(&self.rows, table, prefix, after, limit)
    }
}

impl Apply<'_> {
    /// Log time, milliseconds since the epoch: what the OM's own deadlines count from.
    pub fn time_ms(&self) -> i64 {
        self.given.time_ms()
    }

    /// Writes a row.
    pub fn put(&mut self, table: Table, key: &[u8], row: &impl Message) {
        self.put_raw(table, key, row.encode_to_vec());
    }

    /// Writes a value.
    pub fn put_raw(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.rows.put(table.0, key.to_vec(), value);
    }

    /// Deletes a row.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.rows.delete(table.0, key.to_vec());
    }

    /// A new object id: from 2, never reused, below what marks object-store buckets.
    pub fn next_id(&mut self) -> Result<u64> {
        self.next_ids(1)
    }

    /// `count` new object ids; the first of them.
    pub fn next_ids(&mut self, count: u64) -> Result<u64> {
        let next = match self.get_raw(tables::META, tables::NEXT_ID_KEY)? {
            None => 2,
            Some(bytes) => u64::from_be_bytes(
                bytes
                    .try_into()
                    .map_err(|_| OmError::Storage("metaTable: bad id counter".into()))?,
            ),
        };
        if next.saturating_add(count) > OBJECT_STORE {
            let message = format!("{count} object ids: {next} and all below are used up");
            return Err(OmError::refused(Status::NoSpace, message));
        }
        self.put_raw(
            tables::META,
            tables::NEXT_ID_KEY,
            (next + count).to_be_bytes().to_vec(),
        );
        Ok(next)
    }

    /// Notes that an inode's attributes or content have changed.
    pub fn inode_changed(&mut self, object_id: u64) {
        self.changes.push(Change {
            object_id,
            ..Default::default()
        });
    }

    /// Notes that an inode has lost its last name and is kept for sessions.
    pub fn inode_gone(&mut self, object_id: u64) {
        self.changes.push(Change {
            object_id,
            gone: true,
            ..Default::default()
        });
    }

    /// Notes that another inode, or none, is now under a name of `dir`.
    pub fn name_changed(&mut self, dir: &DirRef, name: &[u8]) {
        if let Level::Bucket { bucket, parent, .. } = namespace::level(dir) {
            self.place_changed(bucket, parent, name);
        }
        self.changes.push(Change {
            object_id: namespace::id_of(dir),
            name: name.to_vec().into(),
            ..Default::default()
        });
    }

    /// Notes for snapshots that what is at a place of the bucket has changed. What is in a directory that
    /// is gone is nowhere.
    pub fn place_changed(&mut self, bucket: u64, directory: u64, name: &[u8]) {
        if self.removed == self.index {
            let name = name.to_vec();
            self.changed
                .push((bucket, Changed::Name { directory, name }));
        }
    }

    /// Writes an inode's row back to where it was found, as a change of the inode.
    pub fn store(&mut self, slot: &Slot, row: &InodeRow) -> Result<()> {
        self.inode_changed(row.object_id);
        if let Slot::Key { dir, name } = slot {
            self.place_changed(dir.bucket_id, dir.parent_id, name);
        }
        if let Slot::Row { table, key } = slot {
            match *table {
                tables::INODE => {
                    if let Some(bucket) = tables::bucket_of_id_key(key) {
                        self.changed.push((bucket, Changed::Inode(row.object_id)));
                    }
                }
                _ => {
                    if let Some(place) = tables::parse_child_key(key) {
                        self.place_changed(place.bucket, place.parent, place.name);
                    }
                }
            }
        }
        let row = InodeRow {
            version: ROW_VERSION,
            update_id: row.update_id.max(self.removed),
            ..row.clone()
        };
        self.store_unchanged(slot, row)
    }

    /// As [`store`](Self::store), for what nobody can see to be a change.
    pub fn store_unchanged(&mut self, slot: &Slot, row: InodeRow) -> Result<()> {
        match slot {
            Slot::Root => self.put(tables::META, tables::ROOT_KEY, &row),
            Slot::Volume(name) => {
                let mut volume = namespace::volume(self, name)?;
                volume.inode = Some(row);
                self.put_volume(&volume);
            }
            Slot::Bucket { volume, bucket } => {
                let mut bucket = namespace::bucket_entry(self, volume, bucket)?;
                bucket.inode = Some(row);
                self.put_bucket(&bucket);
            }
            Slot::Row { table, key } => self.put(*table, key, &row),
            Slot::Key { dir, name } => {
                let (table, key) = layout::of(dir).row_key(self, dir, name)?;
                self.put(table, &key, &row);
            }
            Slot::Orphan(key) => {
                let mut orphan: OrphanRow = self
                    .get(tables::ORPHAN, key)?
                    .ok_or_else(|| refuse::stale(row.object_id))?;
                orphan.inode = Some(row);
                self.put(tables::ORPHAN, key, &orphan);
            }
        }
        Ok(())
    }

    /// Writes a volume's row.
    pub fn put_volume(&mut self, volume: &VolumeRow) {
        self.put(tables::VOLUME, &tables::volume_key(&volume.name), volume);
    }

    /// Writes a bucket's row.
    pub fn put_bucket(&mut self, bucket: &BucketRow) {
        self.put(
            tables::BUCKET,
            &tables::bucket_key(&bucket.volume, &bucket.name),
            bucket,
        );
    }

    /// A change among the names of `dir`: its times move, and `subdirectories` are added to its links.
    /// The directory's row as it is now, for the answer.
    pub fn touch_directory(&mut self, dir: &DirRef, subdirectories: i32) -> Result<InodeRow> {
        let Found { slot, mut row } = namespace::directory(self, dir)?;
        row.version = ROW_VERSION;
        row.update_id = self.index;
        row.mtime_ns = self.time_ns;
        row.ctime_ns = self.time_ns;
        row.nlink = row.nlink.saturating_add_signed(subdirectories);
        self.inode_changed(row.object_id);
        self.store_unchanged(&slot, row.clone())?;
        Ok(row)
    }

    /// Accounts for names and bytes that came into or left the bucket of `dir`.
    pub fn account(&mut self, dir: &DirRef, names: i64, bytes: i64) -> Result<()> {
        let Level::Bucket { volume, bucket, .. } = namespace::level(dir) else {
            return Ok(());
        };
        if names == 0 && bytes == 0 {
            return Ok(());
        }
        let Some(mut row) = namespace::bucket_by_id(self, volume, bucket)? else {
            return Ok(());
        };
        row.used_namespace = row.used_namespace.saturating_add_signed(names);
        row.used_bytes = row.used_bytes.saturating_add_signed(bytes);
        self.put_bucket(&row);
        Ok(())
    }
}

/// How a directory is told to a client that has just changed its names: without its place.
pub fn placeless(row: InodeRow) -> Option<Inode> {
    Some(Inode {
        row: Some(row),
        ..Default::default()
    })
}
