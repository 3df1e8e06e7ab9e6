//! How SCM shows who it is and learns who calls: plaintext on loopback, or mutual TLS under the
//! cluster's own authority.

use std::sync::Arc;

use ozone_common::config::Config;
use ozone_common::net::Net;
use ozone_raft::{Connect, Peer};
use ozone_rpc::channel::{Channels, ClientIdentity};
use ozone_rpc::server::{ListenerIdentity, PeerInfo};
use ozone_security::identity::{Role, Subject};
use ozone_security::tls::{client_config, server_config};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::authority::Authority;
use crate::error::StartError;
use crate::layout::Identity;

/// Both ends of SCM's connections.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    /// Of its listeners.
    pub(crate) listener: ListenerIdentity,
    client: ClientIdentity,
}

/// What a certificate for this SCM's own connections is made of.
pub(crate) struct OwnCertificate<'a> {
    pub(crate) authority: Option<&'a Authority>,
    pub(crate) identity: &'a Identity,
    /// Names and addresses under which this SCM is reached.
    pub(crate) hosts: &'a [String],
    /// Unique; not from the replicated counter, which cannot be reached before this is there.
    pub(crate) serial: u64,
    pub(crate) now_ms: u64,
}

impl Transport {
    /// As the configuration wants it.
    pub(crate) fn new(config: &Config, own: &OwnCertificate<'_>) -> Result<Self, StartError> {
        let secure = config.get_bool("ozone.security.enabled")?;
        if !secure || !config.get_bool("hdds.grpc.tls.enabled")? {
            return Ok(Self {
                listener: ListenerIdentity::Plaintext,
                client: ClientIdentity::Plaintext,
            });
        }
        let fail = |reason: String| StartError::Tls(reason);
        let authority = own
            .authority
            .ok_or_else(|| fail("this SCM has no authority to certify its listeners".to_owned()))?;
        let made = authority
            .own_credentials(own.identity, own.hosts, own.serial, own.now_ms)
            .and_then(|own| Ok((server_config(&own)?, client_config(&own)?)));
        let (server, client) = made.map_err(|error| fail(error.to_string()))?;
        Ok(Self {
            listener: ListenerIdentity::Tls(server),
            client: ClientIdentity::Tls(client),
        })
    }

    /// How this SCM connects to the others.
    pub(crate) fn connect(&self, net: Arc<dyn Net>) -> Arc<dyn Connect> {
        Arc::new(PeerChannels(Channels::new(net, self.client.clone())))
    }
}

/// Connections to the other SCMs.
#[derive(Debug)]
struct PeerChannels(Channels);

impl Connect for PeerChannels {
    fn channel(&self, peer: &Peer) -> Result<Channel, tonic::transport::Error> {
        match self.0.get(&peer.address) {
            Ok(channel) => Ok(channel),
            // A bad address: tonic says what is wrong with it.
            Err(_) => Ok(ozone_raft::endpoint("http", peer)?.connect_lazy()),
        }
    }
}

/// Refuses a caller that has proved to be something else than one of `roles`, or of another
/// cluster. Gives who it is; none on a plaintext listener, which only this machine can reach.
pub(crate) fn require<T>(
    request: &Request<T>,
    identity: &Identity,
    roles: &[Role],
) -> Result<Option<Subject>, Status> {
    let peer = request.extensions().get::<PeerInfo>();
    let Some(certificates) = peer.and_then(|peer| peer.certificates.as_ref()) else {
        return Ok(None);
    };
    let subject = certificates
        .first()
        .and_then(|own| Subject::of_certificate(own));
    let denied = |reason: String| Status::permission_denied(reason);
    let subject = subject.ok_or_else(|| denied("the certificate names no server".to_owned()))?;
    if subject.cluster_id != identity.cluster_id {
        let (theirs, ours) = (&subject.cluster_id, &identity.cluster_id);
        return Err(denied(format!(
            "{subject} is of cluster {theirs}, this is {ours}"
        )));
    }
    match roles.contains(&subject.role) {
        true => Ok(Some(subject)),
        false => Err(denied(format!("{subject} may not ask this"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_security::ca::{CertificateAuthority, Grant, KeyRequest};
    use uuid::Uuid;

    use super::*;

    fn us() -> Identity {
        Identity {
            cluster_id: "CID-ours".to_owned(),
            scm_id: Uuid::nil(),
            group: Uuid::nil(),
            c_time: 1,
            layout_version: 1,
        }
    }

    fn request(role: Role, cluster: &str) -> Request<()> {
        let subject = |role| Subject {
            role,
            host: "h".to_owned(),
            id: "i".to_owned(),
            cluster_id: cluster.to_owned(),
        };
        let grant = |role| Grant {
            subject: subject(role),
            serial: 5,
            now_ms: 1_790_000_000_000,
            lifetime: std::time::Duration::from_secs(60),
        };
        let root = CertificateAuthority::create_root(&grant(Role::Scm)).unwrap();
        let asked = KeyRequest::generate(&subject(role), &[]).unwrap();
        let issued = root.sign_request(asked.der(), &grant(role)).unwrap();
        let mut request = Request::new(());
        request.extensions_mut().insert(PeerInfo {
            address: "127.0.0.1:1".parse().unwrap(),
            certificates: Some(Arc::new(vec![issued.certificate])),
        });
        request
    }

    #[test]
    fn only_the_right_role_of_the_right_cluster_is_served() {
        let allowed = [Role::Om, Role::Scm];
        let served = require(&request(Role::Om, "CID-ours"), &us(), &allowed).unwrap();
        assert_eq!(served.unwrap().role, Role::Om);
        let role = require(&request(Role::Datanode, "CID-ours"), &us(), &allowed).unwrap_err();
        assert_eq!(role.code(), tonic::Code::PermissionDenied);
        let cluster = require(&request(Role::Om, "CID-theirs"), &us(), &allowed).unwrap_err();
        assert!(cluster.message().contains("CID-theirs") && cluster.message().contains("CID-ours"));
    }

    #[test]
    fn plaintext_callers_have_no_name() {
        assert_eq!(require(&Request::new(()), &us(), &[]).unwrap(), None);
    }
}
