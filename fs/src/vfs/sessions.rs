//! The mount's session with the OM, and what happens when it is lost: a new one is opened, and the
//! namespace is told again of every open file. Unlinked files that only the old session kept alive
//! are gone then; their handles answer ESTALE.

use std::sync::Arc;

use ozone_client::{Client, ClientError, Session};
use parking_lot::RwLock;

use crate::errno::Result;
use crate::inode::Inode;
use crate::vfs::Vfs;

pub(crate) struct Sessions {
    description: String,
    current: RwLock<Arc<Session>>,
    renewing: tokio::sync::Mutex<()>,
}

impl Sessions {
    pub(crate) async fn open(client: &Client, description: String) -> Result<Self, ClientError> {
        let session = Session::open(client, &description).await?;
        Ok(Self {
            description,
            current: RwLock::new(session),
            renewing: tokio::sync::Mutex::default(),
        })
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
        for inode in self.inodes.open() {
            self.reopen(&session, &inode).await;
        }
        *self.sessions.current.write() = session.clone();
        Ok(session)
    }

    async fn reopen(&self, session: &Session, inode: &Inode) {
        session.track_open(inode.id);
        let asked = inode.epoch();
        let opened = self
            .namespace
            .open(inode.reference(), session.id(), true)
            .await;
        match opened {
            Ok(found) => inode.heard(found.row, asked),
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
