//! Sends what waits: several changes as one command, one command at a time, so that they arrive in the
//! order in which they were made. What comes while one is on its way goes together with the next.

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use ozone_client::ClientError;
use ozone_client::wire::om::Status;
use tokio::sync::watch;

use crate::backlog::Part;
use crate::errno::{FsError, Result};
use crate::leases::Asked;
use crate::vfs::flush::{AGE, TICK};
use crate::vfs::{Stale, Vfs};
use crate::wire::batch_part::Change;
use crate::wire::{self, BatchPart};

/// Object ids that are reserved at a time.
const IDS: u64 = 50_000;

/// Sends what waits, when it is due, until `stop`.
pub(crate) async fn sender(vfs: Arc<Vfs>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = vfs.backlog.something_due() => {}
            () = vfs.clock.sleep(TICK) => vfs.backlog.send_aged(AGE),
            _ = stop.changed() => return,
        }
        while vfs.send_batch().await {}
        if vfs.backlog.lacks_ids() {
            vfs.reserve_ids().await;
        }
    }
}

impl Vfs {
    /// Sends one batch; false when none is due, or it could not be sent.
    async fn send_batch(&self) -> bool {
        let (who, mut parts) = self.backlog.take();
        if parts.is_empty() {
            return false;
        }
        let session = self.session_as_it_is();
        for part in &mut parts {
            if let Some(Change::Create(create)) = &mut part.change.change {
                let open = part.inode.born();
                create.session = if open { session.id() } else { 0 };
                if !open {
                    session.track_close(part.inode.id);
                }
            }
        }
        let namespace = match who {
            Some(who) => self.callers.namespace(&who).await,
            None => self.namespace.clone(),
        };
        let asked = self.leases.asked();
        let changes: Vec<BatchPart> = parts.iter().map(|part| part.change.clone()).collect();
        let outcomes = match namespace.batch(changes).await {
            Ok(outcomes) => outcomes,
            // Refused as a whole, by an OM that is well.
            Err(error @ (ClientError::Om { .. } | ClientError::SessionExpired))
                if error.om_status() != Some(Status::InternalError) =>
            {
                parts.iter().map(|_| Err(error.clone())).collect()
            }
            Err(error) => {
                tracing::warn!(%error, changes = parts.len(), "changes could not be sent and wait on");
                self.backlog.put_back(parts, error.into());
                return false;
            }
        };
        for (part, outcome) in parts.into_iter().zip(outcomes) {
            self.take_outcome(part, outcome.map_err(FsError::from), asked);
        }
        self.backlog.answered();
        true
    }

    /// Takes in how one change went.
    fn take_outcome(&self, part: Part, outcome: Result<wire::Inode>, asked: Asked) {
        let inode = &part.inode;
        inode.answered(outcome.as_ref().ok().cloned(), asked);
        if let Some(parent) = &part.parent {
            parent.answered(None, asked);
            self.inodes.drop_unused(parent.id);
        }
        if let (Err(error), None) = (&outcome, &part.answer) {
            self.refused(&part, error);
        }
        self.inodes.drop_unused(inode.id);
        if let Some(answer) = part.answer {
            // Whoever waited may have gone with the mount.
            let _ = answer.send(outcome);
        }
    }

    /// Takes back what was made in memory and was refused, which happens only when somebody else could
    /// change the bucket because this mount was cut off.
    fn refused(&self, part: &Part, error: &FsError) {
        let inode = &part.inode;
        tracing::error!(inode = inode.id, %error, "a change that was made in memory was refused and is lost");
        self.count_loss();
        inode.doubt();
        // What else is on its way of it has an answer of its own.
        inode.failed(error.clone());
        let (Some(parent), Some(Change::Create(create))) = (&part.parent, &part.change.change)
        else {
            return;
        };
        parent.doubt();
        parent.failed(error.clone());
        let epoch = self.leases.next_epoch();
        parent.names().lock().doubt(&create.name, epoch);
        self.inodes.lost_name(inode.id, Some(0));
        let name = create.name.clone();
        let dir = parent.id;
        drop(self.forget_soon(vec![vec![Stale::Name { dir, name }]]));
    }

    /// Gets object ids for what is made in memory. What waits has ids of an earlier range, and goes first.
    async fn reserve_ids(&self) {
        let reserved = async {
            self.send_all().await?;
            Ok::<_, FsError>(self.namespace.reserve_ids(IDS).await?)
        };
        let session = self.session_as_it_is().id();
        match reserved.await {
            // Those of a session that was lost meanwhile are of no use.
            Ok(_) if self.session_as_it_is().id() != session => {}
            Ok(ids) => self.backlog.set_ids(ids),
            Err(error) => tracing::debug!(%error, "no object ids: everything is made at once"),
        }
    }

    async fn send_all(&self) -> Result<()> {
        self.backlog.send_aged(Duration::ZERO);
        while self.send_batch().await {}
        if self.backlog.is_empty() {
            return Ok(());
        }
        Err(Errno::EAGAIN.into())
    }
}
