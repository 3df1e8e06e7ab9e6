//! lookup, getattr and readlink.

use std::future::Future;

use bytes::Bytes;
use nix::errno::Errno;

use crate::attr::Attr;
use crate::errno::{FsError, Result};
use crate::inode::Inode;
use crate::vfs::{Vfs, Who};
use crate::wire::{InodeKind, InodeRef};

/// Longest name of one file, bytes.
const NAME_MAX: usize = 255;

/// Refuses names that no directory entry can have.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    Ok(())
}

impl Vfs {
    /// What `name` in the directory `parent` is. Counts one lookup, which [`Vfs::forget`] takes off.
    pub async fn lookup(&self, who: &Who, parent: u64, name: &[u8]) -> Result<Attr> {
        check_name(name)?;
        let dir = self.inodes.get(parent)?.children();
        let asked = self.inodes.epoch();
        let found = self
            .act(who, |ns| async move { ns.lookup(dir, name).await })
            .await?;
        self.looked(found, asked)
    }

    /// The attributes of an inode.
    pub async fn get_attr(&self, ino: u64) -> Result<Attr> {
        let inode = self.inodes.get(ino)?;
        self.refresh(&inode).await?;
        Ok(inode.attr())
    }

    /// Asks for the row of an inode. One that has lost its last name and is kept by nobody stays as
    /// it was last heard of, for those who still refer to it.
    pub(crate) async fn refresh(&self, inode: &Inode) -> Result<()> {
        let asked = inode.epoch();
        match self
            .at_place(inode, |place| self.namespace.get_attr(place))
            .await
        {
            Ok(found) => inode.heard(found.row, asked),
            Err(error)
                if inode.nameless() && (error.is(Errno::ENOENT) || error.is(Errno::ESTALE)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Asks for something of an inode by its place. When it is not there because a rename by this
    /// mount is on its way, asks again when that is done.
    pub(crate) async fn at_place<T, E, F, Fut>(&self, inode: &Inode, ask: F) -> Result<T>
    where
        F: Fn(InodeRef) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        FsError: From<E>,
    {
        loop {
            let place = inode.reference();
            let error = match ask(place.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => FsError::from(error),
            };
            if !error.is(Errno::ESTALE) {
                return Err(error);
            }
            drop(self.renaming.write().await);
            if inode.reference() == place {
                return Err(error);
            }
        }
    }

    /// Where a symbolic link points.
    pub async fn read_link(&self, ino: u64) -> Result<Bytes> {
        let inode = self.inodes.get(ino)?;
        self.refresh(&inode).await?;
        inode.with_row(|row| match row.kind() {
            InodeKind::Symlink => Ok(row.symlink_target.clone()),
            _ => Err(Errno::EINVAL.into()),
        })
    }
}
