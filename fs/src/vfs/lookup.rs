//! lookup, getattr and readlink.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use ozone_client::namespace::Found;

use crate::attr::Known;
use crate::errno::{FsError, Result};
use crate::inode::Inode;
use crate::leases::Asked;
use crate::names::Belief;
use crate::objects;
use crate::past;
use crate::vfs::{Vfs, Who};
use crate::wire::{self, InodeKind, InodeRef};

/// Longest name of one file, bytes.
const NAME_MAX: usize = 255;

/// Refuses names that no directory entry can have.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    Ok(())
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// An inode; one lookup was counted, which [`Vfs::forget`] takes off.
    Inode(Known),
    /// Nothing, which may be believed for a while.
    Nothing(Duration),
}

impl Vfs {
    /// What `name` in the directory `parent` is.
    pub async fn lookup(&self, who: &Who, parent: u64, name: &[u8]) -> Result<Looked> {
        check_name(name)?;
        if past::is_past(parent) {
            return self.past_lookup(who, parent, name).await;
        }
        if let Some(dir) = self.object_place(parent)? {
            return self.object_lookup(who, &dir, name).await;
        }
        let parent = self.inodes.get(parent)?;
        if let Some(known) = self.snapshots_of(&parent, name) {
            return Ok(Looked::Inode(known));
        }
        if let Some(looked) = self.remembered(&parent, name) {
            return Ok(looked);
        }
        if parent.waits() {
            self.backlog.settle().await?;
        }
        let (dir, asked) = (parent.children(), parent.asked());
        let found = self
            .ask(who, |ns| async move { ns.find(dir, name).await })
            .await?;
        match found {
            Found::Inode(found) => self.looked(&parent, name, *found, asked).map(Looked::Inode),
            Found::Nothing { leased } => {
                let believed = leased && parent.names().lock().learn_absence(name, asked);
                Ok(Looked::Nothing(self.valid(believed)))
            }
        }
    }

    /// What is believed of a name.
    fn remembered(&self, parent: &Inode, name: &[u8]) -> Option<Looked> {
        let belief = parent.names().lock().find(name, &self.leases);
        match belief {
            Belief::Inode(id) => {
                let (inode, number) = self.inodes.look_again(id)?;
                Some(Looked::Inode(self.known(&inode).under(number)))
            }
            Belief::Nothing => Some(Looked::Nothing(self.valid(true))),
            Belief::Unknown => None,
        }
    }

    /// Takes an answer about a name, and counts one lookup.
    pub(crate) fn looked(
        &self,
        parent: &Inode,
        name: &[u8],
        found: wire::Inode,
        asked: Asked,
    ) -> Result<Known> {
        let leased = found.leased;
        let (inode, number) = self.inodes.remember(found, asked)?;
        let known = self.known(&inode).under(number);
        if leased && parent.names().lock().learn(name, inode.id, asked) {
            return Ok(known);
        }
        Ok(Known {
            valid: self.valid(false),
            ..known
        })
    }

    /// The attributes of an inode.
    pub async fn get_attr(&self, ino: u64) -> Result<Known> {
        if past::is_past(ino) {
            return self.past_attr(ino);
        }
        if objects::is_object(ino) {
            return self.object_attr(ino).await;
        }
        let inode = self.inodes.get(ino)?;
        self.ensure_believed(&inode).await?;
        Ok(self.known(&inode))
    }

    /// Asks for the row of an inode, unless it is believed.
    pub(crate) async fn ensure_believed(&self, inode: &Inode) -> Result<()> {
        if inode.believed() {
            return Ok(());
        }
        self.refresh(inode).await
    }

    /// Asks for the row of an inode. One that has lost its last name and is kept by nobody stays as
    /// it was last heard of, for those who still refer to it.
    pub(crate) async fn refresh(&self, inode: &Inode) -> Result<()> {
        let asked = inode.asked();
        match self
            .at_place(inode, |place| self.namespace.get_attr(place))
            .await
        {
            Ok(found) => inode.heard(found, asked),
            Err(error)
                if inode.nameless() && (error.is(Errno::ENOENT) || error.is(Errno::ESTALE)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Asks for something of an inode by its place, once the namespace has heard of everything that
    /// waits. When it is not there because a rename by this
    /// mount is on its way, asks again when that is done.
    pub(crate) async fn at_place<T, E, F, Fut>(&self, inode: &Inode, ask: F) -> Result<T>
    where
        F: Fn(InodeRef) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        FsError: From<E>,
    {
        self.backlog.settle().await?;
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
        if past::is_past(ino) {
            return self.past_link(ino);
        }
        if objects::is_object(ino) {
            return Err(Errno::EINVAL.into());
        }
        let inode = self.inodes.get(ino)?;
        self.ensure_believed(&inode).await?;
        inode.with_row(|row| match row.kind() {
            InodeKind::Symlink => Ok(row.symlink_target.clone()),
            _ => Err(Errno::EINVAL.into()),
        })
    }
}
