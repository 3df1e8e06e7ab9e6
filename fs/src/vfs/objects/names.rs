//! Making, removing and renaming in object-store buckets.

use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc;
use ozone_client::objects::{ListRequest, S3Key};

use super::writing::{EMPTY_DIGEST, Writing};
use super::{check_past, shown};
use crate::attr::Known;
use crate::errno::Result;
use crate::objects::{Kind, Node, Place};
use crate::vfs::create::NewNode;
use crate::vfs::open::Opened;
use crate::vfs::{Target, Vfs, Who};
use crate::wire::{InodeKind, RenameRequest};

/// The place of a new name in a directory.
fn new_place(dir: &Place, name: &[u8]) -> Result<Place> {
    let name = std::str::from_utf8(name).map_err(|_| Errno::EILSEQ)?;
    let place = dir.child(name);
    check_past(&place)?;
    match shown(name) {
        true => Ok(place),
        false => Err(Errno::EINVAL.into()),
    }
}

/// The place of a name that is there, if it can be.
fn old_place(dir: &Place, name: &[u8]) -> Result<Place> {
    let name = std::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
    let place = dir.child(name);
    check_past(&place)?;
    Ok(place)
}

impl Vfs {
    /// As [`Vfs::make`]: a directory is a key with a slash at its end. Nothing but directories and files can be made.
    pub(crate) async fn object_make(
        self: &Arc<Self>,
        who: &Who,
        dir: &Place,
        name: &[u8],
        node: NewNode,
    ) -> Result<Known> {
        let place = new_place(dir, name)?;
        let key = match node.kind {
            InodeKind::Directory => place.prefix(),
            InodeKind::File => place.path.clone(),
            _ => return Err(Errno::EPERM.into()),
        };
        if self.object_at(who, &place).await?.is_some() {
            return Err(Errno::EEXIST.into());
        }
        let objects = self.callers.objects(who).await;
        let mut upload = objects.upload(place.named(&key), None);
        upload.set_mode(node.mode);
        let empty = S3Key {
            etag: Some(EMPTY_DIGEST.to_owned()),
            if_absent: true,
            ..Default::default()
        };
        upload.put(empty).await?;
        let made = self.object_at(who, &place).await?.ok_or(Errno::ENOENT)?;
        Ok(self.object_known(&self.objects.remember(made)))
    }

    /// As [`Vfs::create`]: the file is in the bucket when it is closed.
    pub(crate) async fn object_create(
        self: &Arc<Self>,
        who: &Who,
        dir: &Place,
        name: &[u8],
        (mode, flags): (u32, i32),
    ) -> Result<(Known, Opened)> {
        let place = new_place(dir, name)?;
        let exclusive = flags & libc::O_EXCL != 0;
        let node = match self.object_at(who, &place).await? {
            Some(_) if exclusive => return Err(Errno::EEXIST.into()),
            Some(node) => node,
            None => {
                let ino = self.objects.unborn_ino();
                let objects = self.callers.objects(who).await;
                let mut upload = objects.upload(place.key(), None);
                upload.set_mode(mode);
                let writing = Writing::new(who, place.clone(), ino, mode, upload, exclusive);
                return Ok(self.created(Arc::new(writing)));
            }
        };
        let node = self.objects.remember(node);
        match self.object_open(who, node.ino, flags).await {
            Ok(opened) => Ok((self.object_known(&node), opened)),
            Err(error) => {
                // The kernel never hears of this lookup.
                self.objects.forget(node.ino, 1);
                Err(error)
            }
        }
    }

    fn created(&self, writing: Arc<Writing>) -> (Known, Opened) {
        writing.grown(0, self.clock.wall_ns());
        self.objects.begin(&writing);
        let kind = Kind::Unborn(writing.clone());
        let node = Node::new(writing.place.clone(), kind, writing.row(), writing.ino);
        let node = self.objects.remember(node);
        (self.object_known(&node), self.opened_to_write(writing))
    }

    pub(crate) async fn object_unlink(&self, who: &Who, dir: &Place, name: &[u8]) -> Result<()> {
        let place = old_place(dir, name)?;
        let writing = self.objects.writing(&place);
        if let Some(writing) = &writing {
            writing.unlink();
            self.objects.end(writing);
        }
        let objects = self.callers.objects(who).await;
        match objects.delete_object(place.key(), None).await {
            // It was in memory only.
            Err(error) if error.is_not_found() && writing.is_some() => {}
            deleted => deleted?,
        }
        self.objects.removed_from(dir.directory_ino());
        Ok(())
    }

    /// Removes a directory that has no keys. One that nothing implies any more is gone already.
    pub(crate) async fn object_rmdir(&self, who: &Who, dir: &Place, name: &[u8]) -> Result<()> {
        let place = old_place(dir, name)?;
        let objects = self.callers.objects(who).await;
        let inside = ListRequest {
            prefix: place.prefix(),
            limit: 2,
            ..Default::default()
        };
        let (volume, bucket) = (&place.bucket.volume, &place.bucket.name);
        let found = objects.list_objects(volume, bucket, &inside).await?.objects;
        let marker = place.prefix();
        let others = found.iter().any(|object| object.key() != marker);
        if others || self.objects.is_written_below(&place) {
            return Err(Errno::ENOTEMPTY.into());
        }
        if !found.is_empty() {
            objects.delete_object(place.named(&marker), None).await?;
        } else if self.objects.emptied(&place).is_none() {
            let there = self.object_behind(who, &place).await?.is_some();
            return Err(match there {
                true => Errno::ENOTDIR.into(),
                false => Errno::ENOENT.into(),
            });
        }
        self.objects.removed(place.directory_ino());
        self.objects.removed_from(dir.directory_ino());
        Ok(())
    }

    /// Renames a file within its bucket, at once for everybody. A directory is as many keys as are in it.
    pub(crate) async fn object_rename(
        &self,
        who: &Who,
        (from_dir, from_name): (&Place, &[u8]),
        (to_dir, to_name): (&Place, &[u8]),
        target: Target,
    ) -> Result<()> {
        let (from, to) = (old_place(from_dir, from_name)?, new_place(to_dir, to_name)?);
        if from.bucket != to.bucket {
            return Err(Errno::EXDEV.into());
        }
        if let Some(writing) = self.objects.writing(&from) {
            tracing::debug!(
                key = writing.place.path,
                "is being written, and not renamed"
            );
            return Err(Errno::EBUSY.into());
        }
        match self.object_at(who, &from).await? {
            None => return Err(Errno::ENOENT.into()),
            Some(node) if node.is_directory() => return Err(Errno::EXDEV.into()),
            Some(_) => {}
        }
        let request = RenameRequest {
            from_dir: Some(from.bucket.root),
            from_name: Bytes::from(from.path.clone()),
            to_dir: Some(to.bucket.root),
            to_name: Bytes::from(to.path.clone()),
            no_replace: target == Target::Keep,
            exchange: target == Target::Exchange,
            keep: None,
        };
        self.act(who, |ns| {
            let request = request.clone();
            async move { ns.rename(request).await }
        })
        .await?;
        if let Some(writing) = self.objects.writing(&to) {
            writing.unlink();
            self.objects.end(&writing);
        }
        self.objects.removed_from(from_dir.directory_ino());
        Ok(())
    }
}
