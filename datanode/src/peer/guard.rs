//! Who may use the listener for datanodes: with certificates, datanodes alone. Without, the
//! listener is on loopback and everyone is trusted.

use ozone_rpc::server::PeerInfo;
use ozone_security::identity::{Role, Subject};
use tonic::{Request, Status};

/// Lets a call through when it comes from a datanode.
// A tonic interceptor has this shape.
#[allow(clippy::result_large_err)]
pub(crate) fn only_datanodes(request: Request<()>) -> Result<Request<()>, Status> {
    let peer = request.extensions().get::<PeerInfo>();
    let Some(certificates) = peer.and_then(|peer| peer.certificates.as_ref()) else {
        return Ok(request);
    };
    let subject = certificates
        .first()
        .and_then(|own| Subject::of_certificate(own));
    match subject {
        Some(subject) if subject.role == Role::Datanode => Ok(request),
        Some(other) => Err(Status::permission_denied(format!("{other} is no datanode"))),
        None => Err(Status::permission_denied(
            "the certificate names no server of this system",
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ozone_security::ca::{CertificateAuthority, Grant};

    use super::*;

    fn call_of(role: Role) -> Request<()> {
        let grant = Grant {
            subject: Subject {
                role,
                host: "localhost".into(),
                id: "id".into(),
                cluster_id: "CID-1".into(),
            },
            serial: 1,
            now_ms: 1_771_013_425_196,
            lifetime: Duration::from_secs(3600),
        };
        let owner = CertificateAuthority::create_root(&grant).unwrap();
        let certificate = owner.credentials().certificate().clone();
        let mut request = Request::new(());
        request.extensions_mut().insert(PeerInfo {
            address: "127.0.0.1:1".parse().unwrap(),
            certificates: Some(Arc::new(vec![certificate])),
        });
        request
    }

    #[test]
    fn other_servers_and_clients_are_refused() {
        only_datanodes(call_of(Role::Datanode)).unwrap();
        only_datanodes(Request::new(())).unwrap();
        for role in [Role::Om, Role::Scm, Role::Client] {
            let refused = only_datanodes(call_of(role)).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{role}");
        }
    }
}
