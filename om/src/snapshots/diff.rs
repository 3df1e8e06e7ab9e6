//! The difference of two snapshots of a bucket: what was created, deleted, renamed and modified.
//!
//! Only the places that the change log names are looked at, in both checkpoints. What is inside a
//! directory that is gone is not told again, nor what moved with its directory. What is found on the way is kept in
//! a [`Report`], on disk, so that memory does not grow with the number of changes.

use std::collections::HashMap;

use ozone_proto::namespace::{DirRef, InodeRow};
use prost::Message;

use super::change_log::{Changed, Changes};
use super::difference::Difference;
use super::reports::{ENTRY, MOVED, PLACE, Report, Writer};
use crate::error::{OmError, Result};
use crate::namespace;
use crate::rows::{Row, Rows};
use crate::tables;

/// Deeper than any path the kernel passes on.
const MAX_DEPTH: usize = 4096;
/// Paths of directories that are remembered.
const PATHS: usize = 10_000;

/// A name in a directory.
pub type Place = (u64, Vec<u8>);

/// Two snapshots of a bucket, and what has changed between them.
pub struct Comparison<'a, L, R> {
    /// From the first to the last.
    pub changes: Changes<'a, L>,
    /// The older one: of a directory that was removed with all that it held, only the directory was logged.
    pub from: &'a R,
    /// The newer one.
    pub to: &'a R,
    /// The bucket's root.
    pub root: DirRef,
}

impl<L: Rows, R: Rows> Comparison<'_, L, R> {
    /// Fills the report; false when it was given up, because `wanted` said so.
    pub fn compute(mut self, report: &mut Report, wanted: impl Fn() -> bool) -> Result<bool> {
        let mut writer = report.writer();
        while let Some(changes) = self.changes.more()? {
            if !wanted() {
                return Ok(false);
            }
            for change in changes {
                self.add_places(change, &mut writer)?;
            }
        }
        writer.finish()?;
        let mut sides = (
            Side::new(self.from, self.root),
            Side::new(self.to, self.root),
        );
        let mut places = report.rows(PLACE);
        while let Some(page) = places.next()? {
            if !wanted() {
                return Ok(false);
            }
            let mut writer = report.writer();
            for (key, _) in page {
                look_at(&key, &mut sides, &mut writer)?;
            }
            writer.finish()?;
        }
        pair_moved(report, &mut sides.1)?;
        report.complete()?;
        Ok(true)
    }

    /// The names that the change is about, in either snapshot.
    fn add_places(&self, change: Changed, writer: &mut Writer<'_>) -> Result<()> {
        match change {
            Changed::Name { directory, name } => put_place(writer, directory, &name),
            Changed::Inode(object) => {
                add_links(self.from, object, writer)?;
                add_links(self.to, object, writer)
            }
        }
    }
}

fn add_links(rows: &impl Rows, object: u64, writer: &mut Writer<'_>) -> Result<()> {
    let prefix = tables::number_key(&[object]);
    for (key, _) in rows.scan(tables::LINK, &prefix, None, usize::MAX)? {
        if let Some([_, directory]) = key.get(..16).and_then(tables::parse_number_key::<2>) {
            put_place(writer, directory, &key[16..])?;
        }
    }
    Ok(())
}

fn put_place(writer: &mut Writer<'_>, directory: u64, name: &[u8]) -> Result<()> {
    let key = [&directory.to_be_bytes(), name].concat();
    writer.put(PLACE, &key, Vec::new())
}

fn put_entry(writer: &mut Writer<'_>, entry: &Difference) -> Result<()> {
    writer.put(ENTRY, &entry.encode(), Vec::new())
}

/// Looks at a place in both snapshots: what is there in both is compared, the rest waits for its counterpart.
fn look_at<R: Rows>(
    place: &[u8],
    (from, to): &mut (Side<'_, R>, Side<'_, R>),
    writer: &mut Writer<'_>,
) -> Result<()> {
    let (directory, name) = place.split_first_chunk().ok_or_else(bad_row)?;
    let directory = u64::from_be_bytes(*directory);
    match (from.look(directory, name)?, to.look(directory, name)?) {
        (Some(old), Some(new)) if old.row.object_id == new.row.object_id => {
            if differs(&old.row, &new.row) {
                put_entry(writer, &Difference::Modified(old.path))?;
            }
        }
        (old, new) => {
            for (side, seen) in [(LOST, old), (GAINED, new)] {
                let Some(seen) = seen else { continue };
                let object = seen.row.object_id.to_be_bytes();
                let key = [&object, [side].as_slice(), place].concat();
                writer.put(MOVED, &key, seen.encode())?;
            }
        }
    }
    Ok(())
}

/// It was there in the first snapshot.
const LOST: u8 = 0;
/// It is there in the second.
const GAINED: u8 = 1;

/// Where an object is no more, and where it is new.
#[derive(Default)]
struct Moved {
    object: Vec<u8>,
    lost: Vec<Seen>,
    gained: Vec<Seen>,
}

impl Moved {
    fn add(&mut self, (key, value): &Row) -> Result<()> {
        let seen = Seen::decode(key, value).ok_or_else(bad_row)?;
        match key.get(8) {
            Some(&LOST) => self.lost.push(seen),
            _ => self.gained.push(seen),
        }
        Ok(())
    }

    /// What each lost name has become is told by as many gained ones as there are.
    fn tell(self, to: &mut Side<'_, impl Rows>, writer: &mut Writer<'_>) -> Result<()> {
        let both = self.lost.len().min(self.gained.len());
        for old in &self.lost[both..] {
            // With its directory, it is gone anyway.
            if to.path(old.directory)?.is_some() {
                put_entry(writer, &Difference::Deleted(old.path.clone()))?;
            }
        }
        for new in &self.gained[both..] {
            put_entry(writer, &Difference::Created(new.path.clone()))?;
        }
        for (old, new) in self.lost.into_iter().zip(self.gained) {
            if differs(&old.row, &new.row) {
                put_entry(writer, &Difference::Modified(old.path.clone()))?;
            }
            put_entry(writer, &Difference::Renamed(old.path, new.path))?;
        }
        Ok(())
    }
}

/// Tells what has become of what is not where it was, object by object.
fn pair_moved(report: &Report, to: &mut Side<'_, impl Rows>) -> Result<()> {
    let mut writer = report.writer();
    let mut moved = Moved::default();
    let mut rows = report.rows(MOVED);
    while let Some(page) = rows.next()? {
        for row in page {
            let object = row.0.get(..8).ok_or_else(bad_row)?;
            if object != moved.object {
                std::mem::take(&mut moved).tell(to, &mut writer)?;
                moved.object = object.to_vec();
            }
            moved.add(&row)?;
        }
    }
    moved.tell(to, &mut writer)?;
    writer.finish()
}

fn bad_row() -> OmError {
    OmError::Storage("differences: bad row".into())
}

/// Whether a user sees that it is not the same any more. The times of a directory, and how often it is
/// linked, follow from what is in it.
fn differs(old: &InodeRow, new: &InodeRow) -> bool {
    let attributes = |row: &InodeRow| {
        let owner = (row.mode, row.uid, row.gid, row.rdev);
        (owner, row.xattrs.clone(), row.metadata.clone())
    };
    let content = |row: &InodeRow| {
        let target = row.symlink_target.clone();
        (row.size, row.data_version, row.mtime_ns, target)
    };
    attributes(old) != attributes(new) || !namespace::is_dir(old) && content(old) != content(new)
}

struct Seen {
    directory: u64,
    path: Vec<u8>,
    row: InodeRow,
}

impl Seen {
    /// Directory and object are in the key.
    fn encode(&self) -> Vec<u8> {
        let length = (self.path.len() as u64).to_be_bytes();
        [&length, self.path.as_slice(), &self.row.encode_to_vec()].concat()
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let directory = key.get(9..17)?.try_into().ok()?;
        let (length, rest) = value.split_first_chunk()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (path, row) = rest.split_at_checked(length)?;
        Some(Self {
            directory: u64::from_be_bytes(directory),
            path: path.to_vec(),
            row: InodeRow::decode(row).ok()?,
        })
    }
}

/// One of the two snapshots.
struct Side<'a, R: Rows> {
    rows: &'a R,
    root: DirRef,
    /// Of directories; `None`: it is not in the tree.
    paths: HashMap<u64, Option<Vec<u8>>>,
}

impl<'a, R: Rows> Side<'a, R> {
    fn new(rows: &'a R, root: DirRef) -> Self {
        let paths = HashMap::new();
        Self { rows, root, paths }
    }

    fn look(&mut self, directory: u64, name: &[u8]) -> Result<Option<Seen>> {
        let Some(mut path) = self.path(directory)? else {
            return Ok(None);
        };
        let dir = DirRef {
            parent_id: directory,
            ..self.root
        };
        let found = namespace::child(self.rows, &dir, name)?;
        path.extend_from_slice(name);
        Ok(found.map(|found| Seen {
            directory,
            path,
            row: found.row,
        }))
    }

    /// The path of a directory, with a slash at its end.
    fn path(&mut self, directory: u64) -> Result<Option<Vec<u8>>> {
        if self.paths.len() > PATHS {
            self.paths.clear();
        }
        let (mut id, mut below) = (directory, Vec::new());
        let found = loop {
            if id == self.root.parent_id {
                break Some(Vec::new());
            }
            if let Some(known) = self.paths.get(&id) {
                break known.clone();
            }
            let (volume, bucket) = (self.root.volume_id, self.root.bucket_id);
            match namespace::place_of(self.rows, volume, bucket, id)? {
                Some(place) if below.len() < MAX_DEPTH => {
                    below.push((id, place.name));
                    id = place.parent_id;
                }
                _ => break None,
            }
        };
        if found.is_none() {
            self.paths.insert(id, None);
        }
        let mut path = found;
        for (id, name) in below.into_iter().rev() {
            if let Some(path) = &mut path {
                path.extend_from_slice(&name);
                path.push(b'/');
            }
            self.paths.insert(id, path.clone());
        }
        Ok(path)
    }
}
