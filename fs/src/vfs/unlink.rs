//! unlink and rmdir. A file that is open here or on another mount lives on until its last close.

use bytes::Bytes;

use crate::errno::Result;
use crate::vfs::leases::{Changing, told};
use crate::vfs::lookup::check_name;
use crate::vfs::past::check_change;
use crate::vfs::{Vfs, Who};
use crate::wire::UnlinkRequest;

impl Vfs {
    /// Removes the name of something that is no directory.
    pub async fn unlink(&self, who: &Who, parent: u64, name: &[u8]) -> Result<()> {
        self.remove(who, parent, name, false).await
    }

    /// Removes an empty directory; in a volume an empty bucket, in `/` an empty volume.
    pub async fn rmdir(&self, who: &Who, parent: u64, name: &[u8]) -> Result<()> {
        self.remove(who, parent, name, true).await
    }

    async fn remove(&self, who: &Who, parent: u64, name: &[u8], directory: bool) -> Result<()> {
        check_name(name)?;
        if let Some(dir) = self.object_place(parent)? {
            return match directory {
                true => self.object_rmdir(who, &dir, name).await,
                false => self.object_unlink(who, &dir, name).await,
            };
        }
        let parent = self.inodes.get(parent)?;
        check_change(&parent, name)?;
        let request = UnlinkRequest {
            dir: Some(parent.children()),
            name: Bytes::copy_from_slice(name),
            object_id: 0,
            directory,
            keep: None,
        };
        let _changing = Changing::new(&parent);
        let asked = parent.asked();
        let answer = self
            .act(who, |ns| {
                let request = request.clone();
                async move { ns.unlink(request).await }
            })
            .await;
        let epoch = self.leases.next_epoch();
        match &answer {
            Ok(_) => parent.names().lock().remove(name, epoch),
            // The answer may have been lost on its way.
            Err(_) => parent.names().lock().doubt(name, epoch),
        }
        let answer = told(&parent, answer, asked, |answer| answer.parent.take())?;
        self.inodes.lost_name(answer.object_id, Some(answer.nlink));
        Ok(())
    }
}
