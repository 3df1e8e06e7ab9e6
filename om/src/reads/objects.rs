//! ListObjects: the keys of a bucket as S3 lists them, in the order of their bytes.
//!
//! A filesystem-optimised bucket is a tree whose directories hold their names in the order of bytes. S3's order is
//! that of whole keys, in which a directory `a` stands as `a/`: behind `a-b/` and `a.b`, though its name is before
//! theirs. So directories are taken from the table in its order and given out in S3's ([`Directories`]), merged with
//! files, from the place on where the page begins: a page costs what it gives, not what the bucket holds.
//!
//! A directory is listed as a key of its own, with a trailing slash, when somebody made it as such or when it is
//! empty; one that is there only because keys are below it is not.
//!
//! In an object-store bucket all of this is simpler: its keys are filed as they are listed.

use ozone_proto::namespace::{DirRef, InodeKind, InodeRow};
use ozone_proto::om::{ListObjectsRequest, ListObjectsResponse, ListedObject};

use super::inode::without_map;
use super::order::{Entries, before};
use crate::error::Result;
use crate::etag;
use crate::namespace::{self, flat, layout};
use crate::rows::{Rows, decode};
use crate::tables;

/// Entries in one answer at most.
const MAX_PAGE: usize = 1000;
/// Keys read at a time where they are grouped.
const GROUPED: usize = 128;

/// Answers the request.
pub fn list(request: &ListObjectsRequest, rows: &impl Rows) -> Result<ListObjectsResponse> {
    let bucket = namespace::bucket(rows, &request.volume_name, &request.bucket_name)?;
    let limit = match request.limit() as usize {
        0 => MAX_PAGE,
        limit => limit.min(MAX_PAGE),
    };
    let prefix = request.prefix().as_bytes();
    let mut walk = Walk {
        rows,
        prefix,
        delimiter: request.delimiter().as_bytes(),
        from: successor(request.after()).max(prefix.to_vec()),
        limit,
        inodes: request.inodes(),
        page: ListObjectsResponse::default(),
        count: 0,
    };
    if walk.group_of(request.after()).as_deref() == Some(request.after()) {
        // The page before has ended with this group: all of it is behind.
        walk.from = past(request.after());
    }
    let root = DirRef {
        snapshot: rows.snapshot(),
        ..namespace::bucket_root(&bucket)
    };
    layout::of(&root).list_objects(&root, &mut walk)?;
    Ok(walk.page)
}

/// The least key greater than `key`.
fn successor(key: &[u8]) -> Vec<u8> {
    match key.is_empty() {
        true => Vec::new(),
        false => [key, &[0]].concat(),
    }
}

/// The least key greater than everything that begins with `prefix`; empty when there is none.
fn past(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    end
}

/// A listing that is being made.
pub struct Walk<'a> {
    rows: &'a dyn Rows,
    prefix: &'a [u8],
    delimiter: &'a [u8],
    /// Keys before this one are behind.
    from: Vec<u8>,
    limit: usize,
    /// Whether inodes are told.
    inodes: bool,
    page: ListObjectsResponse,
    count: usize,
}

/// What a part of the tree had.
#[derive(PartialEq)]
pub enum Walked {
    /// All was looked at; whether there was any key.
    Through { any: bool },
    /// The page is full, or nothing behind this can belong to it.
    Enough,
}

impl Walk<'_> {
    /// Takes the keys of a bucket that has no directories: they are filed in the order of the listing.
    pub fn keys(&mut self, root: &DirRef) -> Result<()> {
        let bucket = flat::prefix(self.rows, root)?;
        let prefix = [bucket.as_slice(), self.prefix].concat();
        // With groups, most of what is read may belong to one that is listed already.
        let size = match self.delimiter.is_empty() {
            true => self.limit + 1,
            false => GROUPED.min(self.limit + 1),
        };
        loop {
            let begin = before(&self.from).map(|name| [bucket.as_slice(), &name].concat());
            let page = self
                .rows
                .scan(tables::KEY, &prefix, begin.as_deref(), size)?;
            for (key, value) in &page {
                let name = &key[bucket.len()..];
                if name < self.from.as_slice() {
                    continue;
                }
                let row: InodeRow = decode(tables::KEY, value)?;
                if self.offer(name, &row)? == Walked::Enough {
                    return Ok(());
                }
                self.tell_inode(root, name, row);
                self.from = self.from.clone().max(successor(name));
            }
            if page.len() < size {
                return Ok(());
            }
        }
    }

    /// Adds the inode to the entry of the key, if it has just become one.
    fn tell_inode(&mut self, root: &DirRef, name: &[u8], row: InodeRow) {
        let last = self.page.objects.last_mut().filter(|_| self.inodes);
        if let Some(last) = last.filter(|last| last.key().as_bytes() == name) {
            last.inode = Some(namespace::inode(root, name, without_map(row)));
        }
    }

    /// Walks a directory whose key is `path` (empty, or with a trailing `/`).
    pub fn directory(&mut self, dir: &DirRef, path: &mut Vec<u8>) -> Result<Walked> {
        let seek = self.from.strip_prefix(path.as_slice()).unwrap_or(&[]);
        let begun_inside = !seek.is_empty();
        let rows = self.rows;
        let mut entries = Entries::from(&rows, dir, seek, self.limit + 1)?;
        // What is before the beginning of the page was not looked at, and may be there.
        let mut any = begun_inside;
        while let Some((name, row)) = entries.take()? {
            any = true;
            let depth = path.len();
            path.extend_from_slice(&name);
            let walked = self.entry(dir, path, &row)?;
            path.truncate(depth);
            if walked == Walked::Enough {
                return Ok(Walked::Enough);
            }
        }
        Ok(Walked::Through { any })
    }

    /// `path` is the entry's whole key: a directory's has a trailing slash.
    fn entry(&mut self, dir: &DirRef, path: &mut Vec<u8>, row: &InodeRow) -> Result<Walked> {
        let on = Ok(Walked::Through { any: true });
        let directory = path.ends_with(b"/");
        let end = past(path);
        if directory && !end.is_empty() && end <= self.from {
            return on;
        }
        let inside = path.starts_with(self.prefix);
        let leads_inside = directory && self.prefix.starts_with(path);
        if !inside && !leads_inside {
            // In the order of keys nothing behind the prefix comes back to it.
            let beyond = path.as_slice() > self.prefix;
            return if beyond { Ok(Walked::Enough) } else { on };
        }
        if !directory {
            return self.offer(path, row);
        }
        if inside && let Some(group) = self.group_of(path) {
            return self.offer_group(group);
        }
        let explicit = !row.implied && inside;
        if explicit && self.offer(path, row)? == Walked::Enough {
            return Ok(Walked::Enough);
        }
        let below = DirRef {
            parent_id: row.object_id,
            ..*dir
        };
        match self.directory(&below, path)? {
            Walked::Enough => Ok(Walked::Enough),
            Walked::Through { any } if any || explicit || !inside => on,
            Walked::Through { .. } => self.offer(path, row),
        }
    }

    /// The group that a key belongs to, with a delimiter.
    fn group_of(&self, key: &[u8]) -> Option<Vec<u8>> {
        let rest = key.strip_prefix(self.prefix)?;
        if self.delimiter.is_empty() {
            return None;
        }
        let length = self.delimiter.len();
        let at = rest.windows(length).position(|w| w == self.delimiter)?;
        Some(key[..self.prefix.len() + at + length].to_vec())
    }

    fn offer(&mut self, key: &[u8], row: &InodeRow) -> Result<Walked> {
        let on = Ok(Walked::Through { any: true });
        let listed = matches!(namespace::kind(row), InodeKind::File | InodeKind::Directory);
        // Names that are no text have no place in S3.
        let Some(text) = std::str::from_utf8(key).ok().filter(|_| listed) else {
            return on;
        };
        if key < self.from.as_slice() {
            return on;
        }
        if let Some(group) = self.group_of(key) {
            return self.offer_group(group);
        }
        if !self.take(key) {
            return Ok(Walked::Enough);
        }
        self.page.objects.push(ListedObject {
            key: Some(text.to_owned()),
            size: Some(row.size),
            modification_time: Some(row.mtime_ns / 1_000_000),
            etag: (!namespace::is_dir(row)).then(|| etag::of(row)),
            owner: Some(row.owner.clone()),
            inode: None,
        });
        on
    }

    fn offer_group(&mut self, group: Vec<u8>) -> Result<Walked> {
        let Ok(text) = String::from_utf8(group.clone()) else {
            return Ok(Walked::Through { any: true });
        };
        if !self.take(&group) {
            return Ok(Walked::Enough);
        }
        self.page.common_prefixes.push(text);
        self.from = past(&group);
        Ok(match self.from.is_empty() {
            true => Walked::Enough,
            false => Walked::Through { any: true },
        })
    }

    /// Whether there is room for one more entry, which ends the page if there is none behind it.
    fn take(&mut self, entry: &[u8]) -> bool {
        if self.count == self.limit {
            self.page.more = Some(true);
            return false;
        }
        self.count += 1;
        self.page.last = Some(entry.to_vec().into());
        true
    }
}
