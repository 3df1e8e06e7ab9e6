//! setattr: chmod, chown, utimens and truncate.

use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;

use crate::attr::Known;
use crate::errno::Result;
use crate::inode::Inode;
use crate::objects;
use crate::vfs::{Vfs, Who};
use crate::wire::{InodeKind, InodeRef, InodeRow, SetAttrRequest};

const SUID: u32 = 0o4000;
const SGID: u32 = 0o2000;
const GROUP_EXEC: u32 = 0o0010;
/// The extended attribute that gives an executable its capabilities.
const CAPABILITY: &[u8] = b"security.capability";

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// The time at which the change is made.
    Now,
    /// Nanoseconds since 1970, negative before.
    At(i64),
}

/// What setattr changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<Time>,
    /// Last change of content.
    pub mtime: Option<Time>,
}

impl Vfs {
    /// Changes attributes; all of them or none.
    pub async fn set_attr(
        self: &Arc<Self>,
        who: &Who,
        ino: u64,
        changes: Changes,
    ) -> Result<Known> {
        if objects::is_object(ino) {
            return self.object_set_attr(who, ino, changes).await;
        }
        let inode = self.inodes.get(ino)?;
        let mut request = request(&inode, who, &changes)?;
        if let Some(uid) = request.uid {
            request.owner_name = self.callers.name(uid).await;
        }
        if self.set_attr_later(who, &inode, &request) {
            return Ok(self.known(&inode));
        }
        if changes.size.is_some() || changes.mtime.is_some() {
            // What is pending would be committed later, and win.
            self.write_out(&inode).await;
        }
        let resized = changes.size.is_some();
        if resized {
            self.about_to_change(&inode).await;
        }
        self.apply(who, &inode, request).await?;
        if resized {
            self.follow(&inode).await;
            self.await_pages(&inode).await;
        }
        Ok(self.known(&inode))
    }

    /// Sends a change, whose place is filled in, and takes the answer.
    pub(crate) async fn apply(
        &self,
        who: &Who,
        inode: &Inode,
        request: SetAttrRequest,
    ) -> Result<()> {
        let resized = request.size;
        let ask = |place: InodeRef| {
            let request = SetAttrRequest {
                r#ref: Some(place),
                ..request.clone()
            };
            self.act(who, move |ns| {
                let request = request.clone();
                async move { ns.set_attr(request).await }
            })
        };
        let asked = inode.asked();
        let found = self.at_place(inode, ask).await?;
        let version = found.row.as_ref().map(|row| row.data_version);
        inode.changed(found, asked);
        match resized {
            // Of an empty file the kernel has no pages that could be wrong.
            Some(0) => inode.set_cached(version),
            Some(_) => inode.set_cached(None),
            None => {}
        }
        Ok(())
    }

    /// Takes suid, sgid and capabilities from a file that somebody writes to.
    pub(crate) async fn kill_privileges(&self, who: &Who, inode: &Inode) -> Result<()> {
        let mut request = SetAttrRequest::default();
        if !inode.with_row(|row| drop_privileges(&mut request, row)) {
            return Ok(());
        }
        self.apply(who, inode, request).await
    }

    /// Takes capabilities alone, as every write does.
    pub(crate) async fn kill_capabilities(&self, who: &Who, inode: &Inode) -> Result<()> {
        if !has_capabilities(inode) {
            return Ok(());
        }
        let request = SetAttrRequest {
            remove_xattrs: vec![Bytes::from_static(CAPABILITY)],
            ..Default::default()
        };
        self.apply(who, inode, request).await
    }
}

fn request(inode: &Inode, who: &Who, changes: &Changes) -> Result<SetAttrRequest> {
    if changes
        .size
        .is_some_and(|size| i64::try_from(size).is_err())
    {
        return Err(Errno::EFBIG.into());
    }
    let at = |time: Option<Time>| match time {
        Some(Time::At(ns)) => Some(ns.cast_unsigned()),
        _ => None,
    };
    let mut request = SetAttrRequest {
        mode: changes.mode,
        uid: changes.uid,
        gid: changes.gid,
        size: changes.size,
        atime_ns: at(changes.atime),
        mtime_ns: at(changes.mtime),
        atime_now: changes.atime == Some(Time::Now),
        mtime_now: changes.mtime == Some(Time::Now),
        ..Default::default()
    };
    // The kernel leaves this to filesystems that ask for HANDLE_KILLPRIV_V2.
    let chown = changes.uid.is_some() || changes.gid.is_some();
    let cut = changes.size.is_some() && who.uid != 0;
    if (chown || cut) && changes.mode.is_none() {
        inode.with_row(|row| drop_privileges(&mut request, row));
    }
    Ok(request)
}

/// Whether a write by somebody else than root takes anything from the file.
pub(crate) fn has_privileges(inode: &Inode) -> bool {
    inode.with_row(|row| drop_privileges(&mut SetAttrRequest::default(), row))
}

/// Whether any write takes capabilities from the file.
pub(crate) fn has_capabilities(inode: &Inode) -> bool {
    inode.with_row(|row| row.xattrs.iter().any(|x| x.name == CAPABILITY))
}

/// Adds to a request what takes the privileges from a file. Returns whether it has any.
fn drop_privileges(request: &mut SetAttrRequest, row: &InodeRow) -> bool {
    if row.kind() != InodeKind::File {
        return false;
    }
    let mut mode = row.mode & !SUID;
    if mode & GROUP_EXEC != 0 {
        mode &= !SGID;
    }
    if mode != row.mode {
        request.mode = Some(mode);
    }
    let capable = row.xattrs.iter().find(|x| x.name == CAPABILITY);
    request
        .remove_xattrs
        .extend(capable.map(|x| x.name.clone()));
    mode != row.mode || capable.is_some()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::wire::XAttr;

    fn dropped(kind: InodeKind, mode: u32) -> Option<u32> {
        let mut request = SetAttrRequest::default();
        let row = InodeRow {
            kind: kind.into(),
            mode,
            ..Default::default()
        };
        drop_privileges(&mut request, &row);
        request.mode
    }

    #[test]
    fn privileges_fall_as_on_ext4() {
        assert_eq!(dropped(InodeKind::File, 0o6755), Some(0o755));
        assert_eq!(dropped(InodeKind::File, 0o4644), Some(0o644));
        // Without group execution sgid meant mandatory locking, and stays.
        assert_eq!(dropped(InodeKind::File, 0o2644), None);
        assert_eq!(dropped(InodeKind::File, 0o755), None);
        assert_eq!(dropped(InodeKind::Directory, 0o6755), None);
    }

    #[test]
    fn capabilities_fall_with_them() {
        let capability = XAttr {
            name: Bytes::from_static(CAPABILITY),
            value: Bytes::from_static(b"x"),
        };
        let row = InodeRow {
            kind: InodeKind::File.into(),
            xattrs: vec![capability],
            ..Default::default()
        };
        let mut request = SetAttrRequest::default();
        assert!(drop_privileges(&mut request, &row));
        assert_eq!(request.remove_xattrs, [CAPABILITY]);
        assert_eq!(request.mode, None);
    }
}
