//! Extended attributes.

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc;

use crate::errno::Result;
use crate::inode::Inode;
use crate::objects;
use crate::past;
use crate::vfs::{Vfs, Who};
use crate::wire::{SetAttrRequest, XAttr};

/// Attributes that the kernel asks for at every write.
const SECURITY: &[u8] = b"security.";
/// What the names of attributes begin with. `system.` is the kernel's own business: POSIX ACLs are not kept.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", SECURITY];

impl Vfs {
    /// The value of an attribute; ENODATA when there is none of that name.
    pub async fn get_xattr(&self, ino: u64, name: &[u8]) -> Result<Bytes> {
        if past::is_past(ino) {
            return self.past_xattr(ino, name);
        }
        if objects::is_object(ino) {
            return self.object_xattr(ino, name);
        }
        let inode = self.inodes.get(ino)?;
        check(name)?;
        // The row of an open file is recent enough for the question before each write.
        if !(name.starts_with(SECURITY) && inode.is_open()) {
            self.ensure_believed(&inode).await?;
        }
        value(&inode, name).ok_or_else(|| Errno::ENODATA.into())
    }

    /// All names, each ended by a NUL.
    pub async fn list_xattrs(&self, ino: u64) -> Result<Bytes> {
        if past::is_past(ino) {
            return self.past_xattrs(ino);
        }
        if objects::is_object(ino) {
            return self.object_xattrs(ino);
        }
        let inode = self.inodes.get(ino)?;
        self.ensure_believed(&inode).await?;
        Ok(inode.with_row(|row| {
            let mut names = Vec::new();
            for xattr in &row.xattrs {
                names.extend_from_slice(&xattr.name);
                names.push(0);
            }
            names.into()
        }))
    }

    /// Sets an attribute; `flags` are those of setxattr(2).
    pub async fn set_xattr(&self, who: &Who, ino: u64, xattr: XAttr, flags: i32) -> Result<()> {
        if objects::is_object(ino) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let inode = self.inodes.get(ino)?;
        check(&xattr.name)?;
        if flags != 0 {
            self.ensure_believed(&inode).await?;
            match (value(&inode, &xattr.name), flags) {
                (Some(_), libc::XATTR_CREATE) => return Err(Errno::EEXIST.into()),
                (None, libc::XATTR_REPLACE) => return Err(Errno::ENODATA.into()),
                _ => {}
            }
        }
        let request = SetAttrRequest {
            set_xattrs: vec![xattr],
            ..Default::default()
        };
        self.apply(who, &inode, request).await
    }

    /// Removes an attribute; ENODATA when there is none of that name.
    pub async fn remove_xattr(&self, who: &Who, ino: u64, name: Bytes) -> Result<()> {
        if objects::is_object(ino) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let inode = self.inodes.get(ino)?;
        check(&name)?;
        let request = SetAttrRequest {
            remove_xattrs: vec![name],
            ..Default::default()
        };
        self.apply(who, &inode, request).await
    }
}

fn check(name: &[u8]) -> Result<()> {
    match NAMESPACES.iter().any(|prefix| name.starts_with(prefix)) {
        true => Ok(()),
        false => Err(Errno::EOPNOTSUPP.into()),
    }
}

fn value(inode: &Inode, name: &[u8]) -> Option<Bytes> {
    inode.with_row(|row| {
        row.xattrs
            .iter()
            .find(|x| x.name == name)
            .map(|x| x.value.clone())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_kept_in_the_namespaces_that_ext4_has() {
        for kept in ["user.a", "trusted.overlay.opaque", "security.capability"] {
            check(kept.as_bytes()).unwrap();
        }
        for refused in ["bogus.b", "system.posix_acl_access", "user", "User.a", ""] {
            let error = check(refused.as_bytes()).unwrap_err();
            assert!(error.is(Errno::EOPNOTSUPP), "{refused}");
        }
    }
}
