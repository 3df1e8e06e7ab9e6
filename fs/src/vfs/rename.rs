//! rename, with NOREPLACE and EXCHANGE.

use bytes::Bytes;
use nix::errno::Errno;

use crate::errno::Result;
use crate::inode::Inode;
use crate::names::Belief;
use crate::vfs::leases::{Changing, told};
use crate::vfs::lookup::check_name;
use crate::vfs::past::check_change;
use crate::vfs::{Vfs, Who};
use crate::wire::RenameRequest;

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a> {
    /// Inode number of the directory.
    pub parent: u64,
    /// The name.
    pub name: &'a [u8],
}

/// What becomes of a target that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// It is replaced where POSIX allows it.
    Replace,
    /// EEXIST.
    Keep,
    /// It takes the other name; ENOENT when there is none.
    Exchange,
}

impl Vfs {
    /// Moves `from` to `to`, at once for every client.
    pub async fn rename(
        &self,
        who: &Who,
        from: Name<'_>,
        to: Name<'_>,
        target: Target,
    ) -> Result<()> {
        check_name(to.name)?;
        match (
            self.object_place(from.parent)?,
            self.object_place(to.parent)?,
        ) {
            (None, None) => {}
            (Some(source), Some(destination)) => {
                let (from, to) = ((&source, from.name), (&destination, to.name));
                return self.object_rename(who, from, to, target).await;
            }
            _ => return Err(Errno::EXDEV.into()),
        }
        let (source, destination) = (self.inodes.get(from.parent)?, self.inodes.get(to.parent)?);
        check_change(&source, from.name)?;
        check_change(&destination, to.name)?;
        let (from_dir, to_dir) = (source.children(), destination.children());
        let (from_name, to_name) = (
            Bytes::copy_from_slice(from.name),
            Bytes::copy_from_slice(to.name),
        );
        let request = RenameRequest {
            from_dir: Some(from_dir),
            from_name: from_name.clone(),
            to_dir: Some(to_dir),
            to_name: to_name.clone(),
            no_replace: target == Target::Keep,
            exchange: target == Target::Exchange,
            keep: None,
        };
        // Whoever replaces a file by renaming expects to find the old content or the new: with the new one lost, the
        // old one stays.
        self.write_out_at(&source, from.name).await?;
        let _renaming = self.renaming.read().await;
        let exchanged = (target == Target::Exchange)
            .then(|| self.inodes.at(&to_dir, to.name))
            .flatten();
        let asked = self.leases.asked();
        let _changing = (Changing::new(&source), Changing::new(&destination));
        let answer = self
            .act(who, |ns| {
                let request = request.clone();
                async move { ns.rename(request).await }
            })
            .await;
        self.names_moved(&source, &from, &destination, &to);
        let answer = told(&source, answer, asked, |answer| answer.from_parent.take());
        let answer = told(&destination, answer, asked, |answer| {
            answer.to_parent.take()
        })?;
        if let Some(other) = exchanged {
            self.inodes.moved(other.id, from_dir, from_name);
        }
        if answer.replaced_id != 0 && answer.replaced_id != answer.object_id {
            self.inodes.lost_name(answer.replaced_id, None);
        }
        self.inodes.moved(answer.object_id, to_dir, to_name);
        Ok(())
    }

    /// Commits what closes have left of the file that has a name in `dir`, or fails; commits that of each which may
    /// have it, if that is not sure.
    async fn write_out_at(&self, dir: &Inode, name: &[u8]) -> Result<()> {
        let belief = dir.names().lock().find(name, &self.leases);
        match belief {
            Belief::Inode(id) => {
                if let Some(inode) = self.inodes.peek(id) {
                    self.write_out_left(&inode).await?;
                }
            }
            Belief::Unknown => {
                let place = dir.children();
                let dirty = self.dirty.iter().map(|entry| entry.value().clone());
                let there = self.inodes.at(&place, name);
                let may_be: Vec<_> = dirty.filter(|i| i.may_be_at(&place, name)).collect();
                for inode in may_be {
                    let is_there = there.as_ref().is_some_and(|there| there.id == inode.id);
                    // What is lost of another file is not for who renames this one.
                    if !is_there && inode.data().pending.lock().is_left() {
                        self.write_out(&inode).await;
                    }
                }
                if let Some(inode) = there {
                    self.write_out_left(&inode).await?;
                }
            }
            Belief::Nothing => {}
        }
        Ok(())
    }

    /// Nothing is believed of the two names any more: the next look at them asks. An answer that was
    /// lost may have been a yes.
    fn names_moved(&self, source: &Inode, from: &Name<'_>, destination: &Inode, to: &Name<'_>) {
        for (dir, name) in [(source, from.name), (destination, to.name)] {
            let epoch = self.leases.next_epoch();
            dir.names().lock().doubt(name, epoch);
        }
    }
}
