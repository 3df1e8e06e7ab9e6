//! The mount's session with the OM, and what happens when it is lost: a new one is opened, and the
//! namespace is told again of every open file. Unlinked files that only the old session kept alive
//! are gone then; their handles answer ESTALE.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ozone_client::{Client, ClientError, Session};
use parking_lot::RwLock;

use crate::errno::Result;
use crate::inode::Inode;
use crate::vfs::Vfs;

pub(crate) struct Sessions {
    description: String,
    current: RwLock<Arc<Session>>,
    /// Its number, in whose name the namespace is asked.
    number: Arc<AtomicU64>,
    renewing: tokio::sync::Mutex<()>,
}

impl Sessions {
    pub(crate) async fn open(client: &Client, description: String) -> Result<Self, ClientError> {
        let session = Session::open(client, &description).await?;
        Ok(Self {
            description,
            number: Arc::new(AtomicU64::new(session.id())),
            current: RwLock::new(session),
            renewing: tokio::sync::Mutex::default(),
        })
    }

    /// The number of the session at any time.
    pub(crate) fn number(&self) -> Arc<AtomicU64> {
        self.number.clone()
    }

    fn current(&self) -> Arc<Session> {
        self.current.read().clone()
    }

    pub(crate) async fn close(&self) {
        self.current().close().await;
    }
}

impl Vfs {
    /// The session; a new one if it has expired.
    pub(crate) async fn session(&self) -> Result<Arc<Session>> {
        let session = self.sessions.current();
        if session.check().is_ok() {
            return Ok(session);
        }
        let _renewing = self.sessions.renewing.lock().await;
        let session = self.sessions.current();
        if session.check().is_ok() {
            return Ok(session);
        }
        tracing::warn!(
            session = session.id(),
            "the session with the OM was lost: opening a new one"
        );
        let session = Session::open(&self.client, &self.sessions.description).await?;
        self.leases.forget_everything();
        self.backlog.lose();
        self.sessions.number.store(session.id(), Ordering::Release);
        for inode in self.inodes.open() {
            self.reopen(&session, &inode).await;
        }
        *self.sessions.current.write() = session.clone();
        Ok(session)
    }

    async fn reopen(&self, session: &Session, inode: &Inode) {
        session.track_open(inode.id);
        let asked = inode.asked();
        let opened = self
            .namespace
            .open(inode.reference(), session.id(), true)
            .await;
        match opened {
            Ok(found) => inode.heard(found, asked),
            Err(error) => {
                tracing::warn!(inode = inode.id, %error, "an open file was lost with the session")
            }
        }
    }

    /// The session as it is, for what ends with it anyway.
    pub(crate) fn session_as_it_is(&self) -> Arc<Session> {
        self.sessions.current()
    }
}
