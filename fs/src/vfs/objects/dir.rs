//! readdir in object-store buckets: a page of the listing that S3 has as well, with a slash as the delimiter.

use std::time::Duration;

use bytes::Bytes;
use ozone_client::objects::{ListRequest, ListedPage, Page};
use ozone_client::{ClientError, Objects};

use super::{bucket_name, file_at, shown};
use crate::attr::{Attr, Known};
use crate::errno::Result;
use crate::objects::{Handle, Place, SNAPSHOTS};
use crate::vfs::dir::{DirEntry, PAGE, Sink};
use crate::vfs::{Vfs, Who};
use crate::wire::{self, InodeKind, InodeRef, InodeRow};

impl Vfs {
    pub(crate) fn object_open_dir(&self, place: Place) -> u64 {
        let cursor = tokio::sync::Mutex::default();
        self.objects.open(Handle::Directory(place, cursor))
    }

    /// As [`Vfs::read_dir`], of a directory in an object-store bucket.
    pub(crate) async fn object_read_dir(
        &self,
        who: &Who,
        handle: u64,
        position: u64,
        plus: bool,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let handle = self.objects.handle(handle)?;
        let Handle::Directory(dir, cursor) = &*handle else {
            return Err(nix::errno::Errno::ENOTDIR.into());
        };
        let mut cursor = cursor.lock().await;
        if position == 0 {
            *cursor = Default::default();
        }
        if object_dots(dir, position, sink) {
            return Ok(());
        }
        let objects = self.callers.objects(who).await;
        let fetch = |after: Bytes| {
            let (objects, asked) = (objects.clone(), self.inodes.asked());
            async move {
                let (entries, more) = page(&objects, dir, &after).await?;
                Ok((entries, more, asked))
            }
        };
        let give = |entry: &wire::Inode, next, _| self.object_give(dir, entry, next, plus, sink);
        cursor.walk(position, fetch, give).await
    }

    fn object_give(
        &self,
        dir: &Place,
        entry: &wire::Inode,
        next: u64,
        plus: bool,
        sink: &mut Sink<'_>,
    ) -> Result<bool> {
        let key = entry.r#ref.as_ref().map(|place| &place.name[..]);
        let Some((name, _)) = key.and_then(|key| name_in(dir, key)) else {
            return Ok(false);
        };
        let place = dir.child(name);
        let node = match &entry.row {
            // Without one, it is hidden.
            None => return Ok(false),
            Some(row) if row.kind() == InodeKind::Directory => self.directory_at(&place, None),
            Some(_) => file_at(&place, at_home(entry))?,
        };
        let known = match plus {
            true => self.object_known(&self.objects.remember(node)),
            false => Known {
                attr: node.attr(),
                valid: Duration::ZERO,
            },
        };
        let full = sink(DirEntry {
            name: name.as_bytes(),
            next,
            attr: known.attr,
            valid: known.valid,
        });
        if full && plus {
            self.objects.forget(known.attr.ino, 1);
        }
        Ok(full)
    }
}

/// The name in `dir` of a key, and whether it is a directory's; `None` if it is not shown.
fn name_in<'k>(dir: &Place, key: &'k [u8]) -> Option<(&'k str, bool)> {
    let rest = key.strip_prefix(dir.prefix().as_bytes())?;
    let rest = std::str::from_utf8(rest).ok()?;
    let (name, directory) = match rest.strip_suffix('/') {
        Some(name) => (name, true),
        None => (rest, false),
    };
    shown(name).then_some((name, directory))
}

/// The entries of a directory after a key, in the order of keys, each by its key: a directory's with a slash at its
/// end, and without a row what is not to be shown.
async fn page(
    objects: &Objects,
    dir: &Place,
    after: &[u8],
) -> Result<(Vec<wire::Inode>, bool), ClientError> {
    let after = String::from_utf8_lossy(after).into_owned();
    if dir.path == SNAPSHOTS {
        return snapshots(objects, dir, after).await;
    }
    let list = ListRequest {
        prefix: dir.prefix(),
        delimiter: "/".to_owned(),
        after,
        limit: PAGE,
    };
    let (volume, bucket) = (&dir.bucket.volume, &dir.bucket.name);
    let page = objects.list_inodes(volume, bucket, &list).await?;
    let more = page.more();
    let mut entries = entries(&page);
    for entry in &mut entries {
        if is_hidden(objects, dir, &page, entry).await? {
            entry.row = None;
        }
    }
    Ok((entries, more))
}

fn entries(page: &ListedPage) -> Vec<wire::Inode> {
    let mut entries: Vec<wire::Inode> = Vec::new();
    for object in &page.objects {
        let row = object.inode.as_ref().and_then(|inode| inode.row.clone());
        let place = object.inode.as_ref().and_then(|inode| inode.r#ref.clone());
        // By the name under which it was asked for: in a snapshot it is another than that in its place.
        let mut entry = named(object.key(), row);
        if let (Some(entry), Some(place)) = (&mut entry.r#ref, place) {
            (entry.dir, entry.object_id) = (place.dir, place.object_id);
        }
        entries.push(entry);
    }
    let directory = || InodeRow {
        kind: InodeKind::Directory.into(),
        ..Default::default()
    };
    let directories = page.common_prefixes.iter();
    entries.extend(directories.map(|key| named(key, Some(directory()))));
    entries.sort_by(|a, b| key_of(a).cmp(key_of(b)));
    entries
}

/// The inode by its name in its own bucket, as it was then.
fn at_home(entry: &wire::Inode) -> wire::Inode {
    let mut found = entry.clone();
    if let Some(place) = &mut found.r#ref {
        let text = std::str::from_utf8(&place.name).unwrap_or_default();
        let past = text
            .strip_prefix(SNAPSHOTS)
            .and_then(|rest| rest.strip_prefix('/'));
        if let Some((_, name)) = past.and_then(|rest| rest.split_once('/')) {
            place.name = Bytes::copy_from_slice(name.as_bytes());
        }
    }
    found
}

fn named(key: &str, row: Option<InodeRow>) -> wire::Inode {
    let place = InodeRef {
        name: Bytes::copy_from_slice(key.as_bytes()),
        ..Default::default()
    };
    wire::Inode {
        r#ref: Some(place),
        row,
        ..Default::default()
    }
}

fn key_of(entry: &wire::Inode) -> &[u8] {
    entry.r#ref.as_ref().map_or(&[], |place| &place.name)
}

/// Whether a directory hides the entry, which is a file. It comes later in the order of keys, and so may be on a later
/// page.
async fn is_hidden(
    objects: &Objects,
    dir: &Place,
    page: &ListedPage,
    entry: &wire::Inode,
) -> Result<bool, ClientError> {
    let Some((name, false)) = name_in(dir, key_of(entry)) else {
        return Ok(false);
    };
    let prefix = dir.child(name).prefix();
    if page.common_prefixes.binary_search(&prefix).is_ok() {
        return Ok(true);
    }
    if !page.more() || page.last() >= prefix.as_bytes() {
        return Ok(false);
    }
    let inside = ListRequest {
        prefix,
        limit: 1,
        ..Default::default()
    };
    let (volume, bucket) = (&dir.bucket.volume, &dir.bucket.name);
    let found = objects.list_objects(volume, bucket, &inside).await?;
    Ok(!found.objects.is_empty())
}

/// The bucket's snapshots, as directories.
async fn snapshots(
    objects: &Objects,
    dir: &Place,
    after: String,
) -> Result<(Vec<wire::Inode>, bool), ClientError> {
    let start = after.strip_prefix(&dir.prefix()).unwrap_or_default();
    let page = Page {
        prefix: String::new(),
        start: start.trim_end_matches('/').to_owned(),
        limit: PAGE,
    };
    let found = objects.list_snapshots(bucket_name(dir), &page).await?;
    let more = found.len() >= PAGE as usize;
    let directory = InodeRow {
        kind: InodeKind::Directory.into(),
        ..Default::default()
    };
    let entry = |name: &str| {
        let key = dir.child(name).prefix();
        named(&key, Some(directory.clone()))
    };
    Ok((found.iter().map(|row| entry(row.name())).collect(), more))
}

/// Gives `.` and `..`; true when the sink is full.
fn object_dots(dir: &Place, position: u64, sink: &mut Sink<'_>) -> bool {
    let row = InodeRow {
        kind: InodeKind::Directory.into(),
        ..Default::default()
    };
    let above = match dir.path.is_empty() {
        true => dir.bucket.root.volume_id,
        false => dir.parent().directory_ino(),
    };
    let dots: [(&[u8], u64); 2] = [(b".", dir.directory_ino()), (b"..", above)];
    let rest = (0..).zip(dots).skip_while(|(at, _)| *at < position);
    rest.into_iter().any(|(at, (name, ino))| {
        sink(DirEntry {
            name,
            next: at + 1,
            attr: Attr::of(ino, &row),
            valid: Duration::ZERO,
        })
    })
}
