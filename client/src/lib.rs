//! The cluster as its users reach it: namespace calls to the OM, block data to and from datanodes.
//!
//! Everything that faces applications (mount, shell, gateways) goes through a [`Client`]. It finds
//! the OM's leader and follows it, repeats calls whose answers were lost without repeating their
//! effect, and verifies every byte that it reads.

pub mod config;
pub mod data;
pub mod errno;
pub mod error;
pub mod namespace;
pub mod objects;
pub mod ofs;
mod om;
mod request;
pub mod session;

use std::sync::Arc;

use ozone_common::caller::Caller;
use ozone_rpc::channel::Channels;
use tokio::sync::Mutex;

pub use config::ClientConfig;
pub use data::{Data, FileReader, FileWriter, LENT_FROM, Lending, LentFile};
pub use error::{ClientError, Result};
pub use namespace::Namespace;
pub use objects::Objects;
pub use ofs::Ofs;
/// The messages of the namespace, as [`Namespace`] takes and gives them.
pub use ozone_proto::namespace as proto;
pub use session::Session;

/// The messages that volumes, buckets and keys are described by.
pub mod wire {
    pub use ozone_proto::{hdds, om};
}

/// A connection to a cluster, on behalf of one caller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    namespace: Namespace,
    data: Data,
    objects: Objects,
    session: OwnSession,
}

/// The session that a client opens for itself when it first needs one, or when the last has expired.
pub(crate) type OwnSession = Arc<Mutex<Option<Arc<Session>>>>;

impl Client {
    /// Connects to a cluster: an OM has to answer.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        let channels = Channels::new(config.net.clone(), config.identity.clone());
        let channels = Arc::new(channels.with_connect_limit(config.connect_timeout));
        let namespace = Namespace::new(om::OmClient::new(&config, channels.clone())?);
        let data = Data::new(namespace.clone(), config.clone(), channels);
        let client = Self::assemble(Arc::new(config), namespace, data, OwnSession::default());
        client.objects.service_list().await?;
        Ok(client)
    }

    /// The same cluster for another caller.
    pub fn as_caller(&self, caller: Caller) -> Self {
        let namespace = self.namespace.for_caller(&caller);
        let data = self.data.with(namespace.clone());
        Self::assemble(self.config.clone(), namespace, data, self.session.clone())
    }

    fn assemble(
        config: Arc<ClientConfig>,
        namespace: Namespace,
        data: Data,
        session: OwnSession,
    ) -> Self {
        let objects = Objects::new(
            namespace.clone(),
            data.clone(),
            config.inline_limit,
            session.clone(),
        );
        Self {
            config,
            namespace,
            data,
            objects,
            session,
        }
    }

    /// What the client was made with; the caller there is the one of `connect`.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// On whose behalf calls are made.
    pub fn caller(&self) -> &Caller {
        self.namespace.om().caller()
    }

    /// Files and directories by id.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Volumes, buckets and keys.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Bytes.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The session of this client and its clones, opened when first asked for and when it expired. A mount opens one of
    /// its own.
    pub async fn session(&self) -> Result<Arc<Session>> {
        own_session(&self.session, &self.namespace).await
    }

    /// Gives up the client's own session, if it has one.
    pub async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            session.close().await;
        }
    }
}

pub(crate) async fn own_session(own: &OwnSession, namespace: &Namespace) -> Result<Arc<Session>> {
    let mut own = own.lock().await;
    if let Some(session) = own.as_ref().filter(|session| session.check().is_ok()) {
        return Ok(session.clone());
    }
    let session = Session::open_with(namespace, "client").await?;
    *own = Some(session.clone());
    Ok(session)
}
