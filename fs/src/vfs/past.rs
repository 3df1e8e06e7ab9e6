//! System calls on what is in snapshots: looking and reading. What would change anything is refused with
//! EROFS where it looks for a live inode of that number.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc;
use ozone_client::Namespace;
use ozone_client::namespace::Found;

use crate::attr::{Attr, Known};
use crate::errno::{FsError, Result};
use crate::inode::Inode;
use crate::past::{self, Node};
use crate::vfs::dir::{DirEntry, PAGE, Sink, give_dots};
use crate::vfs::lookup::Looked;
use crate::vfs::open::Opened;
use crate::vfs::{Vfs, Who};
use crate::wire;

/// How long the kernel may believe what cannot change.
const FOR_EVER: Duration = Duration::from_secs(3600);

impl Vfs {
    /// `.snapshot` in the root of a bucket; `None` for any other name.
    pub(crate) fn snapshots_of(&self, parent: &Inode, name: &[u8]) -> Option<Known> {
        if !is_reserved(parent, name) {
            return None;
        }
        let row = parent.with_row(Clone::clone);
        let node = self.past.list_of(&parent.children(), row);
        Some(self.past_known(&node))
    }

    /// Names of snapshots come and go; what is inside stays.
    fn past_known(&self, node: &Node) -> Known {
        let is_root = past::is_past(node.parent) && node.ino >> 48 != node.parent >> 48;
        Known {
            attr: node.attr(),
            valid: match node.is_list() || is_root {
                true => self.ttl,
                false => FOR_EVER,
            },
        }
    }

    pub(crate) async fn past_lookup(&self, who: &Who, parent: u64, name: &[u8]) -> Result<Looked> {
        let parent = self.past.get(parent)?;
        let dir = parent.children;
        let found = self
            .ask(who, |ns| async move { ns.find(dir, name).await })
            .await?;
        match found {
            Found::Inode(found) => {
                let node = self.past.remember(&parent, *found)?;
                Ok(Looked::Inode(self.past_known(&node)))
            }
            Found::Nothing { .. } if parent.is_list() => Ok(Looked::Nothing(Duration::ZERO)),
            Found::Nothing { .. } => Ok(Looked::Nothing(FOR_EVER)),
        }
    }

    pub(crate) fn past_attr(&self, ino: u64) -> Result<Known> {
        let node = self.past.get(ino)?;
        Ok(Known {
            attr: node.attr(),
            valid: FOR_EVER,
        })
    }

    pub(crate) fn past_link(&self, ino: u64) -> Result<Bytes> {
        let node = self.past.get(ino)?;
        match node.row().kind() {
            wire::InodeKind::Symlink => Ok(node.row().symlink_target.clone()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    pub(crate) fn past_xattr(&self, ino: u64, name: &[u8]) -> Result<Bytes> {
        let node = self.past.get(ino)?;
        let found = node.row().xattrs.iter().find(|xattr| xattr.name == name);
        found
            .map(|xattr| xattr.value.clone())
            .ok_or_else(|| Errno::ENODATA.into())
    }

    pub(crate) fn past_xattrs(&self, ino: u64) -> Result<Bytes> {
        let node = self.past.get(ino)?;
        let names = node.row().xattrs.iter();
        Ok(names
            .flat_map(|xattr| xattr.name.iter().copied().chain([0]))
            .collect())
    }

    pub(crate) fn past_open(&self, ino: u64, flags: i32) -> Result<Opened> {
        if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
            return Err(Errno::EROFS.into());
        }
        Ok(Opened {
            handle: self.past.open(self.past.get(ino)?),
            keep_cache: true,
            direct: false,
            lent: None,
        })
    }

    pub(crate) fn past_open_dir(&self, ino: u64) -> Result<u64> {
        let node = self.past.get(ino)?;
        match node.is_directory() {
            true => Ok(self.past.open(node)),
            false => Err(Errno::ENOTDIR.into()),
        }
    }

    pub(crate) async fn past_read(&self, handle: u64, offset: u64, len: usize) -> Result<Bytes> {
        let handle = self.past.handle(handle)?;
        let node = &handle.node;
        let left = node.row().size.saturating_sub(offset);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(Bytes::new());
        }
        let reader = node.reader(|| self.client.data().reader(node.found.clone()));
        let data = reader.read(offset, len).await?;
        // Zeros are never invented, and a short read would be some.
        match data.len() == len {
            true => Ok(data),
            false => Err(Errno::EIO.into()),
        }
    }

    /// As [`Vfs::read_dir`], of a directory in the past.
    pub(crate) async fn past_read_dir(
        &self,
        who: &Who,
        handle: u64,
        position: u64,
        plus: bool,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let handle = self.past.handle(handle)?;
        let node = &handle.node;
        let mut cursor = handle.cursor.lock().await;
        if position == 0 {
            *cursor = Default::default();
        }
        if give_dots(node.attr(), node.parent, position, sink) {
            return Ok(());
        }
        let dir = node.children;
        let fetch = |after: Bytes| async move {
            let asked = self.inodes.asked();
            let ask = |ns: Namespace| {
                let after = after.clone();
                async move { ns.read_dir(dir, &after, PAGE).await }
            };
            let (entries, more) = self.ask(who, ask).await?;
            Ok((entries, more, asked))
        };
        let give = |entry: &wire::Inode, next, _| self.past_give(node, entry, next, plus, sink);
        cursor.walk(position, fetch, give).await
    }

    fn past_give(
        &self,
        parent: &Arc<Node>,
        entry: &wire::Inode,
        next: u64,
        plus: bool,
        sink: &mut Sink<'_>,
    ) -> Result<bool> {
        let (Some(place), Some(row)) = (&entry.r#ref, &entry.row) else {
            return Err(FsError::from(Errno::EPROTO));
        };
        let known = match plus {
            true => {
                let node = self.past.remember(parent, entry.clone())?;
                self.past_known(&node)
            }
            false => Known {
                attr: Attr::of(self.past.number(parent, entry)?, row),
                valid: Duration::ZERO,
            },
        };
        let full = sink(DirEntry {
            name: &place.name,
            next,
            attr: known.attr,
            valid: known.valid,
        });
        if full && plus {
            self.past.forget(known.attr.ino, 1);
        }
        Ok(full)
    }

    /// As [`Vfs::seek`]: what a snapshot holds counts as data to its end.
    pub(crate) fn past_seek(&self, handle: u64, offset: u64, whence: i32) -> Result<u64> {
        let size = self.past.handle(handle)?.node.row().size;
        match whence {
            _ if offset >= size => Err(Errno::ENXIO.into()),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::EINVAL.into()),
        }
    }
}

/// Refuses to make, remove or replace the name by which a bucket shows its snapshots.
pub(crate) fn check_change(parent: &Inode, name: &[u8]) -> Result<()> {
    match is_reserved(parent, name) {
        true => Err(Errno::EROFS.into()),
        false => Ok(()),
    }
}

fn is_reserved(parent: &Inode, name: &[u8]) -> bool {
    name == past::NAME && parent.is_directory() && past::is_bucket_root(&parent.children())
}
