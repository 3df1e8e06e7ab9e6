//! Both ends of mutual TLS, from a process's credentials.
//!
//! A server asks every caller for a certificate that leads to the cluster's root; a client checks
//! the server's, and the name under which it called. gRPC runs inside (ALPN `h2`).

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::credentials::{CredentialError, Credentials};

/// The protocol that listeners and channels speak inside TLS.
const ALPN: &[u8] = b"h2";

/// For listeners: callers without a certificate of the cluster are refused.
pub fn server_config(credentials: &Credentials) -> Result<Arc<ServerConfig>, CredentialError> {
    let fail = |reason: String| CredentialError::crypto("set up TLS listener", reason);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(credentials)?, provider())
        .build()
        .map_err(|e| fail(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(e.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(credentials), credentials.private_key()?)
        .map_err(|e| fail(e.to_string()))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// For channels: servers without a certificate of the cluster for their name are refused.
pub fn client_config(credentials: &Credentials) -> Result<Arc<ClientConfig>, CredentialError> {
    let fail = |reason: String| CredentialError::crypto("set up TLS client", reason);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(e.to_string()))?
        .with_root_certificates(roots(credentials)?)
        .with_client_auth_cert(chain(credentials), credentials.private_key()?)
        .map_err(|e| fail(e.to_string()))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(credentials: &Credentials) -> Result<Arc<RootCertStore>, CredentialError> {
    let mut store = RootCertStore::empty();
    let added = store.add(credentials.root().clone());
    added.map_err(|e| CredentialError::crypto("trust root certificate", e))?;
    Ok(Arc::new(store))
}

/// The own certificate and those above, without the root, which the other end must know already.
fn chain(credentials: &Credentials) -> Vec<CertificateDer<'static>> {
    let above = credentials.authorities();
    let above = &above[..above.len().saturating_sub(1)];
    let own = std::iter::once(credentials.certificate().clone());
    own.chain(above.iter().cloned()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::clock::{Clock, SystemClock};
    use rustls::pki_types::ServerName;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::ca::tests::Cluster;
    use crate::identity::{Role, Subject};

    /// What the server learnt of the client, if both agreed to talk.
    async fn talk(
        server: &Credentials,
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
        let om = cluster.issue(Role::Om, 3, now);
        let datanode = cluster.issue(Role::Datanode, 4, now);
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
        let om = ours.issue(Role::Om, 3, now);
        let stranger = client_config(&theirs.issue(Role::Om, 3, now)).unwrap();
        assert!(talk(&om, stranger, "localhost").await.is_err());
        let nameless = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&om).unwrap())
            .with_no_client_auth();
        assert!(talk(&om, Arc::new(nameless), "localhost").await.is_err());
    }

    #[tokio::test]
    async fn credentials_that_are_over_open_no_connection() {
        let now = SystemClock::new().wall_ms();
        let cluster = Cluster::new(now);
        let om = cluster.issue(Role::Om, 3, now);
        let two_years = 2 * 365 * 86_400_000;
        let over = cluster.issue(Role::Datanode, 4, now - two_years);
        let client = client_config(&over).unwrap();
        assert!(talk(&om, client, "localhost").await.is_err());
    }
}
