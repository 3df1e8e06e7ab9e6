//! Files that the kernel reads by itself: when it may, and what happens when their content changes.
//!
//! A file is passed to the kernel when it is opened for reading, has the whole content in one file of this
//! machine, and nobody has it open otherwise. Whoever opens it for writing afterwards, or after its content has
//! changed, does so under its second number ([`crate::number`]): the kernel is told that what it knows is stale
//! and looks again. Those who read on see every change, of this mount at once, and another's before that is
//! acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use crate::errno::Result;
use crate::inode::Inode;
use crate::lent::{self, Lent, Map, Mirror, PassThrough};
use crate::number;
use crate::vfs::Vfs;

/// Bytes that are copied at a time into a file that shows a change.
const PIECE: u64 = 1 << 20;
/// Extents that are asked for at a time, and in all.
const PAGE: u32 = 1000;
const MOST: usize = 20_000;

impl Vfs {
    /// Whether the kernel may read files by itself.
    pub fn passes_through(&self) -> bool {
        self.passes.load(Ordering::Relaxed)
    }

    /// The kernel does not read files by itself.
    pub fn pass_nothing(&self) {
        self.passes.store(false, Ordering::Relaxed);
    }

    /// Whether the inode may be opened under this number now; ESTALE makes the kernel look for another.
    pub(crate) async fn check_number(
        &self,
        inode: &Arc<Inode>,
        ino: u64,
        write: bool,
    ) -> Result<()> {
        if number::is_second(ino) {
            return Ok(());
        }
        if let Some(lent) = inode.lent() {
            if write {
                self.take_over(inode, &lent).await;
            } else {
                self.follow(inode).await;
            }
            if !lent.is_closed() {
                return Ok(());
            }
            return Err(Errno::ESTALE.into());
        }
        match inode.has_second() {
            true => Err(Errno::ESTALE.into()),
            false => Ok(()),
        }
    }

    /// What the kernel is to read by itself, for a file that is being opened for reading under its first number.
    pub(crate) async fn pass(
        &self,
        inode: &Arc<Inode>,
        kernel: Option<&dyn PassThrough>,
    ) -> Option<Arc<Lent>> {
        if let Some(lent) = inode.join_passing() {
            return Some(lent);
        }
        let kernel = kernel?;
        let version = self.to_be_lent(inode)?;
        let file = match self.reader(inode).lend().await {
            Ok(file) => file?,
            Err(error) => {
                tracing::debug!(inode = inode.id, %error, "not lent");
                return None;
            }
        };
        // It may have been lent before or after somebody's change.
        if !inode.believed() || inode.with_row(|row| row.data_version != version) {
            return None;
        }
        match Lent::new(file, version, kernel) {
            Ok(lent) => {
                let lent = Arc::new(lent);
                inode.begin_passing(lent.clone());
                self.lent.insert(inode.id, inode.clone());
                metrics::counter!("fs_passed_through_total").increment(1);
                Some(lent)
            }
            Err(error) => {
                tracing::info!(%error, "the kernel does not read files by itself");
                self.pass_nothing();
                None
            }
        }
    }

    /// The version of a file's content, if it can be lent.
    fn to_be_lent(&self, inode: &Inode) -> Option<u64> {
        let clean = |inode: &Inode| {
            inode
                .data_if_any()
                .is_none_or(|data| data.pending.lock().is_clean())
        };
        let free = self.passes_through() && !inode.is_open() && inode.believed();
        if !free || !inode.with_row(lent::may_be_lent) || !clean(inode) {
            return None;
        }
        Some(inode.with_row(|row| row.data_version))
    }

    /// One who read without this mount has closed the file.
    pub(crate) fn unpass(&self, inode: &Inode) {
        inode.leave_passing();
        self.lent
            .remove_if(&inode.id, |_, inode| inode.lent().is_none());
    }

    /// Before this mount changes the content of a file: whoever reads it by itself is to see that.
    pub(crate) async fn about_to_change(&self, inode: &Arc<Inode>) {
        if let Some(lent) = inode.lent() {
            self.take_over(inode, &lent).await;
        }
    }

    /// Makes a lent file this mount's own. If that cannot be, those who have it open go on with what it was,
    /// until it can.
    async fn take_over(&self, inode: &Inode, lent: &Lent) {
        lent.close();
        let mut mirror = lent.mirror.lock().await;
        if let Err(error) = lent.take_over(&mut mirror).await {
            tracing::warn!(inode = inode.id, %error, "who has the file open does not see its changes yet");
        }
    }

    /// Shows a change of content to those who read a file by themselves.
    pub(crate) async fn follow(&self, inode: &Arc<Inode>) {
        let Some(lent) = inode.lent() else { return };
        let mut mirror = lent.mirror.lock().await;
        if let Err(error) = self.show(inode, &lent, &mut mirror).await {
            tracing::warn!(inode = inode.id, %error, "who has the file open does not see its changes yet");
        }
    }

    async fn show(&self, inode: &Inode, lent: &Lent, mirror: &mut Mirror) -> Result<()> {
        self.ensure_believed(inode).await?;
        let (version, size) = inode.with_row(|row| (row.data_version, row.size));
        if version == mirror.version() {
            return Ok(());
        }
        lent.close();
        let now = self.map(inode, size).await?;
        let own = lent.take_over(mirror).await?;
        for range in mirror.changed(&now) {
            let mut at = range.start;
            while at < range.end {
                let length = usize::try_from(PIECE.min(range.end - at)).unwrap_or(usize::MAX);
                let data = self.read_inode(inode, at, length).await?;
                if data.is_empty() {
                    // It is shorter by now, of which the next look tells.
                    break;
                }
                let written = data.len() as u64;
                lent::write(&own, at, data).await?;
                at += written;
            }
        }
        lent::set_len(&own, inode.attr().size).await?;
        mirror.shows(version, now);
        Ok(())
    }

    /// This mount has committed what readers were shown when it was written.
    pub(crate) async fn shown(&self, inode: &Inode, before: Option<u64>) {
        let Some(lent) = inode.lent() else { return };
        let mut mirror = lent.mirror.lock().await;
        if mirror.is_own() && before == Some(mirror.version()) {
            mirror.committed(inode.with_row(|row| row.data_version));
        }
    }

    /// The map of a file of that size.
    async fn map(&self, inode: &Inode, size: u64) -> Result<Map> {
        let (mut extents, mut at) = (Vec::new(), 0);
        while at < size && extents.len() < MOST {
            let ask = |place| self.namespace.get_extents(place, at, size - at, PAGE);
            let mut page = self.at_place(inode, ask).await?;
            let last = page.extents.last();
            let end = last.map_or(size, |last| last.file_offset + last.length);
            extents.append(&mut page.extents);
            at = if page.more { end } else { size };
        }
        Ok(Map {
            size,
            extents,
            complete: at >= size,
        })
    }

    /// Shows changes of others to those who read files by themselves.
    pub(crate) async fn follow_all(&self) {
        let lent: Vec<Arc<Inode>> = self.lent.iter().map(|e| e.value().clone()).collect();
        for inode in lent {
            if !inode.believed() {
                self.follow(&inode).await;
            }
        }
    }
}
