//! The difference of two snapshots of a bucket: what was created, deleted, renamed and modified.
//!
//! Only the places that the change log names are looked at, in both checkpoints. What is inside a
//! directory that is gone is not told again, nor what moved with its directory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ozone_proto::namespace::{DirRef, InodeRow};
use ozone_proto::om::DiffReportEntryProto;
use ozone_proto::om::diff_report_entry_proto::DiffTypeProto;

use super::change_log::Changed;
use crate::error::Result;
use crate::namespace;
use crate::rows::Rows;
use crate::tables;

/// Deeper than any path the kernel passes on.
const MAX_DEPTH: usize = 4096;

/// A name in a directory.
pub type Place = (u64, Vec<u8>);

/// One line of the difference; the order of kinds is that of the report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It was in the first snapshot alone.
    Deleted(Vec<u8>),
    /// It has another name.
    Renamed(Vec<u8>, Vec<u8>),
    /// It is in the second snapshot alone.
    Created(Vec<u8>),
    /// It has other content or attributes; the name is that in the first snapshot.
    Modified(Vec<u8>),
}

impl Difference {
    /// As the protocol says it, with paths that begin with `./`.
    pub fn entry(&self) -> DiffReportEntryProto {
        let text = |path: &[u8]| Some(format!("./{}", String::from_utf8_lossy(path)));
        let (kind, source, target) = match self {
            Self::Deleted(path) => (DiffTypeProto::Delete, text(path), None),
            Self::Renamed(from, to) => (DiffTypeProto::Rename, text(from), text(to)),
            Self::Created(path) => (DiffTypeProto::Create, text(path), None),
            Self::Modified(path) => (DiffTypeProto::Modify, text(path), None),
        };
        DiffReportEntryProto {
            diff_type: Some(kind.into()),
            source_path: source,
            target_path: target,
        }
    }
}

/// The names that the changes are about, in either snapshot.
pub fn places(
    changes: BTreeSet<Changed>,
    from: &impl Rows,
    to: &impl Rows,
) -> Result<BTreeSet<Place>> {
    let mut places = BTreeSet::new();
    for change in changes {
        match change {
            Changed::Name { directory, name } => {
                places.insert((directory, name));
            }
            Changed::Inode(object) => {
                links(from, object, &mut places)?;
                links(to, object, &mut places)?;
            }
        }
    }
    Ok(places)
}

fn links(rows: &impl Rows, object: u64, places: &mut BTreeSet<Place>) -> Result<()> {
    let prefix = tables::number_key(&[object]);
    for (key, _) in rows.scan(tables::LINK, &prefix, None, usize::MAX)? {
        if let Some([_, directory]) = key.get(..16).and_then(tables::parse_number_key::<2>) {
            places.insert((directory, key[16..].to_vec()));
        }
    }
    Ok(())
}

/// The difference of what is at `places` of the bucket whose root is `root`, in order. `from` is the older
/// one: of a directory that was removed with all that it held, only the directory was logged.
pub fn compare(
    from: &impl Rows,
    to: &impl Rows,
    root: DirRef,
    places: &BTreeSet<Place>,
) -> Result<Vec<Difference>> {
    let mut from = Side::new(from, root);
    let mut to = Side::new(to, root);
    let mut found = Vec::new();
    // By object: where it is no more, and where it is new.
    let mut moved: BTreeMap<u64, (Vec<Seen>, Vec<Seen>)> = BTreeMap::new();
    for place in places {
        match (from.look(place)?, to.look(place)?) {
            (Some(old), Some(new)) if old.row.object_id == new.row.object_id => {
                if differs(&old.row, &new.row) {
                    found.push(Difference::Modified(old.path));
                }
            }
            (old, new) => {
                if let Some(old) = old {
                    moved.entry(old.row.object_id).or_default().0.push(old);
                }
                if let Some(new) = new {
                    moved.entry(new.row.object_id).or_default().1.push(new);
                }
            }
        }
    }
    for (_, (lost, gained)) in moved {
        let both = lost.len().min(gained.len());
        for old in &lost[both..] {
            // With its directory, it is gone anyway.
            if to.path(old.directory)?.is_some() {
                found.push(Difference::Deleted(old.path.clone()));
            }
        }
        found.extend(
            gained[both..]
                .iter()
                .map(|new| Difference::Created(new.path.clone())),
        );
        for (old, new) in lost.into_iter().zip(gained) {
            if differs(&old.row, &new.row) {
                found.push(Difference::Modified(old.path.clone()));
            }
            found.push(Difference::Renamed(old.path, new.path));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
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

/// One of the two snapshots.
struct Side<'a, R: Rows> {
    rows: &'a R,
    root: DirRef,
    /// Of directories; `None`: it is not in the tree.
    paths: HashMap<u64, Option<Vec<u8>>>,
}

impl<'a, R: Rows> Side<'a, R> {
    fn new(rows: &'a R, root: DirRef) -> Self {
        let paths = HashMap::from([(root.parent_id, Some(Vec::new()))]);
        Self { rows, root, paths }
    }

    fn look(&mut self, (directory, name): &Place) -> Result<Option<Seen>> {
        let Some(mut path) = self.path(*directory)? else {
            return Ok(None);
        };
        let dir = DirRef {
            parent_id: *directory,
            ..self.root
        };
        let found = namespace::child(self.rows, &dir, name)?;
        path.extend_from_slice(name);
        Ok(found.map(|found| Seen {
            directory: *directory,
            path,
            row: found.row,
        }))
    }

    /// The path of a directory, with a slash at its end.
    fn path(&mut self, directory: u64) -> Result<Option<Vec<u8>>> {
        let (mut id, mut below) = (directory, Vec::new());
        let found = loop {
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
