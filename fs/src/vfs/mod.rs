//! The filesystem without the kernel: what each system call does, as async methods with typed
//! results. [`crate::fuse`] drives it from `/dev/fuse`; anything else may drive it as well.
//!
//! What it promises: names and attributes are the namespace's at the time of the call, asked for or
//! believed by a lease; a write is seen by every later read through this mount, is committed by `fsync`
//! and by `flush` (close), and after a second or two in any case; a failure to commit is told once to each
//! handle of the file. In a bucket that is this mount's alone for the time being, what is made and
//! closed may wait in memory for about a second, or until somebody else looks ([`crate::backlog`]).
//! Permission bits are checked by the kernel (`default_permissions`), not here.

pub mod attr;
pub mod budget;
mod callers;
pub mod create;
pub mod dir;
pub mod dirty;
mod flush;
mod forget;
mod leases;
pub mod lookup;
pub(crate) mod objects;
pub mod open;
mod pages;
mod passing;
mod past;
mod read;
mod rename;
mod sender;
mod sessions;
pub mod space;
pub mod statfs;
mod unlink;
pub mod write;
mod write_back;
pub mod xattr;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use ozone_client::{Client, Namespace};
use ozone_common::clock::{Clock, SystemClock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, RwLock, mpsc, watch};

use crate::attr::Known;
use crate::backlog::Backlog;
use crate::data::Commit;
use crate::errno::Result;
use crate::handle::HandleTable;
use crate::inode::{Inode, InodeTable, ROOT, ROOT_DIR};
use crate::leases::Leases;
use crate::objects::{self as live, Objects};
use crate::past::{self as snapshots, Past};
use crate::vfs::budget::Budget;
use crate::vfs::callers::Callers;
use crate::vfs::sessions::Sessions;
use crate::wire;

pub use forget::{KernelCache, Stale};
pub use rename::{Name, Target};

/// Who makes a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Process, whose other groups are looked up where they matter.
    pub pid: u32,
}

impl Who {
    /// Whether user and group are the same.
    pub(crate) fn same_user(&self, other: &Self) -> bool {
        (self.uid, self.gid) == (other.uid, other.gid)
    }
}

/// What a [`Vfs`] may use and how the OM shows it to operators.
#[derive(Debug, Clone)]
pub struct VfsOptions {
    /// Description of the session, such as host and mount point.
    pub description: String,
    /// Most bytes of written, uncommitted data.
    pub dirty_limit: usize,
    /// How long the kernel may believe what no lease covers.
    pub ttl: Duration,
    /// Whether the kernel may read by itself what was verified before.
    pub pass_through: bool,
}

/// The filesystem; see the module.
pub struct Vfs {
    client: Client,
    namespace: Namespace,
    callers: Callers,
    sessions: Sessions,
    inodes: InodeTable,
    past: Past,
    objects: Objects,
    handles: HandleTable,
    budget: Budget,
    /// Files with uncommitted data.
    dirty: DashMap<u64, Arc<Inode>>,
    flushing: flush::Flushing,
    /// How often something that was written or made could not be committed, and how often by the first [`Vfs::sync`].
    losses: AtomicU64,
    losses_before: OnceLock<u64>,
    /// Wakes the flusher when writers wait for memory.
    pressure: Notify,
    /// Held, shared, by renames on their way.
    renaming: RwLock<()>,
    releases: mpsc::UnboundedSender<Arc<Inode>>,
    stop: watch::Sender<bool>,
    leases: Arc<Leases>,
    /// What was made in memory and not sent.
    backlog: Backlog,
    /// Files that the kernel reads by itself, and whether it does.
    lent: DashMap<u64, Arc<Inode>>,
    passes: AtomicBool,
    /// The kernel's cache, once the filesystem is mounted.
    kernel: OnceLock<Arc<dyn KernelCache>>,
    ttl: Duration,
    clock: Arc<dyn Clock>,
    /// Where tasks run that are started by threads of the kernel's requests.
    runtime: Handle,
}

impl Vfs {
    /// Opens a session with the OM and starts the background work of a mount.
    pub async fn start(client: Client, options: VfsOptions) -> Result<Arc<Self>> {
        let sessions = Sessions::open(&client, options.description).await?;
        let namespace = client.namespace().for_session(sessions.number());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let leases = Arc::new(Leases::new(clock.clone()));
        let place = wire::InodeRef {
            dir: Some(ROOT_DIR),
            name: bytes::Bytes::new(),
            object_id: ROOT,
        };
        let root = namespace.get_attr(place).await?;
        let (releases, queue) = mpsc::unbounded_channel();
        let vfs = Arc::new(Self {
            callers: Callers::new(client.clone(), namespace.clone()),
            namespace,
            client,
            sessions,
            inodes: InodeTable::new(root.row.unwrap_or_default(), leases.clone()),
            past: Past::default(),
            objects: Objects::default(),
            handles: HandleTable::default(),
            budget: Budget::new(options.dirty_limit),
            dirty: DashMap::new(),
            flushing: flush::Flushing::default(),
            losses: AtomicU64::new(0),
            losses_before: OnceLock::new(),
            pressure: Notify::new(),
            renaming: RwLock::default(),
            releases,
            stop: watch::Sender::new(false),
            backlog: Backlog::new(clock.clone(), leases.clone()),
            leases,
            lent: DashMap::new(),
            passes: AtomicBool::new(options.pass_through),
            kernel: OnceLock::new(),
            ttl: options.ttl,
            clock,
            runtime: Handle::current(),
        });
        tokio::spawn(flush::flusher(vfs.clone(), vfs.stop.subscribe()));
        tokio::spawn(leases::keeper(vfs.clone(), vfs.stop.subscribe()));
        tokio::spawn(sender::sender(vfs.clone(), vfs.stop.subscribe()));
        tokio::spawn(open::releaser(vfs.clone(), queue, vfs.stop.subscribe()));
        Ok(vfs)
    }

    /// Commits everything that was made and written, at the end of a mount. False if something could not be, since this
    /// was called first.
    pub async fn sync(self: &Arc<Self>) -> bool {
        let losses = || self.losses.load(Ordering::Relaxed);
        let before = *self.losses_before.get_or_init(losses);
        self.flush_dirty(Commit::All, |_| true).await;
        let sent = self.backlog.settle().await;
        if let Err(error) = &sent {
            tracing::error!(%error, "changes could not be sent");
        }
        sent.is_ok() && losses() == before
    }

    /// Commits everything, ends the background work and closes the session. False as [`Vfs::sync`].
    pub async fn shutdown(self: &Arc<Self>) -> bool {
        let whole = self.sync().await;
        self.stop.send_replace(true);
        self.sessions.close().await;
        whole
    }

    /// Something that was written or made is lost.
    fn count_loss(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// The kernel forgets `count` lookups of an inode.
    pub fn forget(&self, ino: u64, count: u64) {
        if live::is_object(ino) {
            return self.objects.forget(ino, count);
        }
        if snapshots::is_past(ino) {
            return self.past.forget(ino, count);
        }
        self.inodes.forget(ino, count);
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// What the kernel is told of an inode. Attributes that a commit is about to change are not to be
    /// believed for longer than an answer.
    fn known(&self, inode: &Inode) -> Known {
        let pending = inode
            .data_if_any()
            .is_some_and(|data| !data.pending.lock().is_clean());
        // Under its first number the kernel hears of nothing that is done under the second.
        let divided = inode.lent().is_some_and(|lent| lent.is_closed());
        Known {
            valid: self.valid(!pending && !divided && inode.believed()),
            attr: inode.attr(),
        }
    }

    fn valid(&self, believed: bool) -> Duration {
        if believed {
            self.ttl.max(self.leases.left())
        } else {
            self.ttl
        }
    }
}
