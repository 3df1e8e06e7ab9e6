//! open and release. The namespace is told of every file that this mount has open, so that one
//! which is unlinked meanwhile lives on; it hears of the end in batches, a moment later, so that
//! a file that is opened again and again costs no more than its opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use nix::libc;
use ozone_client::Session;
use tokio::sync::{mpsc, watch};

use crate::behind::Behind;
use crate::errno::Result;
use crate::handle::FileHandle;
use crate::inode::Inode;
use crate::lent::{Lent, PassThrough};
use crate::number;
use crate::objects;
use crate::past;
use crate::vfs::passing::Reads;
use crate::vfs::{Vfs, Who};
use crate::wire::InodeRef;

/// How long ends of opens are gathered.
const GATHER: Duration = Duration::from_millis(100);
/// Writers that are closed at a time.
const CLOSING: usize = 16;

/// An open file.
#[derive(Clone)]
pub struct Opened {
    /// Number of the handle.
    pub handle: u64,
    /// Whether the pages that the kernel has of the file are still right.
    pub keep_cache: bool,
    /// Whether the kernel is to keep no pages of what goes through the handle.
    pub direct: bool,
    /// What the kernel is to read by itself instead of asking this filesystem.
    pub(crate) lent: Option<Arc<Lent>>,
}

impl Vfs {
    /// Opens a file with the flags of open(2), those about creation left out. With `kernel`, what is opened for
    /// reading may be passed to it.
    pub(crate) async fn open(
        self: &Arc<Self>,
        who: &Who,
        ino: u64,
        flags: i32,
        kernel: Option<&dyn PassThrough>,
    ) -> Result<Opened> {
        if past::is_past(ino) {
            return self.past_open(ino, flags);
        }
        if objects::is_object(ino) {
            return self.object_open(who, ino, flags).await;
        }
        let inode = self.inodes.get(ino)?;
        let session = self.session().await?;
        let _opening = inode.opening.lock().await;
        let write = is_writable(flags);
        self.check_number(&inode, ino, write).await?;
        session.track_open(inode.id);
        let (id, asked) = (session.id(), inode.asked());
        let ask = |place: InodeRef| {
            self.act(who, move |ns| {
                let place = place.clone();
                async move { ns.open(place, id, write).await }
            })
        };
        let opened = self.at_place(&inode, ask).await;
        match opened {
            Ok(found) => inode.heard(found, asked),
            Err(error) => {
                if !inode.held() {
                    session.track_close(inode.id);
                }
                return Err(error);
            }
        }
        let reads = match write || number::is_second(ino) {
            true => Reads::Here,
            false => self.pass(&inode, kernel).await?,
        };
        let opened = self.add_handle(&inode, flags, reads);
        self.await_pages(&inode).await;
        Ok(opened)
    }

    /// Opens a file that `session` has just made.
    pub(crate) fn opened_new(&self, session: &Session, inode: &Arc<Inode>, flags: i32) -> Opened {
        session.track_open(inode.id);
        self.add_handle(inode, flags, Reads::Here)
    }

    fn add_handle(&self, inode: &Arc<Inode>, flags: i32, reads: Reads) -> Opened {
        let direct = is_direct(flags) && !inode.is_paged();
        inode.add_handle(direct);
        let keep_cache = inode.cache(inode.with_row(|row| row.data_version));
        let handle = FileHandle {
            inode: inode.clone(),
            writable: is_writable(flags),
            direct,
            passed: matches!(reads, Reads::ByKernel(_)),
            behind: matches!(reads, Reads::HereOnce).then(Behind::default),
            closing: AtomicBool::new(false),
            failures_seen: AtomicU64::new(inode.failures_told()),
        };
        Opened {
            handle: self.handles.add_file(handle),
            keep_cache,
            direct,
            lent: match reads {
                Reads::ByKernel(lent) => Some(lent),
                _ => None,
            },
        }
    }

    /// The last descriptor of a handle is closed and its mappings are gone.
    pub async fn release(self: &Arc<Self>, handle: u64) -> Result<()> {
        if past::is_handle(handle) {
            self.past.close(handle);
            return Ok(());
        }
        if objects::is_handle(handle) {
            return self.object_release(handle).await;
        }
        let file = self.handles.remove_file(handle)?;
        if file.passed {
            self.unpass(&file.inode).await;
        }
        if file.closing.load(Ordering::Relaxed) {
            file.inode.end_closing();
        }
        if file.inode.drop_handle() > 0 {
            return Ok(());
        }
        if let Some(data) = file.inode.data_if_any() {
            let mut pending = data.pending.lock();
            if !file.inode.is_open() {
                pending.closed();
            }
        }
        // What a mapping wrote after the last close.
        if !self.leave_to_background(&file.inode) {
            self.write_out(&file.inode).await;
        }
        // Nobody hears of it here: whoever opens the file next does, or renames it over another.
        if let Some(error) = file.inode.untold_failure(&file.failures_seen) {
            tracing::warn!(inode = file.inode.id, %error, "data written through a mapping was lost");
        }
        // The receiver ends with the mount, and so does the session with all that it holds.
        let _ = self.releases.send(file.inode.clone());
        Ok(())
    }

    async fn release_all(&self, mut batch: Vec<Arc<Inode>>) {
        batch.sort_by_key(|inode| inode.id);
        batch.dedup_by_key(|inode| inode.id);
        let session = self.session_as_it_is();
        if batch.iter().any(|inode| inode.waits() && !inode.unborn()) {
            // The namespace has to hear of an open before it hears of its end.
            let _ = self.backlog.settle().await;
        }
        let (mut ids, mut held) = (Vec::new(), Vec::new());
        for inode in &batch {
            let opening = inode.opening.lock().await;
            if inode.to_release() && !inode.unborn() {
                session.track_close(inode.id);
                ids.push(inode.id);
                held.push((inode, opening));
            }
        }
        stream::iter(&held)
            .for_each_concurrent(CLOSING, |(inode, _)| close_data(inode))
            .await;
        if !ids.is_empty() {
            // What the OM does not hear of now, it learns from the next announcement of opens.
            if let Err(error) = self.namespace.release(session.id(), ids).await {
                tracing::warn!(%error, "closed files are still held open by the OM");
            }
        }
        for (inode, opening) in held {
            inode.released();
            drop(opening);
            self.inodes.drop_unused(inode.id);
        }
    }
}

/// Gives up what reading and writing a file took.
async fn close_data(inode: &Inode) {
    let Some(data) = inode.data_if_any() else {
        return;
    };
    *data.reader.lock() = None;
    let writer = data.writer.lock().await.take();
    if let Some(writer) = writer {
        writer.close().await;
    }
}

fn is_writable(flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY
}

/// Whether the bytes of what is opened so go past the kernel's pages, unless somebody has it open otherwise: into
/// those, they are copied once more, in small pieces, while the program waits. Who waits for the disk at each write does
/// not notice, and his fsyncs are the kernel's.
fn is_direct(flags: i32) -> bool {
    flags & libc::O_ACCMODE == libc::O_WRONLY && flags & (libc::O_SYNC | libc::O_DSYNC) == 0
}

/// Tells the OM, in batches, of files that nobody has open any more, until `stop`.
pub(crate) async fn releaser(
    vfs: Arc<Vfs>,
    mut queue: mpsc::UnboundedReceiver<Arc<Inode>>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let first = tokio::select! {
            first = queue.recv() => first,
            _ = stop.changed() => return,
        };
        let Some(first) = first else { return };
        vfs.clock.sleep(GATHER).await;
        let mut batch = vec![first];
        while let Ok(next) = queue.try_recv() {
            batch.push(next);
        }
        vfs.release_all(batch).await;
    }
}
