//! Sessions: what a mount or another long-lived client holds at the OM — open files, blocks being
//! written — lives as long as its session, which is kept alive from here.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ozone_proto::namespace::{
    CloseSessionRequest, KeepAliveRequest, KeepAliveResponse, OpenSessionRequest,
    RenewLeasesRequest, RenewLeasesResponse,
};
use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::data::{BlockPool, DataEnv, PoolKey};
use crate::namespace::Namespace;
use crate::om::OmClient;
use crate::{Client, ClientError, Result};

/// A session with the OM, renewed in the background until it is closed or dropped.
#[derive(Debug)]
pub struct Session {
    om: OmClient,
    id: u64,
    lease: Duration,
    expired: AtomicBool,
    /// When the last keepalive that was acknowledged was sent.
    renewed: Mutex<Instant>,
    opens: Mutex<HashSet<u64>>,
    keeper: Mutex<Option<AbortHandle>>,
    pools: Mutex<Vec<Arc<BlockPool>>>,
}

impl Session {
    /// Opens a session. `description` tells operators whose it is, such as `mount /mnt on host7`.
    pub async fn open(client: &Client, description: &str) -> Result<Arc<Self>> {
        Self::open_with(client.namespace(), description).await
    }

    pub(crate) async fn open_with(namespace: &Namespace, description: &str) -> Result<Arc<Self>> {
        let om = namespace.om().clone();
        let sent = Instant::now();
        let request = OpenSessionRequest {
            description: description.to_owned(),
        };
        let answer = match om.call(Request::OpenSession(request)).await? {
            Some(Response::OpenSession(answer)) if answer.session != 0 => answer,
            _ => {
                return Err(ClientError::protocol(
                    "OM",
                    "no session in answer to OpenSession",
                ));
            }
        };
        let session = Arc::new(Self {
            om,
            id: answer.session,
            lease: Duration::from_millis(answer.lease_ms.max(1)),
            expired: AtomicBool::new(false),
            renewed: Mutex::new(sent),
            opens: Mutex::default(),
            keeper: Mutex::default(),
            pools: Mutex::default(),
        });
        let keeper = tokio::spawn(keep(Arc::downgrade(&session), session.lease / 3));
        *session.keeper.lock() = Some(keeper.abort_handle());
        Ok(session)
    }

    /// Its number; 0 stands for no session and is never one.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Remembers that the object is open, to tell a new leader.
    pub fn track_open(&self, object_id: u64) {
        self.opens.lock().insert(object_id);
    }

    /// Forgets that the object is open.
    pub fn track_close(&self, object_id: u64) {
        self.opens.lock().remove(&object_id);
    }

    /// Whether the session may be gone: the OM said so (for good), or it could not be renewed for
    /// as long as its lease (until a renewal succeeds). Nothing may be acknowledged meanwhile.
    pub fn lost(&self) -> bool {
        self.expired.load(Ordering::Acquire) || self.renewed.lock().elapsed() > self.lease
    }

    /// `SessionExpired` once the OM has said so.
    pub fn check(&self) -> Result<()> {
        if self.expired.load(Ordering::Acquire) {
            return Err(ClientError::SessionExpired);
        }
        Ok(())
    }

    /// Asks the OM whether the session is still there, for whoever was refused something in its name:
    /// [`check`](Self::check) knows then, without waiting for the next renewal.
    pub async fn probe(&self) {
        if let Err(error) = self.renew().await {
            tracing::debug!(session = self.id, %error, "the session was not renewed");
        }
    }

    /// Gives up the session and all it holds. Does nothing when it has expired.
    pub async fn close(&self) {
        if let Some(keeper) = self.keeper.lock().take() {
            keeper.abort();
        }
        if self.check().is_err() {
            return;
        }
        let request = CloseSessionRequest {
            session: self.id,
            expired: false,
        };
        let patience = self.lease;
        if let Err(error) = self
            .om
            .call_within(Request::CloseSession(request), patience)
            .await
        {
            tracing::warn!(session = self.id, %error, "session not closed, it will expire");
        }
        self.expired.store(true, Ordering::Release);
    }

    /// The session's pool of blocks for this use, the same for every writer.
    pub(crate) fn pool(&self, key: PoolKey, env: &Arc<DataEnv>) -> Arc<BlockPool> {
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.iter().find(|pool| pool.key() == &key) {
            return pool.clone();
        }
        let pool = BlockPool::new(key, self.id, Namespace::new(self.om.clone()), env.clone());
        pools.push(pool.clone());
        pool
    }

    /// Renews the session, telling what is open when the OM asks for it.
    async fn renew(&self) -> Result<()> {
        if self.keep_alive(false).await?.reannounce {
            self.keep_alive(true).await?;
        }
        Ok(())
    }

    /// Renews what the session may believe, acknowledging changes up to `seen`, and asks for the `wanted`
    /// buckets. Answered when there are changes to hear of, or after a while.
    pub async fn renew_leases(&self, seen: u64, wanted: Vec<u64>) -> Result<RenewLeasesResponse> {
        let request = RenewLeasesRequest {
            session: self.id,
            seen,
            wanted,
        };
        match self
            .om
            .call_within(Request::RenewLeases(request), self.lease)
            .await?
        {
            Some(Response::RenewLeases(answer)) => Ok(answer),
            _ => Err(ClientError::protocol("OM", "no answer to RenewLeases")),
        }
    }

    async fn keep_alive(&self, announcing: bool) -> Result<KeepAliveResponse> {
        let sent = Instant::now();
        let opens = match announcing {
            true => self.opens.lock().iter().copied().collect(),
            false => Vec::new(),
        };
        let request = KeepAliveRequest {
            session: self.id,
            announcing,
            opens,
        };
        let answer = self
            .om
            .call_within(Request::KeepAlive(request), self.lease)
            .await;
        match answer {
            Ok(Some(Response::KeepAlive(answer))) => {
                *self.renewed.lock() = sent;
                Ok(answer)
            }
            Ok(_) => Err(ClientError::protocol("OM", "no answer to KeepAlive")),
            Err(error) => {
                if matches!(error, ClientError::SessionExpired) {
                    self.expired.store(true, Ordering::Release);
                }
                Err(error)
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.lock().take() {
            keeper.abort();
        }
    }
}

async fn keep(session: Weak<Session>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(session) = session.upgrade() else {
            return;
        };
        // On its own, so that it never delays a renewal.
        let pools = session.pools.lock().clone();
        tokio::spawn(async move {
            for pool in pools {
                pool.release().await;
            }
        });
        match session.renew().await {
            Ok(()) => {}
            Err(ClientError::SessionExpired) => {
                tracing::error!(session = session.id, "session expired");
                return;
            }
            Err(error) => tracing::warn!(session = session.id, %error, "session not renewed"),
        }
    }
}
