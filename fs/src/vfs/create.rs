//! Making things: create, mkdir, mknod, symlink and link.

use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc;

use crate::attr::Known;
use crate::errno::Result;
use crate::inode::Inode;
use crate::objects;
use crate::vfs::attr::Changes;
use crate::vfs::leases::{Changing, told};
use crate::vfs::lookup::check_name;
use crate::vfs::open::Opened;
use crate::vfs::past::check_change;
use crate::vfs::write_back::Opening;
use crate::vfs::{Vfs, Who};
use crate::wire::{CreateRequest, InodeKind, InodeRow, LinkRequest};

const SGID: u32 = 0o2000;
/// Longest target of a symbolic link, bytes.
const PATH_MAX: usize = 4096;

/// A thing to make.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// What it is.
    pub kind: InodeKind,
    /// Permission bits, the umask taken off.
    pub mode: u32,
    /// Device that a device file stands for, else 0.
    pub rdev: u32,
    /// Where a symbolic link points, else empty.
    pub target: Bytes,
}

impl NewNode {
    /// A plain file, directory, pipe or socket.
    pub fn of(kind: InodeKind, mode: u32) -> Self {
        Self {
            kind,
            mode,
            rdev: 0,
            target: Bytes::new(),
        }
    }
}

impl Vfs {
    /// Makes a directory, device, pipe, socket, symbolic link or empty file; EEXIST when the name
    /// is taken. In `/` a directory is a volume, in a volume a bucket. Counts one lookup, as all
    /// that answers attributes of a name does.
    pub async fn make(
        self: &Arc<Self>,
        who: &Who,
        parent: u64,
        name: &[u8],
        node: NewNode,
    ) -> Result<Known> {
        if let Some(dir) = self.object_place(parent)? {
            return self.object_make(who, &dir, name, node).await;
        }
        let parent = self.inodes.get(parent)?;
        let directory = node.kind == InodeKind::Directory;
        if node.target.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let request = CreateRequest {
            exclusive: true,
            ..request(who, &parent, name, node)?
        };
        if let Some(made) = self.make_later(who, &parent, &request, None) {
            return made.map(|(known, _)| known);
        }
        let _changing = Changing::new(&parent);
        let asked = parent.asked();
        let made = self
            .act(who, |ns| {
                let request = request.clone();
                async move { ns.create(request).await }
            })
            .await;
        let made = told(&parent, made, asked, |made| made.parent.take())?;
        let known = self.looked(&parent, name, made.inode.unwrap_or_default(), asked)?;
        if directory && !known.valid.is_zero() {
            self.inodes.get(known.attr.ino)?.names().lock().begin(asked);
        }
        Ok(known)
    }

    /// Makes a file and opens it, as open(2) with O_CREAT does; `flags` are those of open(2).
    pub async fn create(
        self: &Arc<Self>,
        who: &Who,
        parent: u64,
        name: &[u8],
        mode: u32,
        flags: i32,
    ) -> Result<(Known, Opened)> {
        if let Some(dir) = self.object_place(parent)? {
            return self.object_create(who, &dir, name, (mode, flags)).await;
        }
        let parent = self.inodes.get(parent)?;
        let session = self.session().await?;
        let request = CreateRequest {
            exclusive: flags & libc::O_EXCL != 0,
            session: session.id(),
            ..request(who, &parent, name, NewNode::of(InodeKind::File, mode))?
        };
        let opening = Opening {
            session: &session,
            flags,
        };
        match self.make_later(who, &parent, &request, Some(opening)) {
            Some(Ok((known, Some(opened)))) => return Ok((known, opened)),
            Some(Err(error)) => return Err(error),
            _ => {}
        }
        let _changing = Changing::new(&parent);
        let asked = parent.asked();
        let made = self
            .act(who, |ns| {
                let request = request.clone();
                async move { ns.create(request).await }
            })
            .await;
        let made = told(&parent, made, asked, |made| made.parent.take())?;
        let known = self.looked(&parent, name, made.inode.unwrap_or_default(), asked)?;
        let inode = self.inodes.get(known.attr.ino)?;
        let opened = if made.existed {
            self.open_existing(who, &inode, known.attr.ino, flags).await
        } else {
            Ok(self.opened_new(&session, &inode, flags))
        };
        match opened {
            // Opening it may have cut it.
            Ok(opened) if made.existed => Ok((self.known(&inode).under(known.attr.ino), opened)),
            Ok(opened) => Ok((known, opened)),
            Err(error) => {
                // The kernel never hears of this lookup.
                self.inodes.forget(known.attr.ino, 1);
                Err(error)
            }
        }
    }

    /// Another client made the file between the kernel's lookup and its create: what the kernel
    /// would have done on open is done here.
    async fn open_existing(
        self: &Arc<Self>,
        who: &Who,
        inode: &Arc<Inode>,
        ino: u64,
        flags: i32,
    ) -> Result<Opened> {
        let (wanted, row) = (wanted_access(flags), inode.with_row(Clone::clone));
        if !may_access(&row, who, &[], wanted)
            && !may_access(&row, who, &who.groups().await, wanted)
        {
            return Err(Errno::EACCES.into());
        }
        let opened = self.open(who, ino, flags, None).await?;
        if flags & libc::O_TRUNC != 0 {
            let cut = Changes {
                size: Some(0),
                ..Default::default()
            };
            if let Err(error) = self.set_attr(who, inode.id, cut).await {
                self.release(opened.handle).await?;
                return Err(error);
            }
        }
        Ok(opened)
    }

    /// Gives a file one more name, in its bucket.
    pub async fn link(&self, who: &Who, ino: u64, parent: u64, name: &[u8]) -> Result<Known> {
        check_name(name)?;
        if objects::is_object(ino) || self.object_place(parent)?.is_some() {
            return Err(Errno::EPERM.into());
        }
        let (inode, parent) = (self.inodes.get(ino)?, self.inodes.get(parent)?);
        check_change(&parent, name)?;
        self.write_out_left(&inode).await?;
        let request = LinkRequest {
            source: Some(inode.reference()),
            dir: Some(parent.children()),
            name: Bytes::copy_from_slice(name),
        };
        let _changing = Changing::new(&parent);
        let asked = parent.asked();
        let made = self
            .act(who, |ns| {
                let request = request.clone();
                async move { ns.link(request).await }
            })
            .await;
        let made = told(&parent, made, asked, |made| made.parent.take())?;
        self.looked(&parent, name, made.inode.unwrap_or_default(), asked)
    }
}

fn request(who: &Who, parent: &Inode, name: &[u8], node: NewNode) -> Result<CreateRequest> {
    check_change(parent, name)?;
    check_name(name)?;
    let (gid, mode) = parent.with_row(|dir| inherit(dir, who, &node));
    Ok(CreateRequest {
        dir: Some(parent.children()),
        name: Bytes::copy_from_slice(name),
        kind: node.kind.into(),
        mode,
        uid: who.uid,
        gid,
        rdev: node.rdev,
        symlink_target: node.target,
        exclusive: false,
        session: 0,
        object_id: 0,
    })
}

/// Group and mode of something new: a directory with sgid hands its group down, and to directories
/// the bit itself.
fn inherit(dir: &InodeRow, who: &Who, node: &NewNode) -> (u32, u32) {
    if dir.mode & SGID == 0 {
        return (who.gid, node.mode);
    }
    let sgid = if node.kind == InodeKind::Directory {
        SGID
    } else {
        0
    };
    (dir.gid, node.mode | sgid)
}

/// The permission bits (of `rwx`) that opening with `flags` takes.
fn wanted_access(flags: i32) -> u32 {
    match flags & libc::O_ACCMODE {
        libc::O_RDONLY => 4,
        libc::O_WRONLY => 2,
        _ => 6,
    }
}

/// Whether mode and owner allow what is wanted, to somebody who is also in `groups`.
fn may_access(row: &InodeRow, who: &Who, groups: &[u32], wanted: u32) -> bool {
    let shift = match () {
        () if who.uid == 0 => return true,
        () if who.uid == row.uid => 6,
        () if who.gid == row.gid || groups.contains(&row.gid) => 3,
        () => 0,
    };
    (row.mode >> shift) & wanted == wanted
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const WHO: Who = Who {
        uid: 5,
        gid: 6,
        pid: 1,
    };

    #[test]
    fn sgid_directories_hand_their_group_down() {
        let plain = InodeRow {
            mode: 0o755,
            gid: 9,
            ..Default::default()
        };
        let sgid = InodeRow {
            mode: 0o2755,
            gid: 9,
            ..Default::default()
        };
        let (file, dir) = (
            NewNode::of(InodeKind::File, 0o644),
            NewNode::of(InodeKind::Directory, 0o755),
        );
        assert_eq!(inherit(&plain, &WHO, &file), (6, 0o644));
        assert_eq!(inherit(&sgid, &WHO, &file), (9, 0o644));
        assert_eq!(inherit(&sgid, &WHO, &dir), (9, 0o2755));
    }

    #[test]
    fn access_goes_by_owner_then_group_then_others() {
        let row = |mode| InodeRow {
            uid: 5,
            gid: 6,
            mode,
            ..Default::default()
        };
        let other = Who {
            uid: 7,
            gid: 7,
            pid: 1,
        };
        let group = Who {
            uid: 7,
            gid: 6,
            pid: 1,
        };
        assert!(may_access(
            &row(0o600),
            &WHO,
            &[],
            wanted_access(libc::O_RDWR)
        ));
        assert!(!may_access(
            &row(0o077),
            &WHO,
            &[],
            wanted_access(libc::O_RDONLY)
        ));
        assert!(may_access(
            &row(0o640),
            &group,
            &[],
            wanted_access(libc::O_RDONLY)
        ));
        assert!(!may_access(
            &row(0o640),
            &group,
            &[],
            wanted_access(libc::O_WRONLY)
        ));
        assert!(!may_access(
            &row(0o640),
            &other,
            &[],
            wanted_access(libc::O_RDONLY)
        ));
        let root = Who {
            uid: 0,
            gid: 0,
            pid: 1,
        };
        assert!(may_access(&row(0), &root, &[], 6));
        let read = wanted_access(libc::O_RDONLY);
        assert!(may_access(&row(0o640), &other, &[9, 6], read));
        assert!(!may_access(&row(0o604), &other, &[6], read));
    }
}
