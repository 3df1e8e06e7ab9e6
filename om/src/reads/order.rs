//! The entries of one directory in the order of S3's keys: a file stands as its name, a directory as its name with a
//! slash behind it.

use ozone_proto::namespace::{DirRef, InodeRow};

use crate::error::Result;
use crate::namespace;
use crate::rows::{Row, Rows, decode};
use crate::tables::{self, Table};

/// Rows that are read at a time, at most.
const PAGE: usize = 256;

/// Entries of a directory from a place on.
pub struct Entries<'a, R: Rows> {
    rows: &'a R,
    dir: DirRef,
    files: Pages,
    directories: Pages,
    /// Directories that were read and come later, as their names are prefixes of others: the innermost last.
    held: Vec<(Vec<u8>, InodeRow)>,
    file: Option<(Vec<u8>, InodeRow)>,
    directory: Option<(Vec<u8>, InodeRow)>,
}

/// Rows of one table, page by page.
struct Pages {
    table: Table,
    prefix: Vec<u8>,
    /// The last row that was read; `None`: from the first on.
    after: Option<Vec<u8>>,
    page: std::iter::Peekable<std::vec::IntoIter<Row>>,
    size: usize,
    done: bool,
}

impl Pages {
    fn new(table: Table, dir: &DirRef, after: Option<Vec<u8>>, size: usize) -> Self {
        let prefix = tables::children_prefix(dir.volume_id, dir.bucket_id, dir.parent_id);
        Self {
            table,
            after: after.map(|after| [prefix.as_slice(), &after].concat()),
            prefix,
            page: Vec::new().into_iter().peekable(),
            size: size.clamp(2, PAGE),
            done: false,
        }
    }

    fn next(&mut self, rows: &impl Rows) -> Result<Option<Row>> {
        self.fill(rows)?;
        Ok(self.page.next())
    }

    /// The name of the next row.
    fn peek(&mut self, rows: &impl Rows) -> Result<Option<&[u8]>> {
        self.fill(rows)?;
        let next = self.page.peek();
        Ok(next.map(|(key, _)| &key[self.prefix.len()..]))
    }

    fn fill(&mut self, rows: &impl Rows) -> Result<()> {
        if self.page.peek().is_some() || self.done {
            return Ok(());
        }
        let page = rows.scan(self.table, &self.prefix, self.after.as_deref(), self.size)?;
        self.done = page.len() < self.size;
        self.after = page.last().map(|(key, _)| key.clone());
        self.page = page.into_iter().peekable();
        Ok(())
    }
}

/// The greatest name before `name` and all that begin with it, or one that is as good for a scan.
pub fn before(name: &[u8]) -> Option<Vec<u8>> {
    let (last, head) = name.split_last()?;
    // No name ends with more of these than this.
    let tail = [u8::MAX; 16];
    Some(match last {
        0 => head.to_vec(),
        last => [head, &[last - 1], &tail].concat(),
    })
}

/// Whether `later`, of two directories that the table has in this order, comes first among keys.
fn overtakes(later: &[u8], earlier: &[u8]) -> bool {
    let rest = later.strip_prefix(earlier);
    rest.and_then(<[u8]>::first)
        .is_some_and(|next| *next < b'/')
}

impl<'a, R: Rows> Entries<'a, R> {
    /// Those whose key, relative to the directory, is at least `from`, or leads to one that is.
    /// `size`: about how many will be wanted.
    pub fn from(rows: &'a R, dir: &DirRef, from: &[u8], size: usize) -> Result<Self> {
        let name = from.split(|byte| *byte == b'/').next().unwrap_or_default();
        let mut entries = Self {
            rows,
            dir: *dir,
            files: Pages::new(tables::FILE, dir, before(from), size),
            directories: Pages::new(tables::DIRECTORY, dir, before(name), size),
            held: Vec::new(),
            file: None,
            directory: None,
        };
        entries.hold_shorter(name)?;
        entries.file = entries.read_file()?;
        entries.directory = entries.read_directory()?;
        // What is before the place was read only because a scan cannot begin just there.
        while let Some((key, _)) = entries.peek() {
            let behind = match key.last() {
                Some(b'/') => !from.starts_with(key) && key < from,
                _ => key < from,
            };
            if !behind {
                break;
            }
            entries.take()?;
        }
        Ok(entries)
    }

    /// Directories whose names are before `name` in the table and whose keys are behind it.
    fn hold_shorter(&mut self, name: &[u8]) -> Result<()> {
        for length in 1..name.len() {
            let (shorter, rest) = name.split_at(length);
            if rest[0] >= b'/' {
                continue;
            }
            let (volume, bucket) = (self.dir.volume_id, self.dir.bucket_id);
            let key = tables::child_key(volume, bucket, self.dir.parent_id, shorter);
            if let Some(row) = self.rows.get(tables::DIRECTORY, &key)? {
                self.held.push((shorter.to_vec(), row));
            }
        }
        Ok(())
    }

    /// Takes the next entry: its key and its row.
    pub fn take(&mut self) -> Result<Option<(Vec<u8>, InodeRow)>> {
        let first_is_file = match (&self.file, &self.directory) {
            (None, None) => return Ok(None),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(file), Some(directory)) => file.0 < directory.0,
        };
        Ok(if first_is_file {
            let next = self.read_file()?;
            std::mem::replace(&mut self.file, next)
        } else {
            let next = self.read_directory()?;
            std::mem::replace(&mut self.directory, next)
        })
    }

    fn peek(&self) -> Option<(&[u8], &InodeRow)> {
        let first = match (&self.file, &self.directory) {
            (Some(file), Some(directory)) if file.0 < directory.0 => file,
            (Some(file), None) => file,
            (_, directory) => directory.as_ref()?,
        };
        Some((&first.0, &first.1))
    }

    fn read_file(&mut self) -> Result<Option<(Vec<u8>, InodeRow)>> {
        let Some((key, value)) = self.files.next(self.rows)? else {
            return Ok(None);
        };
        let row: InodeRow = decode(tables::FILE, &value)?;
        let name = key[self.files.prefix.len()..].to_vec();
        let (volume, bucket) = (self.dir.volume_id, self.dir.bucket_id);
        let found = namespace::follow(self.rows, volume, bucket, tables::FILE, key, row)?;
        Ok(Some((name, found.row)))
    }

    /// The next directory in the order of keys, with its slash.
    fn read_directory(&mut self) -> Result<Option<(Vec<u8>, InodeRow)>> {
        loop {
            let next = self.directories.peek(self.rows)?;
            let waits = match (self.held.last(), next) {
                (Some((held, _)), Some(name)) => overtakes(name, held),
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (None, None) => return Ok(None),
            };
            if !waits {
                return Ok(self.held.pop().map(|(mut name, row)| {
                    name.push(b'/');
                    (name, row)
                }));
            }
            if let Some((key, value)) = self.directories.next(self.rows)? {
                let name = key[self.directories.prefix.len()..].to_vec();
                self.held.push((name, decode(tables::DIRECTORY, &value)?));
            }
        }
    }
}
