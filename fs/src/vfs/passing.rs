//! Files that the kernel reads by itself: when it may, and what happens when their content changes.
//!
//! A file is passed to the kernel when it is opened for reading, has the whole content in one file of this
//! machine, and nobody has it open otherwise. Whoever opens it for writing afterwards, or after its content has
//! changed, does so under its second number ([`crate::number`]): the kernel is told that what it knows is stale
//! and looks again. Those who read on see every change, of this mount at once, and another's before that is
//! acknowledged.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt, stream};
use nix::errno::Errno;
use ozone_client::Lending;

use crate::errno::Result;
use crate::handle::FileHandle;
use crate::inode::Inode;
use crate::lent::{self, Lent, Map, Mirror, PassThrough};
use crate::number;
use crate::vfs::{Stale, Vfs};

/// Bytes that are copied at a time into a file that shows a change.
const PIECE: u64 = 1 << 20;
/// Extents that are asked for at a time, and in all.
const PAGE: u32 = 1000;
const MOST: usize = 20_000;
/// Files that are lent at the same time: each takes a descriptor or two.
const MOST_LENT: usize = 200;
/// How often a map is asked for again because the file changed meanwhile.
const LOOKS: usize = 8;
/// How often, and at what distance, is looked for the release of handles that were closed.
const RELEASES: usize = 20;
const RELEASE: Duration = Duration::from_micros(500);
/// Files that are brought up to date at the same time.
const AT_A_TIME: usize = 8;

/// Who reads what is read through a handle.
pub(crate) enum Reads {
    /// The kernel, by itself.
    ByKernel(Arc<Lent>),
    /// This mount. The kernel will when all of it was read once.
    HereOnce,
    /// This mount.
    Here,
}

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
        if let Some(lent) = inode.lent() {
            match write {
                true => self.take_over(inode, &lent).await,
                false => self.follow(inode).await,
            }
        }
        match number::is_second(ino) || !inode.needs_second() {
            true => Ok(()),
            false => Err(Errno::ESTALE.into()),
        }
    }

    /// What the kernel is to read by itself, for a file that is being opened for reading under its first number.
    pub(crate) async fn pass(
        &self,
        inode: &Arc<Inode>,
        kernel: Option<&dyn PassThrough>,
    ) -> Result<Reads> {
        let Some(kernel) = kernel else {
            // The kernel could not be told; it opens the file in another way when it looks again.
            return match inode.lent() {
                Some(_) => Err(Errno::ESTALE.into()),
                None => Ok(Reads::Here),
            };
        };
        match inode.join_passing() {
            Some(lent) => Ok(Reads::ByKernel(lent)),
            None => Ok(self.begin_passing(inode, kernel).await),
        }
    }

    async fn begin_passing(&self, inode: &Arc<Inode>, kernel: &dyn PassThrough) -> Reads {
        self.await_releases(inode).await;
        let Some(version) = self.to_be_lent(inode) else {
            return Reads::Here;
        };
        let file = match self.reader(inode).lend().await {
            Ok(Lending::Lent(file)) => file,
            Ok(Lending::OnceRead) => return Reads::HereOnce,
            Ok(Lending::No) => return Reads::Here,
            Err(error) => {
                tracing::debug!(inode = inode.id, %error, "not lent");
                return Reads::Here;
            }
        };
        // It may have been lent before or after somebody's change.
        if !inode.believed() || inode.with_row(|row| row.data_version != version) {
            return Reads::Here;
        }
        match Lent::new(file, version, kernel) {
            Ok(lent) => {
                let lent = Arc::new(lent);
                inode.begin_passing(lent.clone());
                self.lent.insert(inode.id, inode.clone());
                metrics::counter!("fs_passed_through_total").increment(1);
                // A change that was heard of in between.
                self.follow(inode).await;
                Reads::ByKernel(lent)
            }
            Err(error) => {
                tracing::info!(%error, "the kernel does not read files by itself");
                self.pass_nothing();
                Reads::Here
            }
        }
    }

    /// Programs that read a file again close it before: the kernel tells of the end of a handle a moment later.
    async fn await_releases(&self, inode: &Inode) {
        let large = self.passes_through() && inode.with_row(lent::may_be_lent);
        for _ in 0..RELEASES {
            if !large || !inode.only_closing() {
                return;
            }
            self.clock.sleep(RELEASE).await;
        }
        inode.forget_closing();
    }

    /// The version of a file's content, if it can be lent.
    fn to_be_lent(&self, inode: &Inode) -> Option<u64> {
        let clean = |inode: &Inode| {
            inode
                .data_if_any()
                .is_none_or(|data| data.pending.lock().is_clean())
        };
        let room = self.lent.len() < MOST_LENT;
        let free = room && self.passes_through() && !inode.is_open() && inode.believed();
        if !free || !inode.with_row(lent::may_be_lent) || !clean(inode) {
            return None;
        }
        Some(inode.with_row(|row| row.data_version))
    }

    /// One who read without this mount has closed the file.
    pub(crate) async fn unpass(&self, inode: &Inode) {
        let ended = inode.leave_passing();
        self.lent
            .remove_if(&inode.id, |_, inode| inode.lent().is_none());
        // Whoever opens it next can be lent it again.
        if let Some(lent) = ended.and_then(Arc::into_inner) {
            lent.give_back().await;
        }
    }

    /// A program has read this of a file. The kernel gives up what will not be read again through this mount.
    pub(super) fn leave_behind(&self, file: &FileHandle, read: Range<u64>) {
        let Some(done) = file.behind.as_ref().and_then(|behind| behind.read(read)) else {
            return;
        };
        drop(self.forget_soon(vec![vec![Stale::Bytes(file.inode.id, done)]]));
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
        if let Err(error) = lent.take_over(&mut mirror, self.now()).await {
            tracing::warn!(inode = inode.id, %error, "who has the file open does not see its changes yet");
        }
        drop(mirror);
        // What the kernel believes of it under its first number is not renewed by what happens under the second.
        drop(self.forget_soon(vec![vec![Stale::Inode(inode.id)]]));
    }

    /// Shows a change of content to those who read a file by themselves.
    pub(crate) async fn follow(&self, inode: &Arc<Inode>) {
        let Some(lent) = inode.lent() else { return };
        let mut mirror = lent.mirror.lock().await;
        if let Err(error) = self.show(inode, &lent, &mut mirror).await {
            tracing::debug!(inode = inode.id, %error, "who has the file open does not see its changes yet");
        }
    }

    async fn show(&self, inode: &Inode, lent: &Lent, mirror: &mut Mirror) -> Result<()> {
        for _ in 0..LOOKS {
            self.ensure_believed(inode).await?;
            let (version, size) = inode.with_row(|row| (row.data_version, row.size));
            if mirror.shows(version) {
                return Ok(());
            }
            lent.close();
            let own = lent.take_over(mirror, self.now()).await?;
            let Some(now) = self.map(inode, version, size).await? else {
                inode.doubt();
                continue;
            };
            lent::cut(&own, size).await?;
            // What is written and not committed lies behind the end, or is copied with the rest.
            let mut ranges = mirror.changed(&now);
            ranges.push(size..inode.attr().size.max(size));
            for range in ranges {
                self.copy(inode, &own, range).await?;
            }
            lent::grow(&own, inode.attr().size).await?;
            mirror.now_shows(version, now);
        }
        Ok(())
    }

    /// Copies what this mount reads into a file of its own.
    async fn copy(&self, inode: &Inode, own: &Arc<File>, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from(PIECE.min(range.end - at)).unwrap_or(usize::MAX);
            let data = self.read_inode(inode, at, length).await?;
            if data.is_empty() {
                // It is shorter by now, of which the next look tells.
                return Ok(());
            }
            let written = data.len() as u64;
            lent::write(own, at, data).await?;
            at += written;
        }
        Ok(())
    }

    /// This mount has committed what readers were shown when it was written.
    pub(crate) async fn shown(&self, inode: &Inode, before: Option<u64>) {
        let Some(lent) = inode.lent() else { return };
        let mut mirror = lent.mirror.lock().await;
        if before.is_some_and(|before| mirror.shows(before)) {
            mirror.committed(inode.with_row(|row| row.data_version));
        }
    }

    /// What readers were shown when it was written is lost.
    pub(crate) async fn unshown(&self, inode: &Inode) {
        if let Some(lent) = inode.lent() {
            lent.mirror.lock().await.miss();
        }
    }

    /// The map of that version of a file, which has that size; `None` if it has another version by now.
    async fn map(&self, inode: &Inode, version: u64, size: u64) -> Result<Option<Map>> {
        let (mut extents, mut at) = (Vec::new(), 0);
        while at < size && extents.len() < MOST {
            let ask = |place| self.namespace.get_extents(place, at, size - at, PAGE);
            let mut page = self.at_place(inode, ask).await?;
            let row = page.inode.as_ref().and_then(|inode| inode.row.as_ref());
            if row.is_none_or(|row| row.data_version != version) {
                return Ok(None);
            }
            let last = page.extents.last();
            let end = last.map_or(size, |last| last.file_offset + last.length);
            extents.append(&mut page.extents);
            at = if page.more { end } else { size };
        }
        Ok(Some(Map {
            size,
            extents,
            complete: at >= size,
        }))
    }

    /// Shows changes of others to those who read files by themselves.
    pub(crate) async fn follow_all(&self) {
        let lent: Vec<Arc<Inode>> = self.lent.iter().map(|e| e.value().clone()).collect();
        stream::iter(&lent)
            .for_each_concurrent(AT_A_TIME, |inode| self.follow(inode))
            .await;
    }
}
