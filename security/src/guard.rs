//! Whom a listener serves.
//!
//! Each listener, or each service where several share one, names the roles that may call. Without
//! TLS only this machine can reach a listener, and everyone there is served.

use std::sync::Arc;

use ozone_rpc::server::PeerInfo;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::identity::{Role, Subject};

/// Lets calls through that come from these roles of this cluster. A tonic interceptor.
#[derive(Debug, Clone)]
pub struct Guard {
    cluster_id: Arc<str>,
    roles: &'static [Role],
}

impl Guard {
    /// Serves `roles` of the cluster `cluster_id`.
    pub fn new(cluster_id: &str, roles: &'static [Role]) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            roles,
        }
    }

    /// Refuses a caller that has proved to be something else than it should. Gives who it is; none
    /// on a plaintext listener.
    // A tonic interceptor has this error.
    #[allow(clippy::result_large_err)]
    pub fn admit<T>(&self, request: &Request<T>) -> Result<Option<Subject>, Status> {
        let peer = request.extensions().get::<PeerInfo>();
        let Some(certificates) = peer.and_then(|peer| peer.certificates.as_ref()) else {
            return Ok(None);
        };
        let denied = |reason: String| {
            tracing::warn!(reason, "refused a caller");
            metrics::counter!("rpc_callers_refused_total").increment(1);
            Err(Status::permission_denied(reason))
        };
        let own = certificates.first();
        let Some(subject) = own.and_then(|own| Subject::of_certificate(own)) else {
            return denied("the certificate names nobody of this system".to_owned());
        };
        if *subject.cluster_id != *self.cluster_id {
            let (theirs, ours) = (&subject.cluster_id, &self.cluster_id);
            return denied(format!("{subject} is of cluster {theirs}, this is {ours}"));
        }
        match self.roles.contains(&subject.role) {
            true => Ok(Some(subject)),
            false => denied(format!("{subject} may not ask this")),
        }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.admit(&request).map(|_| request)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::ca::tests::{Cluster, NOW, grant};

    fn call_of(role: Role, cluster_id: &str) -> Request<()> {
        let mut grant = grant(role, 5, NOW);
        grant.subject.cluster_id = cluster_id.to_owned();
        let caller = Cluster::new(NOW).issue_as(&grant);
        let mut request = Request::new(());
        request.extensions_mut().insert(PeerInfo {
            address: "127.0.0.1:1".parse().unwrap(),
            certificates: Some(Arc::new(vec![caller.certificate().clone()])),
        });
        request
    }

    #[test]
    fn only_the_right_role_of_the_right_cluster_is_served() {
        let guard = Guard::new("CID-ours", &[Role::Om, Role::Scm]);
        let served = guard.admit(&call_of(Role::Om, "CID-ours")).unwrap();
        assert_eq!(served.unwrap().role, Role::Om);
        for role in [Role::Datanode, Role::Client, Role::Join] {
            let refused = guard.admit(&call_of(role, "CID-ours")).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{role}");
        }
        let refused = guard.admit(&call_of(Role::Om, "CID-theirs")).unwrap_err();
        let text = refused.message();
        assert!(
            text.contains("CID-theirs") && text.contains("CID-ours"),
            "{text}"
        );
    }

    #[test]
    fn plaintext_callers_have_no_name() {
        let guard = Guard::new("CID-ours", &[]);
        assert_eq!(guard.admit(&Request::new(())).unwrap(), None);
    }
}
