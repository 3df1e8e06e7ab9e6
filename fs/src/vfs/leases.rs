//! Believing answers without asking again: the kernel may keep names and attributes as long as this
//! mount's leases live. The namespace tells of every foreign change before it is acknowledged to whoever
//! made it; what was believed is forgotten here and in the kernel, and then the change may go on. A bucket
//! that this mount has to itself is given back in the same way: once everything that waits is sent.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ozone_client::{ClientError, Session};
use ozone_common::clock::Clock;
use tokio::sync::watch;

use crate::errno::Result;
use crate::inode::Inode;
use crate::leases::Asked;
use crate::vfs::Vfs;
use crate::wire::{self, RenewLeasesResponse};

/// Pause before a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How often leases are renewed while buckets are being given back, and for how long at most. They live
/// for a second.
const RENEWAL: Duration = Duration::from_millis(250);
const RENEWALS: Duration = Duration::from_secs(10);

/// Counts a change of a directory's names by this mount for as long as it lives: meanwhile the kernel
/// holds the directory, and forgets none of its names.
pub(crate) struct Changing(Arc<Inode>);

impl Changing {
    pub(crate) fn new(dir: &Arc<Inode>) -> Self {
        dir.changing.fetch_add(1, Ordering::AcqRel);
        Self(dir.clone())
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.changing.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes what the answer to a change of names, `asked` for then, says of the directory. Without an
/// answer, or where it says nothing, the directory has to be asked about.
pub(crate) fn told<T>(
    dir: &Inode,
    mut answer: Result<T>,
    asked: Asked,
    parent: impl FnOnce(&mut T) -> Option<wire::Inode>,
) -> Result<T> {
    match answer.as_mut().ok().and_then(parent) {
        Some(parent) => dir.changed(parent, asked),
        None => dir.doubt(),
    }
    answer
}

impl Vfs {
    /// Forgets what somebody else has changed, here and in the kernel: the answer to a renewal in
    /// `session` that acknowledged changes up to `seen`.
    async fn hear(&self, news: &RenewLeasesResponse, session: &Session, seen: u64) {
        let kept: &[u64] = if news.everything {
            &[]
        } else {
            &news.exclusive
        };
        // Before anything is forgotten: it may be all that tells of what waits.
        let surrender = self.surrender(self.backlog.held_but(kept));
        let renew = || self.renew_unheard(session, seen);
        with_renewals(&*self.clock, surrender, renew).await;
        if news.everything {
            self.leases.forget_everything();
            // The kernel was told to believe things until then at most; but pages it keeps.
            self.clock.sleep(self.leases.left()).await;
            with_renewals(&*self.clock, self.forget_pages(), renew).await;
        }
        if news.changes.is_empty() {
            return;
        }
        let mut directories = BTreeSet::new();
        for change in &news.changes {
            if change.recall {
                continue;
            }
            if change.name.is_empty() {
                self.inodes.doubt(change.object_id);
            } else if let Some(dir) = self.inodes.peek(change.object_id) {
                let epoch = self.leases.next_epoch();
                dir.names().lock().doubt(&change.name, epoch);
                directories.insert(change.object_id);
            }
        }
        let changes = news.changes.iter().filter(|change| !change.recall);
        let stale = self.stale(changes);
        with_renewals(&*self.clock, self.forget_all(stale, &directories), renew).await;
        let gone = news.changes.iter().filter(|change| change.gone);
        self.let_go(gone.map(|change| change.object_id).collect())
            .await;
    }

    /// Renews the leases without a word that any change after `seen` was heard of: whoever waits for that
    /// waits on.
    async fn renew_unheard(&self, session: &Session, seen: u64) {
        let sent = self.now();
        match session.renew_leases(seen, Vec::new()).await {
            // What has ended is not brought back to life.
            Ok(news) if news.everything => {}
            Ok(news) => self.leases.renewed(sent + lifetime(&news)),
            Err(error) => {
                tracing::debug!(%error, "leases were not renewed while buckets are given back")
            }
        }
    }

    /// Releases inodes whose last name is gone, which the namespace keeps in case that a program was
    /// about to open them: those that are open when their turn comes stay until they are closed.
    async fn let_go(&self, gone: Vec<u64>) {
        let mut unknown = Vec::new();
        for id in gone {
            match self.inodes.peek(id) {
                Some(inode) => {
                    inode.hold();
                    // The receiver ends with the mount, and so does the session with all it holds.
                    let _ = self.releases.send(inode);
                }
                // Released when it is closed.
                None if self.objects.holds(id) => {}
                None => unknown.push(id),
            }
        }
        if unknown.is_empty() {
            return;
        }
        let session = self.session_as_it_is();
        if let Err(error) = self.namespace.release(session.id(), unknown).await {
            tracing::debug!(%error, "removed files are held until the session ends");
        }
    }
}

fn lifetime(news: &RenewLeasesResponse) -> Duration {
    Duration::from_millis(news.lease_ms)
}

/// Does `work`, which may take longer than leases live, and makes renewals meanwhile; not for ever, so
/// that a mount that cannot be done holds nobody up for long.
async fn with_renewals<R: Future<Output = ()>>(
    clock: &dyn Clock,
    work: impl Future<Output = ()>,
    renew: impl Fn() -> R,
) {
    let until = clock.monotonic() + RENEWALS;
    let renewing = async {
        loop {
            clock.sleep(RENEWAL).await;
            if clock.monotonic() > until {
                return std::future::pending::<()>().await;
            }
            renew().await;
        }
    };
    tokio::select! {
        biased;
        () = work => {}
        () = renewing => {}
    }
}

/// Renews the leases of a mount, and hears of changes, until `stop`.
pub(crate) async fn keeper(vfs: Arc<Vfs>, mut stop: watch::Receiver<bool>) {
    let (mut seen, mut of) = (0, 0);
    // Whether everything was to be forgotten. What is read until the namespace has heard that it was, it tells nobody
    // of when it changes.
    let mut forgetful = false;
    loop {
        let session = vfs.session_as_it_is();
        if session.id() != of {
            (seen, of) = (0, session.id());
        }
        let sent = vfs.now();
        let answer = tokio::select! {
            answer = session.renew_leases(seen, vfs.backlog.wanted()) => answer,
            _ = stop.changed() => return,
        };
        match answer {
            Ok(news) => {
                vfs.hear(&news, &session, seen).await;
                vfs.leases.renewed(sent + lifetime(&news));
                let renew = || vfs.renew_unheard(&session, seen);
                if forgetful && !news.everything {
                    with_renewals(&*vfs.clock, vfs.forget_pages(), renew).await;
                }
                forgetful = news.everything;
                with_renewals(&*vfs.clock, vfs.follow_all(), renew).await;
                if !news.everything && vfs.session_as_it_is().id() == of {
                    vfs.backlog.hold(&news.exclusive);
                }
                seen = news.seq;
            }
            Err(ClientError::SessionExpired) => {
                vfs.leases.forget_everything();
                seen = 0;
                if let Err(error) = vfs.session().await {
                    tracing::warn!(%error, "no new session with the OM");
                }
                vfs.clock.sleep(RETRY).await;
            }
            Err(error) => {
                tracing::debug!(%error, "leases were not renewed: the OM is asked about everything");
                vfs.clock.sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
#[path = "leases_test.rs"]
mod tests;
