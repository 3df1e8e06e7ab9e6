//! How SCM shows who it is and learns who calls: plaintext on loopback, or mutual TLS with a
//! certificate that its own authority issues at each start, and renews while it runs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::clock::Clock;
use ozone_common::rng::Rng;
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_security::credentials::CredentialError;
use ozone_security::enrol::renewal_due;
use ozone_security::guard::Guard;
use ozone_security::identity::{Role, Subject};
use ozone_security::live::Live;
use ozone_security::tls::Transport;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::authority::Authority;
use crate::error::StartError;
use crate::layout::Identity;
use crate::scm::Scm;

/// What certificates for this SCM's own connections are made of.
pub(crate) struct OwnCertificate {
    /// Names and addresses under which this SCM is reached.
    pub(crate) hosts: Vec<String>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
}

impl OwnCertificate {
    /// A new one. Its serial number does not come from the replicated counter, which cannot be
    /// reached before this is there, but is beyond those that the counter will ever give.
    pub(crate) fn issue(
        &self,
        authority: &Authority,
        identity: &Identity,
    ) -> Result<ozone_security::credentials::Credentials, CredentialError> {
        let serial = self.rng.u64() | 1 << 63;
        authority.own_credentials(identity, &self.hosts, serial, self.clock.wall_ms())
    }

    /// Credentials for mutual TLS.
    pub(crate) fn live(
        &self,
        authority: Option<&Authority>,
        identity: &Identity,
    ) -> Result<Arc<Live>, StartError> {
        let fail = |reason: String| StartError::Tls(reason);
        let authority = authority
            .ok_or_else(|| fail("this SCM has no authority to certify its listeners".to_owned()))?;
        let own = self.issue(authority, identity);
        own.and_then(Live::new).map_err(|e| fail(e.to_string()))
    }
}

/// Both ends of the connections of an SCM with these credentials; plaintext without.
pub(crate) fn transport(live: Option<&Arc<Live>>) -> Result<Transport, StartError> {
    match live {
        Some(live) => Transport::tls(live).map_err(|e| StartError::Tls(e.to_string())),
        None => Ok(Transport::plaintext()),
    }
}

/// Issues this SCM a new certificate before the old one ends.
pub(crate) struct CertificateRenewal {
    pub(crate) scm: Arc<Scm>,
    pub(crate) own: OwnCertificate,
    pub(crate) live: Arc<Live>,
    pub(crate) grace: Duration,
}

#[async_trait]
impl Worker for CertificateRenewal {
    fn name(&self) -> String {
        "certificate".to_owned()
    }

    async fn work(&mut self, _: &CancellationToken) -> Result<Next, WorkError> {
        let now_ms = self.own.clock.wall_ms();
        let due = renewal_due(&self.live.credentials(), self.grace, now_ms)?;
        if let Some(authority) = self.scm.authority.as_ref().filter(|_| due.is_zero()) {
            self.live
                .replace(self.own.issue(authority, &self.scm.identity)?)?;
            return Ok(Next::Now);
        }
        Ok(Next::After(due))
    }
}

/// Refuses a caller that has proved to be something else than one of `roles`, or of another
/// cluster. Gives who it is; none on a plaintext listener, which only this machine can reach.
pub(crate) fn require<T>(
    request: &Request<T>,
    identity: &Identity,
    roles: &'static [Role],
) -> Result<Option<Subject>, Status> {
    Guard::new(&identity.cluster_id, roles).admit(request)
}
