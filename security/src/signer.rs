//! The way to the certificate authority: SCM's leader signs what a process asks for.

use std::sync::Arc;
use std::time::Duration;

use ozone_common::clock::Clock;
use ozone_common::net::Net;
use ozone_common::rng::Rng;
use ozone_proto::scm::scm_security_service_client::ScmSecurityServiceClient;
use ozone_proto::scm::{SignCertificateRequest, SignCertificateResponse};
use ozone_rpc::channel::{ChannelError, Channels, ClientIdentity};
use ozone_rpc::failover::{Failed, Failover, FailoverError, FailoverPolicy};
use tonic::Status;

use crate::ca::{IssuedChain, KeyRequest};
use crate::credentials::{CredentialError, Credentials, from_pem};
use crate::identity::{Role, Subject};

/// How long SCMs are asked before it is given up.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a certificate is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What its owner is.
    pub role: Role,
    /// The owner's id.
    pub id: String,
    /// Names and addresses under which the owner is reached; the first one is in its subject.
    pub hosts: Vec<String>,
    /// At most this long; as long as SCM likes if none.
    pub valid: Option<Duration>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No SCM answered in time.
    #[error("certificate: {0}")]
    NoAnswer(FailoverError<Failed>),
    /// SCM said no.
    #[error("SCM issues no certificate: {0}")]
    Refused(Failed),
    /// What came back, or what was to be sent, is no good.
    #[error("certificate: {0}")]
    Credentials(#[from] CredentialError),
}

/// Asks SCM for certificates.
#[derive(Debug, Clone)]
pub struct Signer {
    /// `host:port` of SCM's security service, each of them.
    pub scm: Vec<String>,
    /// The network.
    pub net: Arc<dyn Net>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
}

impl Signer {
    /// Makes a key and has it certified. The caller shows `identity`.
    pub async fn sign(
        &self,
        wanted: &Wanted,
        identity: ClientIdentity,
    ) -> Result<Credentials, SignError> {
        let host = wanted.hosts.first().cloned().unwrap_or_default();
        let subject = Subject {
            role: wanted.role,
            host: host.clone(),
            id: wanted.id.clone(),
            // SCM knows which one it is.
            cluster_id: String::new(),
        };
        let key = KeyRequest::generate(&subject, &wanted.hosts)?;
        let valid = wanted.valid.map_or(0, |valid| valid.as_millis());
        let request = SignCertificateRequest {
            csr_pem: key.pem(),
            node_type: wanted.role.node_type().to_owned(),
            node_uuid: wanted.id.clone(),
            host,
            valid_ms: u64::try_from(valid).unwrap_or(u64::MAX),
        };
        let answer = self.ask(request, identity).await?;
        let authorities = answer.ca_chain_pem.iter().map(|pem| from_pem(pem));
        let issued = IssuedChain {
            certificate: from_pem(&answer.certificate_pem)?,
            authorities: authorities.collect::<Result<_, _>>()?,
        };
        Ok(key.into_credentials(issued)?)
    }

    async fn ask(
        &self,
        request: SignCertificateRequest,
        identity: ClientIdentity,
    ) -> Result<SignCertificateResponse, SignError> {
        let channels = Channels::new(self.net.clone(), identity);
        let policy = FailoverPolicy {
            deadline: DEADLINE,
            ..FailoverPolicy::default()
        };
        let (clock, rng) = (self.clock.clone(), self.rng.clone());
        let failover = Failover::new(self.scm.clone(), clock, rng, policy);
        let attempt = |server: String| {
            let (channel, request) = (channels.get(&server), request.clone());
            async move {
                let bad = |e: ChannelError| Failed(Status::invalid_argument(e.to_string()));
                let mut client = ScmSecurityServiceClient::new(channel.map_err(bad)?);
                client.sign_certificate(request).await.map_err(Failed)
            }
        };
        match failover.call(attempt).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(FailoverError::Refused(refused)) => Err(SignError::Refused(refused)),
            Err(gave_up) => Err(SignError::NoAnswer(gave_up)),
        }
    }
}
