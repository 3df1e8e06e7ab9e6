//! System calls in object-store buckets. A directory is what keys imply by their slashes, or the marker that mkdir(2)
//! makes, a key with a slash at its end. Files are objects: written whole, from the first byte to the last, and there
//! for others when they are closed ([`writing`]).
//!
//! A key that is no path is not shown: one with an empty part, `.` or `..`, a part above 255 bytes, or a NUL. Where
//! there are `a` and `a/b`, `a` is shown as the directory. What a filesystem has and an object store has not is
//! refused: EPERM for links and devices, EXDEV for renaming directories (so that `mv` copies them), EOPNOTSUPP for
//! changes in the middle.

mod dir;
mod names;
pub(crate) mod writing;

use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc;
use ozone_client::objects::{BucketName, ListRequest};
use ozone_client::{ClientError, FileReader};
use ozone_common::names::validate_key_component;

use crate::attr::Known;
use crate::errno::{FsError, Result};
use crate::inode::Inode;
use crate::objects::{Bucket, Handle, Kind, Node, Place, SNAPSHOTS, is_object};
use crate::vfs::attr::{Changes, Time};
use crate::vfs::lookup::Looked;
use crate::vfs::open::Opened;
use crate::vfs::{Vfs, Who};
use crate::wire::{self, InodeKind, InodeRow, SetAttrRequest};

impl Vfs {
    /// The place of a directory of an object-store bucket; `None` for any other inode.
    pub(crate) fn object_place(&self, ino: u64) -> Result<Option<Place>> {
        if is_object(ino) {
            let node = self.objects.get(ino)?;
            return match node.is_directory() {
                true => Ok(Some(node.place.clone())),
                false => Err(Errno::ENOTDIR.into()),
            };
        }
        if crate::past::is_past(ino) {
            return Ok(None);
        }
        let inode = self.inodes.get(ino)?;
        match inode.is_directory() && inode.children().is_object_store() {
            true => self.object_root(&inode).map(Some),
            false => Ok(None),
        }
    }

    fn object_root(&self, inode: &Inode) -> Result<Place> {
        let root = inode.children();
        let volume = self.inodes.get(root.volume_id)?;
        let name = |inode: &Inode| String::from_utf8_lossy(&inode.reference().name).into_owned();
        let bucket = Bucket {
            volume: name(&volume),
            name: name(inode),
            root,
        };
        Ok(Place {
            bucket: Arc::new(bucket),
            path: String::new(),
        })
    }

    /// What the kernel is told. Anybody may change it at any time.
    fn object_known(&self, node: &Node) -> Known {
        Known {
            attr: node.attr(),
            valid: self.ttl,
        }
    }

    pub(crate) async fn object_lookup(
        &self,
        who: &Who,
        dir: &Place,
        name: &[u8],
    ) -> Result<Looked> {
        // A name that is no text is no key.
        let Ok(name) = std::str::from_utf8(name) else {
            return Ok(Looked::Nothing(self.ttl));
        };
        Ok(match self.object_at(who, &dir.child(name)).await? {
            Some(node) => Looked::Inode(self.object_known(&self.objects.remember(node))),
            None => Looked::Nothing(self.ttl),
        })
    }

    /// What is at a place.
    pub(crate) async fn object_at(&self, who: &Who, place: &Place) -> Result<Option<Node>> {
        if let Some(writing) = self.objects.writing(place) {
            let (ino, row) = (writing.ino, writing.row());
            return Ok(Some(Node::new(
                place.clone(),
                Kind::Unborn(writing),
                row,
                ino,
            )));
        }
        if let Some(found) = self.snapshots_at(who, place).await? {
            return Ok(found.then(|| self.directory_at(place, None)));
        }
        let objects = self.callers.objects(who).await;
        let (volume, bucket) = (&place.bucket.volume, &place.bucket.name);
        let inside = ListRequest {
            prefix: place.prefix(),
            limit: 1,
            ..Default::default()
        };
        let (inside, object) = futures::join!(
            objects.list_inodes(volume, bucket, &inside),
            objects.head_object(place.key()),
        );
        // A directory hides a file of its name.
        if let Some(first) = inside?.objects.into_iter().next() {
            let is_marker = first.key() == place.prefix();
            let marker = first.inode.filter(|_| is_marker);
            return Ok(Some(self.directory_at(place, marker)));
        }
        match object {
            Ok(info) => {
                let found = info.inode.ok_or(Errno::EPROTO)?;
                Ok(Some(file_at(place, found)?))
            }
            Err(error) if error.is_not_found() => {
                let row = self.objects.emptied(place);
                let node = row.map(|row| {
                    let (kind, ino) = (Kind::Directory(None), place.directory_ino());
                    Node::new(place.clone(), kind, row, ino)
                });
                Ok(node)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is a directory of snapshots, or a snapshot's root, at the place; `None` for any other place.
    async fn snapshots_at(&self, who: &Who, place: &Place) -> Result<Option<bool>> {
        if place.path == SNAPSHOTS {
            return Ok(Some(true));
        }
        let name = place.path.strip_prefix(SNAPSHOTS);
        let Some(name) = name.and_then(|rest| rest.strip_prefix('/')) else {
            return Ok(None);
        };
        if name.contains('/') {
            return Ok(None);
        }
        let objects = self.callers.objects(who).await;
        match objects.info_snapshot(bucket_name(place), name).await {
            Ok(_) => Ok(Some(true)),
            Err(error) if error.is_not_found() => Ok(Some(false)),
            Err(error) => Err(error.into()),
        }
    }

    /// A directory; with attributes of its own where an object marks it, else with its bucket's.
    fn directory_at(&self, place: &Place, marker: Option<wire::Inode>) -> Node {
        let row = self.directory_row(
            place,
            marker.as_ref().and_then(|marker| marker.row.as_ref()),
        );
        let kind = Kind::Directory(marker.map(Box::new));
        Node::new(place.clone(), kind, row, place.directory_ino())
    }

    fn directory_row(&self, place: &Place, marker: Option<&InodeRow>) -> InodeRow {
        let bucket = self.inodes.get(place.bucket.root.bucket_id);
        let bucket = bucket.map(|inode| inode.with_row(Clone::clone));
        let bucket = bucket.unwrap_or_default();
        let own = marker.cloned().unwrap_or_else(|| bucket.clone());
        // S3 knows no modes: a marker that it has made cannot be entered.
        let mode = match own.mode & 0o111 {
            0 => bucket.mode,
            _ => own.mode,
        };
        InodeRow {
            kind: InodeKind::Directory.into(),
            mode: if place.is_past() { mode & 0o555 } else { mode },
            // Nobody counts what is in it.
            nlink: 1,
            size: 0,
            allocated: 0,
            ..own
        }
    }

    pub(crate) async fn object_attr(&self, ino: u64) -> Result<Known> {
        let node = self.objects.get(ino)?;
        if let (Kind::File(found), false) = (&node.kind, node.place.is_past()) {
            let place = found.r#ref.clone().unwrap_or_default();
            match self.namespace.get_attr(place).await {
                Ok(found) => node.heard(found.row.unwrap_or_default()),
                // It was replaced or removed: whoever has it open sees what it was.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.object_known(&node))
    }

    pub(crate) async fn object_set_attr(
        self: &Arc<Self>,
        who: &Who,
        ino: u64,
        changes: Changes,
    ) -> Result<Known> {
        let node = self.objects.get(ino)?;
        check_past(&node.place)?;
        if let Some(size) = changes.size {
            self.object_resize(who, &node, size).await?;
        }
        let mut request = request(&changes);
        if request == SetAttrRequest::default() {
            return Ok(self.object_known(&node));
        }
        if let Some(uid) = request.uid {
            request.owner_name = self.callers.name(uid).await;
        }
        if let Kind::Unborn(writing) = &node.kind
            && writing.change_later(&request)
        {
            return Ok(self.object_known(&node));
        }
        let object = match &node.kind {
            Kind::Unborn(writing) => self.object_at(who, &writing.place).await?,
            _ => None,
        };
        let object = object.as_ref().unwrap_or(&node).object();
        let Some(place) = object.and_then(|found| found.r#ref.clone()) else {
            // Nothing in the bucket could keep it.
            return Err(Errno::EPERM.into());
        };
        request.r#ref = Some(place);
        let found = self
            .act(who, |ns| {
                let request = request.clone();
                async move { ns.set_attr(request).await }
            })
            .await?;
        let row = found.row.unwrap_or_default();
        match node.is_directory() {
            true => node.heard(self.directory_row(&node.place, Some(&row))),
            false => node.heard(row),
        }
        Ok(self.object_known(&node))
    }

    pub(crate) async fn object_open(
        self: &Arc<Self>,
        who: &Who,
        ino: u64,
        flags: i32,
    ) -> Result<Opened> {
        let node = self.objects.get(ino)?;
        if node.is_directory() {
            return Err(Errno::EISDIR.into());
        }
        if flags & libc::O_ACCMODE != libc::O_RDONLY {
            check_past(&node.place)?;
            return self.open_to_write(who, &node, flags).await;
        }
        match &node.kind {
            Kind::File(found) => self.open_to_read(who, &node, found).await,
            // Half an object is none.
            _ => match self.object_behind(who, &node.place).await? {
                Some(node) => match &node.kind {
                    Kind::File(found) => self.open_to_read(who, &node, found).await,
                    _ => Err(Errno::EBUSY.into()),
                },
                None => Err(Errno::EBUSY.into()),
            },
        }
    }

    /// The object in the bucket at a place, whatever is being written there.
    pub(crate) async fn object_behind(&self, who: &Who, place: &Place) -> Result<Option<Node>> {
        let objects = self.callers.objects(who).await;
        match objects.head_object(place.key()).await {
            Ok(info) => {
                let found = info.inode.ok_or(Errno::EPROTO)?;
                file_at(place, found).map(Some)
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens an object. The OM is told, so that its content stays until it is closed, whatever becomes of the key.
    async fn open_to_read(&self, who: &Who, node: &Node, found: &wire::Inode) -> Result<Opened> {
        let size = |found: &wire::Inode| found.row.as_ref().map_or(0, |row| row.size);
        let reader = |found: wire::Inode| -> FileReader { self.client.data().reader(found) };
        let place = found.r#ref.clone().unwrap_or_default();
        if node.place.is_past() {
            let handle = Handle::Reading(reader(found.clone()), size(found), None);
            return Ok(self.object_opened(handle, true));
        }
        let (session, id) = (self.session().await?, place.object_id);
        self.objects.hold(id);
        session.track_open(id);
        let number = session.id();
        let opened = self
            .ask(who, |ns| {
                let place = place.clone();
                async move { ns.open(place, number, false).await }
            })
            .await;
        match opened {
            Ok(found) => {
                let size = size(&found);
                let handle = Handle::Reading(reader(found), size, Some(id));
                Ok(self.object_opened(handle, false))
            }
            Err(error) => {
                if self.objects.let_go(id) {
                    session.track_close(id);
                }
                Err(error)
            }
        }
    }

    fn object_opened(&self, handle: Handle, keep_cache: bool) -> Opened {
        Opened {
            direct: matches!(handle, Handle::Writing(_)),
            handle: self.objects.open(handle),
            keep_cache,
            lent: None,
        }
    }

    pub(crate) async fn object_read(&self, handle: u64, offset: u64, len: usize) -> Result<Bytes> {
        let handle = self.objects.handle(handle)?;
        match &*handle {
            Handle::Reading(reader, size, _) => read(reader, *size, offset, len).await,
            Handle::Writing(writing) => {
                let found = writing.untouched().await.ok_or(Errno::EOPNOTSUPP)?;
                let size = found.row.as_ref().map_or(0, |row| row.size);
                read(&self.client.data().reader(found), size, offset, len).await
            }
            Handle::Directory(..) => Err(Errno::EISDIR.into()),
        }
    }

    /// The last descriptor of a handle is closed.
    pub(crate) async fn object_release(self: &Arc<Self>, handle: u64) -> Result<()> {
        let Some((handle, closed)) = self.objects.close(handle) else {
            return Err(Errno::EBADF.into());
        };
        if let Handle::Writing(writing) = &*handle
            && let Err(error) = self.publish(writing).await
        {
            tracing::warn!(key = writing.place.path, %error, "what was written is lost");
            self.count_loss();
        }
        if let Some(id) = closed {
            let session = self.session_as_it_is();
            session.track_close(id);
            // What the OM does not hear of now, it learns from the next announcement of opens.
            if let Err(error) = self.namespace.release(session.id(), vec![id]).await {
                tracing::warn!(%error, "a closed object is still held open by the OM");
            }
        }
        Ok(())
    }

    /// fsync, and close of one descriptor: what was written is an object now.
    pub(crate) async fn object_flush(self: &Arc<Self>, handle: u64) -> Result<()> {
        let handle = self.objects.handle(handle)?;
        let Handle::Writing(writing) = &*handle else {
            return Ok(());
        };
        self.publish(writing).await
    }

    pub(crate) fn object_seek(&self, handle: u64, offset: u64, whence: i32) -> Result<u64> {
        let size = match &*self.objects.handle(handle)? {
            Handle::Reading(_, size, _) => *size,
            Handle::Writing(writing) => writing.row().size,
            Handle::Directory(..) => return Err(Errno::EINVAL.into()),
        };
        match whence {
            _ if offset >= size => Err(Errno::ENXIO.into()),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    pub(crate) fn object_xattr(&self, ino: u64, name: &[u8]) -> Result<Bytes> {
        let row = self.objects.get(ino)?.row();
        let found = row.xattrs.iter().find(|xattr| xattr.name == name);
        found
            .map(|xattr| xattr.value.clone())
            .ok_or_else(|| Errno::ENODATA.into())
    }

    pub(crate) fn object_xattrs(&self, ino: u64) -> Result<Bytes> {
        let row = self.objects.get(ino)?.row();
        let names = row.xattrs.iter();
        Ok(names
            .flat_map(|xattr| xattr.name.iter().copied().chain([0]))
            .collect())
    }
}

/// A file.
pub(crate) fn file_at(place: &Place, found: wire::Inode) -> Result<Node> {
    let row = found.row.clone().ok_or(Errno::EPROTO)?;
    let ino = place.file_ino(row.object_id, place.is_past());
    Ok(Node::new(
        place.clone(),
        Kind::File(Box::new(found)),
        row,
        ino,
    ))
}

/// The name of a file or directory, if it is one that the kernel can be told.
pub(crate) fn shown(name: &str) -> bool {
    validate_key_component(name.as_bytes()).is_ok()
}

async fn read(reader: &FileReader, size: u64, offset: u64, len: usize) -> Result<Bytes> {
    let left = size.saturating_sub(offset);
    let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
    if len == 0 {
        return Ok(Bytes::new());
    }
    let data = reader.read(offset, len).await?;
    // Zeros are never invented, and a short read would be some.
    match data.len() == len {
        true => Ok(data),
        false => Err(Errno::EIO.into()),
    }
}

/// Refuses to change what is in a snapshot, or to make one by its name.
pub(crate) fn check_past(place: &Place) -> Result<()> {
    match place.is_past() {
        true => Err(Errno::EROFS.into()),
        false => Ok(()),
    }
}

fn bucket_name(place: &Place) -> BucketName<'_> {
    BucketName {
        volume: &place.bucket.volume,
        bucket: &place.bucket.name,
    }
}

fn is_gone(error: &ClientError) -> bool {
    error.is_not_found() || FsError::from(error.clone()).is(Errno::ESTALE)
}

/// What is to be changed, but for the size.
fn request(changes: &Changes) -> SetAttrRequest {
    let at = |time: Option<Time>| match time {
        Some(Time::At(ns)) => Some(ns.cast_unsigned()),
        _ => None,
    };
    SetAttrRequest {
        mode: changes.mode,
        uid: changes.uid,
        gid: changes.gid,
        atime_ns: at(changes.atime),
        mtime_ns: at(changes.mtime),
        atime_now: changes.atime == Some(Time::Now),
        mtime_now: changes.mtime == Some(Time::Now),
        ..Default::default()
    }
}
