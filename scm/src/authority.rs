//! The certificate authority that SCM is.
//!
//! The SCM that formats a cluster makes the root (`scm/ca`) and a sub-authority below it
//! (`scm/sub-ca`). The sub-authority signs the certificates of OMs, datanodes and clients; the root
//! only those of the sub-authorities of other SCMs. Serial numbers come from the replicated counter
//! and every issued certificate is on record.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ozone_common::config::Config;
use ozone_proto::scm::{SignCertificateRequest, SignCertificateResponse};
use ozone_security::ca::{CertificateAuthority, Grant, IssuedChain, KeyRequest, Standing};
use ozone_security::chain::serial;
use ozone_security::credentials::{CredentialError, Credentials, Owner, to_pem};
use ozone_security::identity::{Role, Subject};
use ozone_security::settings::{machine_name, tls_wanted};

use crate::error::{ScmError, StartError};
use crate::layout::Identity;
use crate::ops::{Command, SequenceRange, StoreCertificate, sequence};
use crate::scm::Scm;

/// Serial number of the sub-authority of the SCM that made the root, which has the one before.
const FIRST_SUB_SERIAL: u64 = ozone_security::ca::ROOT_SERIAL + 1;

/// What certificates are issued on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// How long authorities are good for.
    authority: Duration,
    /// How long everyone else is.
    server: Duration,
    /// What those that are asked for are worth: only with TLS it is known who asks.
    standing: Standing,
}

impl Terms {
    pub(crate) fn from_config(config: &Config) -> Result<Self, StartError> {
        let standing = match tls_wanted(config)? {
            true => Standing::Proven,
            false => Standing::Unproven,
        };
        Ok(Self {
            authority: config.get_duration("hdds.x509.max.duration")?,
            server: config.get_duration("hdds.x509.default.duration")?,
            standing,
        })
    }
}

/// The authority of one SCM.
#[derive(Debug)]
pub(crate) struct Authority {
    sub: CertificateAuthority,
    /// Only where the cluster was formatted.
    root: Option<CertificateAuthority>,
    terms: Terms,
}

/// Where keys and certificates lie.
struct Dirs {
    root: PathBuf,
    sub: PathBuf,
}

impl Dirs {
    fn below(base: &Path) -> Self {
        let scm = base.join("scm");
        Self {
            root: scm.join("ca"),
            sub: scm.join("sub-ca"),
        }
    }
}

fn fail(dir: &Path) -> impl Fn(CredentialError) -> StartError + '_ {
    move |error| StartError::Authority {
        dir: dir.to_owned(),
        reason: error.to_string(),
    }
}

impl Authority {
    /// Makes root and sub-authority below `base`, where there are none. Blocks.
    pub(crate) fn create(
        base: &Path,
        identity: &Identity,
        terms: Terms,
        now_ms: u64,
    ) -> Result<(), StartError> {
        let dirs = Dirs::below(base);
        let grant = |role, serial| Grant {
            subject: subject(role, machine_name(), identity.scm_id.to_string(), identity),
            serial,
            now_ms,
            lifetime: terms.authority,
            standing: Standing::Proven,
        };
        let root = match load(&dirs.root)? {
            Some(root) => root,
            None => {
                let grant = grant(Role::Scm, ozone_security::ca::ROOT_SERIAL);
                let root = CertificateAuthority::create_root(&grant).map_err(fail(&dirs.root))?;
                let saved = root.credentials().save(&dirs.root, Owner::Root);
                saved.map_err(fail(&dirs.root))?;
                root
            }
        };
        if load(&dirs.sub)?.is_none() {
            let sub = root.create_sub(&grant(Role::ScmSub, FIRST_SUB_SERIAL));
            let sub = sub.map_err(fail(&dirs.sub))?;
            sub.credentials()
                .save(&dirs.sub, Owner::Other)
                .map_err(fail(&dirs.sub))?;
        }
        Ok(())
    }

    /// Reads what is below `base`; none if this SCM has no sub-authority. Blocks.
    pub(crate) fn load(base: &Path, terms: Terms) -> Result<Option<Self>, StartError> {
        let dirs = Dirs::below(base);
        let root = load(&dirs.root)?;
        Ok(load(&dirs.sub)?.map(|sub| Self { sub, root, terms }))
    }

    /// The number of the sub-authority's certificate.
    pub(crate) fn serial(&self) -> Result<String, StartError> {
        let own = self.sub.credentials().certificate();
        serial(own).map_err(|error| StartError::Tls(error.to_string()))
    }

    /// The sub-authority's certificate and the root's, as PEM.
    pub(crate) fn chain(&self) -> Vec<String> {
        let own = self.sub.credentials();
        let all = std::iter::once(own.certificate()).chain(own.authorities());
        all.map(to_pem).collect()
    }

    /// A key and certificate for this SCM's own listeners.
    pub(crate) fn own_credentials(
        &self,
        identity: &Identity,
        hosts: &[String],
        serial: u64,
        now_ms: u64,
    ) -> Result<Credentials, CredentialError> {
        let host = hosts.first().cloned().unwrap_or_default();
        let subject = subject(Role::Scm, host, identity.scm_id.to_string(), identity);
        let request = KeyRequest::generate(&subject, hosts)?;
        let grant = Grant {
            subject,
            serial,
            now_ms,
            lifetime: self.terms.server,
            standing: Standing::Proven,
        };
        let issued = self.sub.sign_request(request.der(), &grant)?;
        request.into_credentials(issued)
    }

    fn sign(&self, request: &[u8], grant: Grant) -> Result<IssuedChain, ScmError> {
        let refuse = |error: CredentialError| ScmError::Authority(error.to_string());
        if grant.subject.role != Role::ScmSub {
            return self.sub.sign_request(request, &grant).map_err(refuse);
        }
        let root = self.root.as_ref().ok_or_else(|| {
            let reason = "only the SCM that formatted the cluster certifies other SCMs";
            ScmError::Authority(reason.to_owned())
        })?;
        root.sign_sub(request, &grant).map_err(refuse)
    }
}

fn load(dir: &Path) -> Result<Option<CertificateAuthority>, StartError> {
    let loaded = Credentials::load(dir).map_err(fail(dir))?;
    loaded
        .map(CertificateAuthority::from_credentials)
        .transpose()
        .map_err(fail(dir))
}

fn subject(role: Role, host: String, id: String, identity: &Identity) -> Subject {
    Subject {
        role,
        host,
        id,
        cluster_id: identity.cluster_id.clone(),
    }
}

/// The signing request in a PEM text.
fn request_der(pem_text: &str) -> Result<Vec<u8>, ScmError> {
    let parsed = pem::parse(pem_text);
    let parsed = parsed.map_err(|e| ScmError::BadRequest(format!("signing request: {e}")))?;
    match parsed.tag() {
        "CERTIFICATE REQUEST" => Ok(parsed.into_contents()),
        other => Err(ScmError::BadRequest(format!(
            "a PEM of CERTIFICATE REQUEST is asked for, this is {other}"
        ))),
    }
}

impl Scm {
    /// Issues a certificate and puts it on record.
    pub(crate) async fn sign_certificate(
        &self,
        request: SignCertificateRequest,
    ) -> Result<SignCertificateResponse, ScmError> {
        self.log.require_leader()?;
        let none = || ScmError::Authority("this SCM has no authority: bootstrap it".to_owned());
        let authority = self.authority.as_ref().ok_or_else(none)?;
        let role = Role::of_node_type(&request.node_type).ok_or_else(|| {
            let asked = &request.node_type;
            ScmError::BadRequest(format!(
                "node type {asked:?}: OM, DATANODE, SCM, CLIENT or JOIN"
            ))
        })?;
        let csr = request_der(&request.csr_pem)?;
        let range = SequenceRange {
            name: sequence::CERTIFICATE_ID.to_owned(),
            count: 1,
        };
        let number = self.log.propose(Command::SequenceRange(range)).await?;
        let serial = FIRST_SUB_SERIAL + number;
        let now_ms = self.clock.wall_ms();
        let asked = Duration::from_millis(request.valid_ms);
        let usual = match role {
            // An operator says how long a join bundle is good for.
            Role::ScmSub | Role::Join => authority.terms.authority,
            _ => authority.terms.server,
        };
        let lifetime = if asked.is_zero() {
            usual
        } else {
            usual.min(asked)
        };
        let grant = Grant {
            subject: subject(
                role,
                request.host,
                request.node_uuid.clone(),
                &self.identity,
            ),
            serial,
            now_ms,
            lifetime,
            standing: authority.terms.standing,
        };
        let issued = authority.sign(&csr, grant)?;
        let pem = to_pem(&issued.certificate);
        let store = Command::StoreCertificate(StoreCertificate {
            serial: serial.to_be_bytes().to_vec(),
            pem: pem.clone(),
            node_type: request.node_type,
            node_uuid: request.node_uuid,
            at_ms: now_ms,
        });
        self.log.propose(store).await?;
        Ok(SignCertificateResponse {
            certificate_pem: pem,
            ca_chain_pem: issued.authorities.iter().map(to_pem).collect(),
            serial: serial.to_string(),
        })
    }

    /// Certificates of the authorities of this cluster.
    pub(crate) fn authority_certificates(&self) -> Vec<String> {
        self.authority
            .as_ref()
            .map(Authority::chain)
            .unwrap_or_default()
    }
}
