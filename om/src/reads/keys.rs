//! Keys of the object interface: GetKeyInfo, ListKeys.
//!
//! A filesystem-optimised bucket is a tree. Its keys are listed by walking that tree in the order
//! of names, component by component, from the start key on, a page at a time. Those of an object-store bucket are
//! listed in the order of their bytes.

use ozone_proto::namespace::GetExtentsRequest;
use ozone_proto::namespace::{DirRef, Inode};
use ozone_proto::om::{
    KeyArgs, KeyInfo, ListKeysRequest, ListKeysResponse, ReadKeyRequest, ReadKeyResponse,
};

use super::listing;
use crate::error::Result;
use crate::key_info::{self, Names};
use crate::key_path;
use crate::namespace::{self, flat, layout};
use crate::rows::{Rows, decode};
use crate::tables;

/// Keys in one answer at most.
const MAX_PAGE: usize = 1000;
/// Extents that come with a key that is to be read.
const READ_EXTENTS: u32 = 2048;
/// Names read at a time of one directory.
const SCAN: usize = 256;

/// GetKeyInfo and LookupKey. With a trailing slash no file is meant, as Ozone has it; a directory is meant either way.
pub fn info(args: &KeyArgs, rows: &impl Rows) -> Result<KeyInfo> {
    let root = root_of(&args.volume_name, &args.bucket_name, rows)?;
    let (dir, name, found) = key_path::resolve(rows, &root, &args.key_name)?
        .filter(|(.., found)| {
            namespace::is_dir(&found.row) || !layout::of(&root).is_directory_name(&args.key_name)
        })
        .ok_or_else(|| key_path::not_found(&args.key_name))?;
    let mut row = found.row;
    let place = namespace::inode(&dir, name, super::inode::without_map(row.clone()));
    let names = Names {
        volume: &args.volume_name,
        bucket: &args.bucket_name,
        key: &args.key_name,
    };
    if row.extents_in_table {
        row.extents = crate::file_map::read(rows, &row, 0, u64::MAX, MAX_PAGE)?.0;
    }
    Ok(key_info::of(names, row, Some(place)))
}

/// The root of the bucket, in the rows that are looked at.
fn root_of(volume: &str, bucket: &str, rows: &impl Rows) -> Result<DirRef> {
    let bucket = namespace::bucket(rows, volume, bucket)?;
    Ok(DirRef {
        snapshot: rows.snapshot(),
        ..namespace::bucket_root(&bucket)
    })
}

/// The root of the bucket as a key.
pub fn root(args: &KeyArgs, rows: &impl Rows) -> Result<KeyInfo> {
    let dir = root_of(&args.volume_name, &args.bucket_name, rows)?;
    let row = namespace::directory(rows, &dir)?.row;
    let names = Names {
        volume: &args.volume_name,
        bucket: &args.bucket_name,
        key: &args.key_name,
    };
    let place = namespace::inode(&dir, b"", row.clone());
    Ok(key_info::of(names, row, Some(place)))
}

/// ReadKey: the key, and as much of its map as one answer holds.
pub fn read(request: &ReadKeyRequest, rows: &impl Rows) -> Result<ReadKeyResponse> {
    let mut key = info(&request.key_args, rows)?;
    key.key_location_list.clear();
    let place = key.inode.as_ref().and_then(|inode| inode.r#ref.clone());
    let map = match key.is_file() {
        true => Some(super::inode::get_extents(
            &GetExtentsRequest {
                r#ref: place,
                limit: READ_EXTENTS,
                ..Default::default()
            },
            rows,
        )?),
        false => None,
    };
    Ok(ReadKeyResponse {
        key_info: Some(key),
        map,
    })
}

/// ListKeys: directories (with a trailing `/`) and files, in the order of the walk.
pub fn list(request: &ListKeysRequest, rows: &impl Rows) -> Result<ListKeysResponse> {
    let root = root_of(&request.volume_name, &request.bucket_name, rows)?;
    let limit = match usize::try_from(request.count()).unwrap_or(0) {
        0 => MAX_PAGE,
        count => count.min(MAX_PAGE),
    };
    let mut walk = Walk {
        rows,
        request,
        start: request.start_key().as_bytes(),
        prefix: request.prefix().as_bytes(),
        limit,
        found: Vec::new(),
        truncated: false,
    };
    layout::of(&root).list_keys(&root, &mut walk)?;
    Ok(ListKeysResponse {
        key_info: walk.found,
        is_truncated: Some(walk.truncated),
    })
}

/// A listing that is being made.
pub struct Walk<'a> {
    rows: &'a dyn Rows,
    request: &'a ListKeysRequest,
    start: &'a [u8],
    prefix: &'a [u8],
    limit: usize,
    found: Vec<KeyInfo>,
    truncated: bool,
}

impl Walk<'_> {
    /// Takes the keys of a bucket that has no directories.
    pub fn keys(&mut self, root: &DirRef) -> Result<()> {
        let bucket = flat::prefix(self.rows, root)?;
        let prefix = [bucket.as_slice(), self.prefix].concat();
        let after = [bucket.as_slice(), self.start].concat();
        let page = self
            .rows
            .scan(tables::KEY, &prefix, Some(&after), self.limit + 1)?;
        self.truncated = page.len() > self.limit;
        for (key, value) in page.into_iter().take(self.limit) {
            let name = &key[bucket.len()..];
            let row = decode(tables::KEY, &value)?;
            let inode = namespace::inode(root, name, super::inode::without_map(row));
            self.push(name, inode);
        }
        Ok(())
    }

    /// Walks a directory whose key is `path` (empty, or with a trailing `/`).
    pub fn directory(&mut self, dir: &DirRef, path: &mut Vec<u8>) -> Result<()> {
        let mut after = self.skip_to(path);
        loop {
            let page = listing::children(&self.rows, dir, &after, SCAN)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = name_of(last).to_vec();
            for inode in page {
                self.entry(dir, path, inode)?;
                if self.truncated {
                    return Ok(());
                }
            }
        }
    }

    /// The greatest name in the directory `path` that cannot matter any more, as far as it is cheap
    /// to say.
    fn skip_to(&self, path: &[u8]) -> Vec<u8> {
        let Some(rest) = self.start.strip_prefix(path) else {
            return Vec::new();
        };
        let name = rest.split(|b| *b == b'/').next().unwrap_or_default();
        // The entry of that very name may be a directory with more inside: begin just before it.
        match name.split_last() {
            Some((last, head)) if *last > 0 => [head, &[last - 1], &[0xff; 8]].concat(),
            _ => Vec::new(),
        }
    }

    fn entry(&mut self, dir: &DirRef, path: &mut Vec<u8>, inode: Inode) -> Result<()> {
        let depth = path.len();
        path.extend_from_slice(name_of(&inode));
        let row = inode.row.clone().unwrap_or_default();
        let directory = namespace::is_dir(&row);
        if directory {
            path.push(b'/');
        }
        let leads_to_prefix = directory && self.prefix.starts_with(path);
        if path.starts_with(self.prefix) && self.is_after_start(path) {
            if self.found.len() == self.limit {
                self.truncated = true;
            } else {
                self.push(path, inode);
            }
        }
        let inside = path.starts_with(self.prefix) || leads_to_prefix;
        let ahead = self.is_after_start(path) || self.start.starts_with(path);
        if directory && inside && ahead && !self.truncated {
            self.directory(
                &DirRef {
                    parent_id: row.object_id,
                    ..*dir
                },
                path,
            )?;
        }
        path.truncate(depth);
        Ok(())
    }

    /// Keys are in the order of their names, component by component: what the walk yields. A
    /// directory follows its own name without the `/`, as `a/` follows `a`.
    fn is_after_start(&self, path: &[u8]) -> bool {
        let order = components(path).cmp(components(self.start));
        order.then(path.len().cmp(&self.start.len())).is_gt() || self.start.is_empty()
    }

    fn push(&mut self, path: &[u8], inode: Inode) {
        let names = Names {
            volume: &self.request.volume_name,
            bucket: &self.request.bucket_name,
            key: &String::from_utf8_lossy(path),
        };
        let row = inode.row.clone().unwrap_or_default();
        self.found.push(key_info::of(names, row, Some(inode)));
    }
}

fn name_of(inode: &Inode) -> &[u8] {
    inode
        .r#ref
        .as_ref()
        .map(|r| r.name.as_ref())
        .unwrap_or_default()
}

fn components(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.strip_suffix(b"/").unwrap_or(key).split(|b| *b == b'/')
}
