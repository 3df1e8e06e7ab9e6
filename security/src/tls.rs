//! Both ends of mutual TLS, from a process's credentials.
//!
//! A server asks every caller for a certificate that leads to the cluster's root; a client checks
//! the server's, and the name under which it called. gRPC runs inside (ALPN `h2`). Sessions are never
//! resumed: each connection is proved by a certificate that is good when it is opened.

use std::sync::Arc;

use ozone_rpc::channel::ClientIdentity;
use ozone_rpc::server::ListenerIdentity;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ServerConfig};

use crate::credentials::CredentialError;
use crate::identity::Subject;
use crate::live::Live;

/// The protocol that listeners and channels speak inside TLS.
const ALPN: &[u8] = b"h2";

/// Both ends of a server's connections.
#[derive(Debug, Clone)]
pub struct Transport {
    /// What its listeners show and ask for.
    pub listener: ListenerIdentity,
    /// What its channels show and ask for.
    pub client: ClientIdentity,
    /// The cluster that its certificate is of; empty without one.
    pub cluster_id: String,
}

impl Transport {
    /// Without encryption: for this machine alone.
    pub fn plaintext() -> Self {
        Self {
            listener: ListenerIdentity::Plaintext,
            client: ClientIdentity::Plaintext,
            cluster_id: String::new(),
        }
    }

    /// Mutual TLS with these credentials.
    pub fn tls(live: &Arc<Live>) -> Result<Self, CredentialError> {
        let own = live.credentials();
        let owner = Subject::of_certificate(own.certificate()).ok_or_else(|| {
            CredentialError::crypto("set up TLS", "the certificate names no server")
        })?;
        Ok(Self {
            listener: ListenerIdentity::Tls(server_config(live)?),
            client: ClientIdentity::Tls(client_config(live)?),
            cluster_id: owner.cluster_id,
        })
    }
}

/// For listeners: callers without a certificate of the cluster are refused.
pub fn server_config(live: &Arc<Live>) -> Result<Arc<ServerConfig>, CredentialError> {
    let fail = |reason: String| CredentialError::crypto("set up TLS listener", reason);
    let verifier = WebPkiClientVerifier::builder_with_provider(live.roots()?, provider())
        .build()
        .map_err(|e| fail(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(e.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(live.clone());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For channels: servers without a certificate of the cluster for their name are refused.
pub fn client_config(live: &Arc<Live>) -> Result<Arc<ClientConfig>, CredentialError> {
    let fail = |reason: String| CredentialError::crypto("set up TLS client", reason);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(e.to_string()))?
        .with_root_certificates(live.roots()?)
        .with_client_cert_resolver(live.clone());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::clock::{Clock, SystemClock};
    use rustls::pki_types::ServerName;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::ca::Standing;
    use crate::ca::tests::{Cluster, grant};
    use crate::identity::Role;

    fn live(cluster: &Cluster, role: Role, serial: u64, now: u64) -> Arc<Live> {
        Live::new(cluster.issue(role, serial, now)).unwrap()
    }

    /// What the server learnt of the client, if both agreed to talk.
    async fn talk(
        server: &Arc<Live>,
        client: Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Option<Subject>> {
        let (a, b) = tokio::io::duplex(64 << 10);
        let acceptor = TlsAcceptor::from(server_config(server).unwrap());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(client);
        let (accepted, connected) = tokio::join!(acceptor.accept(a), connector.connect(name, b));
        connected?;
        let accepted = accepted?;
        let certificates = accepted.get_ref().1.peer_certificates().unwrap();
        Ok(Subject::of_certificate(&certificates[0]))
    }

    #[tokio::test]
    async fn members_of_a_cluster_talk_and_know_each_other() {
        let now = SystemClock::new().wall_ms();
        let cluster = Cluster::new(now);
        let om = live(&cluster, Role::Om, 3, now);
        let datanode = live(&cluster, Role::Datanode, 4, now);
        let client = client_config(&datanode).unwrap();
        for name in ["localhost", "127.0.0.1"] {
            let seen = talk(&om, client.clone(), name).await.unwrap().unwrap();
            assert_eq!(seen.role, Role::Datanode);
            assert_eq!(seen.id, "id-4");
        }
        assert!(talk(&om, client, "elsewhere.example").await.is_err());
    }

    #[tokio::test]
    async fn strangers_and_the_nameless_are_refused() {
        let now = SystemClock::new().wall_ms();
        let (ours, theirs) = (Cluster::new(now), Cluster::new(now));
        let om = live(&ours, Role::Om, 3, now);
        let stranger = client_config(&live(&theirs, Role::Om, 3, now)).unwrap();
        assert!(talk(&om, stranger, "localhost").await.is_err());
        let nameless = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(om.roots().unwrap())
            .with_no_client_auth();
        assert!(talk(&om, Arc::new(nameless), "localhost").await.is_err());
    }

    #[tokio::test]
    async fn credentials_that_are_over_open_no_connection() {
        let now = SystemClock::new().wall_ms();
        let cluster = Cluster::new(now);
        let om = live(&cluster, Role::Om, 3, now);
        let two_years = 2 * 365 * 86_400_000;
        let over = live(&cluster, Role::Datanode, 4, now - two_years);
        let client = client_config(&over).unwrap();
        assert!(talk(&om, client, "localhost").await.is_err());
    }

    #[tokio::test]
    async fn renewed_credentials_are_shown_by_the_next_connection_at_both_ends() {
        let now = SystemClock::new().wall_ms();
        let cluster = Cluster::new(now);
        let server = live(&cluster, Role::Om, 3, now - 2 * 365 * 86_400_000);
        let caller = live(&cluster, Role::Datanode, 4, now);
        let client = client_config(&caller).unwrap();
        assert!(talk(&server, client.clone(), "localhost").await.is_err());
        server.replace(cluster.issue(Role::Om, 5, now)).unwrap();
        caller
            .replace(cluster.issue(Role::Datanode, 6, now))
            .unwrap();
        let seen = talk(&server, client, "localhost").await.unwrap().unwrap();
        assert_eq!(seen.id, "id-6");
    }

    #[tokio::test]
    async fn what_was_issued_without_proof_and_what_is_no_server_open_no_connection() {
        let now = SystemClock::new().wall_ms();
        let cluster = Cluster::new(now);
        let om = live(&cluster, Role::Om, 3, now);
        let mut unproven = grant(Role::Datanode, 7, now);
        unproven.standing = Standing::Unproven;
        let unproven = cluster.issue_as(&unproven);
        assert_eq!(unproven.standing().unwrap(), Standing::Unproven);
        let unproven = Live::new(unproven).unwrap();
        let client = client_config(&unproven).unwrap();
        assert!(talk(&om, client, "localhost").await.is_err());
        let caller = client_config(&om).unwrap();
        assert!(talk(&unproven, caller.clone(), "localhost").await.is_err());
        let client = live(&cluster, Role::Client, 8, now);
        assert!(talk(&client, caller, "localhost").await.is_err());
        let served = talk(&om, client_config(&client).unwrap(), "localhost").await;
        assert_eq!(served.unwrap().unwrap().role, Role::Client);
    }
}
