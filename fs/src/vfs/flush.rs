//! From memory to the cluster: pieces go to the file's writer, the writer makes them durable on
//! datanodes and says where they are, and the namespace makes them part of the file. fsync and
//! close wait for it; age and memory pressure start it in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashSet;
use futures::StreamExt;
use futures::stream;
use nix::errno::Errno;
use ozone_client::FileWriter;
use tokio::sync::{Semaphore, watch};

use crate::data::{Commit, FileData};
use crate::errno::{FsError, Result};
use crate::handle::FileHandle;
use crate::inode::Inode;
use crate::objects;
use crate::past;
use crate::vfs::Vfs;
use crate::vfs::dirty::Piece;
use crate::wire;

/// Written bytes are committed, and what was made in memory is sent, at about this age.
pub(crate) const AGE: Duration = Duration::from_secs(1);
/// How often ages are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Extents in one commit at most.
const EXTENTS: usize = 4096;
/// Files that are flushed at a time in the background, and of those that closes have left to it.
const FLUSHING: usize = 8;
const FLUSHING_SMALL: usize = 256;
/// A flush that takes longer than this takes nobody's turn.
const STUCK: Duration = Duration::from_secs(2);
/// How long the OM may take to say whether a session is still there, after a flush has failed.
const PROBE: Duration = Duration::from_secs(2);
/// Pause between two looks at what is to be committed as writers wait for memory.
const PRESSURE_PAUSE: Duration = Duration::from_millis(1);

/// Files that are flushed in the background: each by one task, and none waits for another.
#[derive(Debug)]
pub(crate) struct Flushing {
    files: DashSet<u64>,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Flushing {
    fn default() -> Self {
        Self {
            files: DashSet::new(),
            small: Arc::new(Semaphore::new(FLUSHING_SMALL)),
            large: Arc::new(Semaphore::new(FLUSHING)),
        }
    }
}

/// A file's turn; over when this is dropped.
struct Turn {
    vfs: Arc<Vfs>,
    inode: Arc<Inode>,
}

impl Turn {
    /// None while the file has one.
    fn take(vfs: &Arc<Vfs>, inode: Arc<Inode>) -> Option<Self> {
        vfs.flushing.files.insert(inode.id).then(|| Self {
            vfs: vfs.clone(),
            inode,
        })
    }

    async fn flush(self, what: Commit) {
        let vfs = self.vfs.clone();
        let room = match self.inode.data().pending.lock().is_left() {
            true => &vfs.flushing.small,
            false => &vfs.flushing.large,
        };
        let permit = room.acquire().await;
        let freed = {
            // Made only now: many files may wait for their turn.
            let mut work = Box::pin(vfs.write_out_part(&self.inode, what));
            tokio::select! {
                freed = &mut work => freed,
                () = vfs.clock.sleep(STUCK) => {
                    drop(permit);
                    work.await
                }
            }
        };
        drop(self);
        // More may have been written meanwhile, by those who wait for memory, or what was old is young again.
        let maybe_more = freed > 0 || what == Commit::Aged;
        if maybe_more && vfs.budget.used() > vfs.budget.limit() {
            vfs.pressure.notify_one();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.vfs.flushing.files.remove(&self.inode.id);
    }
}

impl Vfs {
    /// fsync: everything that was written to the file before is durable and committed.
    pub async fn fsync(self: &Arc<Self>, handle: u64) -> Result<()> {
        if past::is_handle(handle) {
            return Ok(());
        }
        if objects::is_handle(handle) {
            return self.object_flush(handle).await;
        }
        let file = self.handles.file(handle)?;
        self.write_out(&file.inode).await;
        self.settle_inode(&file.inode).await?;
        self.report(&file)
    }

    /// close(2) of one descriptor: as fsync, so that other clients see the data and the program
    /// hears of failures. Only little content, of which nobody else can know, may wait.
    pub async fn flush(self: &Arc<Self>, handle: u64) -> Result<()> {
        if past::is_handle(handle) {
            return Ok(());
        }
        if objects::is_handle(handle) {
            return self.object_flush(handle).await;
        }
        let file = self.handles.file(handle)?;
        if !file.closing.swap(true, Ordering::Relaxed) {
            file.inode.begin_closing();
        }
        if !file.writable {
            return Ok(());
        }
        self.keep_pages(&file).await;
        if !self.leave_to_background(&file.inode) {
            self.write_out(&file.inode).await;
        }
        self.report(&file)
    }

    /// The failure that this handle has not told yet.
    pub(crate) fn report(&self, file: &FileHandle) -> Result<()> {
        file.inode.tell_failure(&file.failures_seen)
    }

    /// Commits what is pending of a file. How it went is remembered there for the handles.
    pub(crate) async fn write_out(&self, inode: &Inode) {
        self.write_out_part(inode, Commit::All).await;
    }

    /// Returns how many bytes are no longer held.
    async fn write_out_part(&self, inode: &Inode, what: Commit) -> usize {
        let Some(data) = inode.data_if_any() else {
            return 0;
        };
        let mut writer = data.writer.lock().await;
        let done = match what {
            // Somebody else may have committed what was old.
            Commit::Aged => !self.is_aged(data),
            _ => data.pending.lock().is_clean(),
        };
        match done {
            true => 0,
            false => self.write_out_locked(inode, data, &mut writer, what).await,
        }
    }

    /// Commits what a close has left to the background. Fails with what was lost of the file, then, or before if
    /// nobody has it open who will be told.
    pub(crate) async fn write_out_left(&self, inode: &Inode) -> Result<()> {
        let Some(data) = inode.data_if_any() else {
            return Ok(());
        };
        let seen = AtomicU64::new(inode.failures_told());
        let left = data.pending.lock().is_left();
        if left {
            self.write_out(inode).await;
        }
        match left || !inode.is_open() {
            true => inode.tell_failure(&seen),
            false => Ok(()),
        }
    }

    async fn write_out_locked(
        &self,
        inode: &Inode,
        data: &FileData,
        writer: &mut Option<FileWriter>,
        what: Commit,
    ) -> usize {
        if inode.abandoned() {
            let freed = data.pending.lock().abandon();
            self.budget.give(freed);
            self.dirty.remove(&inode.id);
            self.inodes.drop_unused(inode.id);
            return freed;
        }
        let mut outcome = self.send_and_commit(inode, data, writer, what).await;
        if let Err(error) = &outcome
            && (error.is(Errno::EIO) || error.is(Errno::ESTALE))
        {
            // A writer dies with its session; a new one may do what the old could not.
            tracing::warn!(inode = inode.id, %error, "a flush failed and is tried again");
            let session = self.session_as_it_is();
            // Without an answer the second attempt finds out.
            let _ = tokio::time::timeout(PROBE, session.probe()).await;
            outcome = self.send_and_commit(inode, data, writer, what).await;
        }
        if let Err(error) = outcome {
            tracing::error!(inode = inode.id, %error, "written data could not be committed and is lost");
            self.count_loss();
            inode.set_cached(None);
            inode.failed(error);
            self.unshown(inode).await;
        }
        let freed = data.pending.lock().landed(what, self.now());
        self.budget.give(freed);
        self.dirty
            .remove_if(&inode.id, |_, inode| inode.data().pending.lock().is_clean());
        if !inode.is_open() {
            if let Some(writer) = writer.take() {
                writer.close().await;
            }
            self.inodes.drop_unused(inode.id);
        }
        freed
    }

    /// Hands the writer what it has not got and commits what it made durable.
    async fn send_and_commit(
        &self,
        inode: &Inode,
        data: &FileData,
        writer: &mut Option<FileWriter>,
        what: Commit,
    ) -> Result<()> {
        begin_use(data, writer).await;
        let outcome = self.use_writer(inode, data, writer, what).await;
        data.pending.lock().end_use();
        outcome
    }

    async fn use_writer(
        &self,
        inode: &Inode,
        data: &FileData,
        writer: &mut Option<FileWriter>,
        what: Commit,
    ) -> Result<()> {
        let placed = writer.as_ref().map_or(0, FileWriter::placed);
        let (pieces, replaced) = data.pending.lock().take(what, placed);
        self.budget.give(replaced);
        if pieces.is_empty() && data.pending.lock().in_flight_bytes() == 0 {
            return Ok(());
        }
        let committed = match self.send(inode, writer, pieces).await {
            Ok(extents) => self.commit_extents(inode, data, extents).await,
            Err(error) => Err(error),
        };
        if committed.is_err() {
            data.pending.lock().lost_writer();
            if let Some(broken) = writer.take() {
                broken.close().await;
            }
        }
        committed
    }

    async fn send(
        &self,
        inode: &Inode,
        writer: &mut Option<FileWriter>,
        pieces: Vec<Piece>,
    ) -> Result<Vec<wire::Extent>> {
        let writer = self.writer(inode, writer).await?;
        for (offset, bytes) in pieces {
            writer.write(offset, bytes).await?;
        }
        Ok(writer.flush().await?)
    }

    /// Makes what the writer made durable part of the file. Many extents, as random writes leave
    /// them, go in several commits, so that no command of the OM grows without bound.
    async fn commit_extents(
        &self,
        inode: &Inode,
        data: &FileData,
        extents: Vec<wire::Extent>,
    ) -> Result<()> {
        let times = data.pending.lock().times();
        let mtime_ns = times.map_or(0, |times| times.mtime_ns);
        for part in extents.chunks(EXTENTS) {
            let change = wire::CommitRequest {
                extents: part.to_vec(),
                mtime_ns,
                ..Default::default()
            };
            let before = inode.cached();
            self.commit(inode, change).await?;
            // As long as the kernel's pages are right, nobody else's change came in between.
            let alone = before.filter(|_| inode.cached().is_some());
            self.shown(inode, alone).await;
        }
        Ok(())
    }

    async fn writer<'a>(
        &self,
        inode: &Inode,
        writer: &'a mut Option<FileWriter>,
    ) -> Result<&'a mut FileWriter> {
        if let Some(writer) = writer {
            return Ok(writer);
        }
        let session = self.session().await?;
        let dir = inode.parent();
        let bucket = wire::DirRef {
            parent_id: dir.bucket_id,
            ..dir
        };
        Ok(writer.insert(self.client.data().writer(bucket, &session)))
    }

    /// Makes a change part of the file. `change` says what; place and session are filled in.
    pub(crate) async fn commit(
        &self,
        inode: &Inode,
        mut change: wire::CommitRequest,
    ) -> Result<()> {
        change.session = self.session().await?.id();
        // With nobody else's change in between, the kernel's pages are those of the new version.
        let (cached, asked) = (inode.cached(), inode.asked());
        if let Some(answer) = self.commit_with_others(inode, &change) {
            let found = answer.await.map_err(|_| Errno::EIO)??;
            let version = found.row.as_ref().map(|row| row.data_version);
            // Sent late, it may have come after somebody else's change.
            inode.keep_cached(asked, cached.and(version));
            return Ok(());
        }
        change.expected_data_version = cached;
        let mut answer = self.send_commit(inode, &change).await;
        let foreign =
            cached.is_some() && answer.as_ref().is_err_and(|error| error.is(Errno::EAGAIN));
        if foreign {
            change.expected_data_version = None;
            answer = self.send_commit(inode, &change).await;
        }
        let found = answer?;
        let version = found.row.as_ref().map(|row| row.data_version);
        inode.changed(found, asked);
        inode.set_cached(if cached.is_some() && !foreign {
            version
        } else {
            None
        });
        Ok(())
    }

    async fn send_commit(
        &self,
        inode: &Inode,
        change: &wire::CommitRequest,
    ) -> Result<wire::Inode> {
        let ask = |place| {
            self.namespace.commit(wire::CommitRequest {
                r#ref: Some(place),
                ..change.clone()
            })
        };
        self.at_place(inode, ask).await
    }

    /// Hands long runs of a file to its writer while there are any.
    pub(crate) async fn pump(&self, inode: &Inode) {
        let data = inode.data();
        loop {
            let mut writer = data.writer.lock().await;
            begin_use(data, &mut writer).await;
            let placed = writer.as_ref().map_or(0, FileWriter::placed);
            let (pieces, replaced) = data.pending.lock().take_runs(placed);
            self.budget.give(replaced);
            if pieces.is_empty() {
                data.pending.lock().end_use();
                return;
            }
            self.pump_runs(inode, data, &mut writer, pieces).await;
        }
    }

    async fn pump_runs(
        &self,
        inode: &Inode,
        data: &FileData,
        slot: &mut Option<FileWriter>,
        pieces: Vec<Piece>,
    ) {
        let sent = async {
            let writer = self.writer(inode, slot).await?;
            for (offset, bytes) in pieces {
                writer.write(offset, bytes).await?;
            }
            Ok::<_, FsError>(())
        };
        let failed = sent.await.is_err();
        if failed {
            data.pending.lock().lost_writer();
            if let Some(broken) = slot.take() {
                broken.close().await;
            }
        }
        data.pending.lock().end_use();
        // What is in flight stays in memory until it is committed.
        if failed || data.pending.lock().in_flight_bytes() >= self.budget.limit() / 2 {
            self.write_out_locked(inode, data, slot, Commit::Sent).await;
        }
    }

    /// Commits `what` is to be committed of the files that `wanted` picks.
    pub(crate) async fn flush_dirty(&self, what: Commit, wanted: impl Fn(&Inode) -> bool) {
        let files = self.dirty.iter().map(|entry| entry.value().clone());
        let (small, large): (Vec<_>, Vec<_>) = files
            .filter(|inode| wanted(inode))
            .partition(|inode| inode.data().pending.lock().is_left());
        tokio::join!(
            self.write_out_all(&small, what, FLUSHING_SMALL),
            self.write_out_all(&large, what, FLUSHING)
        );
    }

    async fn write_out_all(&self, files: &[Arc<Inode>], what: Commit, at_a_time: usize) {
        stream::iter(files)
            .for_each_concurrent(at_a_time, |inode| async {
                self.write_out_part(inode, what).await;
            })
            .await;
    }

    /// Begins to commit the same, and waits for nothing: a file that is stuck, as its datanodes do not answer,
    /// holds up no other.
    fn begin_flush(self: &Arc<Self>, what: Commit, wanted: impl Fn(&Inode) -> bool) {
        let files = self.dirty.iter().map(|entry| entry.value().clone());
        let files: Vec<_> = files.filter(|inode| wanted(inode)).collect();
        for turn in files.into_iter().filter_map(|file| Turn::take(self, file)) {
            tokio::spawn(turn.flush(what));
        }
    }

    fn is_aged(&self, data: &FileData) -> bool {
        let since = data.pending.lock().since();
        since.is_some_and(|since| self.now().saturating_sub(since) >= AGE)
    }
}

/// From here on the writer has what nobody knows of, until the use has ended. What a task did that was given up in the
/// middle, as when the process ends, must not be taken for done.
async fn begin_use(data: &FileData, writer: &mut Option<FileWriter>) {
    let given_up = data.pending.lock().begin_use();
    if given_up && let Some(unsure) = writer.take() {
        unsure.close().await;
    }
}

/// Flushes in the background, by age and when writers wait for memory, until `stop`.
pub(crate) async fn flusher(vfs: Arc<Vfs>, mut stop: watch::Receiver<bool>) {
    let mut due = vfs.now() + TICK;
    loop {
        // First, however many writers wait for memory.
        if vfs.now() >= due {
            vfs.begin_flush(Commit::Aged, |inode| vfs.is_aged(inode.data()));
            metrics::gauge!("fs_uncommitted_bytes").set(vfs.budget.used() as f64);
            due = vfs.now() + TICK;
        }
        let wait = due.saturating_sub(vfs.now());
        tokio::select! {
            () = vfs.clock.sleep(wait) => {}
            () = vfs.pressure.notified() => {
                vfs.begin_flush(Commit::Pages, |_| true);
                vfs.clock.sleep(PRESSURE_PAUSE).await;
            }
            _ = stop.changed() => return,
        }
    }
}
