//! The certificate authority of a cluster.
//!
//! The primary SCM makes a self-signed root (serial 1). Every SCM, the primary included, has a
//! sub-authority that the root signed; those issue the certificates of OMs, datanodes and clients.
//! An authority decides what it certifies: of a signing request it takes the public key and the
//! host names, never the powers asked for.
//!
//! Keys are ECDSA P-256. Ozone prefers RSA 2048, but the cryptography library used here can
//! verify RSA and not generate it; P-256 is as strong as RSA 3072, and faster.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use time::OffsetDateTime;

use crate::credentials::{CredentialError, Credentials, block_pem};
use crate::identity::Subject;

/// Serial number of the root certificate.
pub const ROOT_SERIAL: u64 = 1;
/// How far clocks may differ: certificates are valid from this long ago on.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// The only use of an unproven certificate: a purpose that TLS does not know.
pub(crate) const UNPROVEN_USE: &[u64] = &[2, 25, 2_083_462_918_573_164_711];

/// What a certificate is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Whoever asked for it had proved to be of the cluster.
    Proven,
    /// It was issued while security was off, to somebody on the same machine. TLS refuses it, so
    /// that nothing which was handed out then counts once security is on.
    Unproven,
}

/// What an authority puts into a certificate, besides the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose it is.
    pub subject: Subject,
    /// Unique within the cluster.
    pub serial: u64,
    /// Now; milliseconds since 1970.
    pub now_ms: u64,
    /// How long it is good for.
    pub lifetime: Duration,
    /// What it is worth.
    pub standing: Standing,
}

/// Something that can issue certificates.
#[derive(Debug)]
pub struct CertificateAuthority {
    credentials: Credentials,
}

impl CertificateAuthority {
    /// A new root. Its serial number is [`ROOT_SERIAL`], whatever `grant` says.
    pub fn create_root(grant: &Grant) -> Result<Self, CredentialError> {
        let key = generate_key()?;
        let params = authority_params(&Grant {
            serial: ROOT_SERIAL,
            ..grant.clone()
        })?;
        let signed = params.self_signed(&key);
        let signed = signed.map_err(|e| CredentialError::crypto("sign root certificate", e))?;
        let credentials = Credentials::new(key, signed.der().clone(), Vec::new())?;
        Ok(Self { credentials })
    }

    /// An authority with credentials made before.
    pub fn from_credentials(credentials: Credentials) -> Result<Self, CredentialError> {
        if !crate::chain::parse(credentials.certificate())?.is_ca() {
            return Err(CredentialError::crypto(
                "act as authority",
                "the certificate is not one of an authority",
            ));
        }
        Ok(Self { credentials })
    }

    /// Its key and certificates.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// A new authority below this one, with a key of its own.
    pub fn create_sub(&self, grant: &Grant) -> Result<Self, CredentialError> {
        let key = generate_key()?;
        let certificate = self.sign(&authority_params(grant)?, &key)?;
        let credentials = Credentials::new(key, certificate, self.chain())?;
        Ok(Self { credentials })
    }

    /// A certificate for the key in a signing request (DER) of another SCM, which makes it an
    /// authority below this one.
    pub fn sign_sub(&self, request: &[u8], grant: &Grant) -> Result<IssuedChain, CredentialError> {
        let request = parse_request(request)?;
        let certificate = self.sign(&authority_params(grant)?, &request.public_key)?;
        Ok(self.issued(certificate))
    }

    /// A certificate for the key and the host names in a signing request (DER).
    pub fn sign_request(
        &self,
        request: &[u8],
        grant: &Grant,
    ) -> Result<IssuedChain, CredentialError> {
        let request = parse_request(request)?;
        let mut params = member_params(grant)?;
        params.subject_alt_names = request.params.subject_alt_names.clone();
        let certificate = self.sign(&params, &request.public_key)?;
        Ok(self.issued(certificate))
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, CredentialError> {
        let fail = |e: rcgen::Error| CredentialError::crypto("sign certificate", e);
        let own = self.credentials.certificate();
        let issuer = Issuer::from_ca_cert_der(own, &self.credentials.key).map_err(fail)?;
        Ok(params.signed_by(key, &issuer).map_err(fail)?.der().clone())
    }

    fn issued(&self, certificate: CertificateDer<'static>) -> IssuedChain {
        IssuedChain {
            certificate,
            authorities: self.chain(),
        }
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let own = std::iter::once(self.credentials.certificate().clone());
        own.chain(self.credentials.authorities().iter().cloned())
            .collect()
    }
}

/// An issued certificate, with those of the authorities above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedChain {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The issuer first, the root last.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// A new key and the request to have it certified.
pub struct KeyRequest {
    key: KeyPair,
    request: CertificateSigningRequestDer<'static>,
}

impl std::fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRequest")
    }
}

impl KeyRequest {
    /// Makes a key; `hosts` are the names and addresses under which its owner is reached.
    pub fn generate(subject: &Subject, hosts: &[String]) -> Result<Self, CredentialError> {
        let fail = |e: rcgen::Error| CredentialError::crypto("make signing request", e);
        let key = generate_key()?;
        let mut params = CertificateParams::new(hosts.to_vec()).map_err(fail)?;
        params.distinguished_name = distinguished_name(subject);
        let request = params.serialize_request(&key).map_err(fail)?;
        Ok(Self {
            key,
            request: request.der().clone(),
        })
    }

    /// The request, as DER, for an authority to sign.
    pub fn der(&self) -> &[u8] {
        &self.request
    }

    /// The request as PEM, the form in which it is sent.
    pub fn pem(&self) -> String {
        block_pem("CERTIFICATE REQUEST", &self.request)
    }

    /// The key with what the authority issued for it.
    pub fn into_credentials(self, issued: IssuedChain) -> Result<Credentials, CredentialError> {
        Credentials::new(self.key, issued.certificate, issued.authorities)
    }
}

fn generate_key() -> Result<KeyPair, CredentialError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|e| CredentialError::crypto("generate key", e))
}

fn parse_request(der: &[u8]) -> Result<CertificateSigningRequestParams, CredentialError> {
    // Also proves that whoever asks has the private key.
    CertificateSigningRequestParams::from_der(&der.into())
        .map_err(|e| CredentialError::crypto("read signing request", e))
}

fn authority_params(grant: &Grant) -> Result<CertificateParams, CredentialError> {
    let mut params = common_params(grant)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if grant.standing == Standing::Unproven {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(UNPROVEN_USE.to_vec())];
    }
    Ok(params)
}

fn member_params(grant: &Grant) -> Result<CertificateParams, CredentialError> {
    let mut params = common_params(grant)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match (grant.standing, grant.subject.role.is_server()) {
        (Standing::Unproven, _) => vec![ExtendedKeyUsagePurpose::Other(UNPROVEN_USE.to_vec())],
        (Standing::Proven, true) => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
        (Standing::Proven, false) => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    Ok(params)
}

fn common_params(grant: &Grant) -> Result<CertificateParams, CredentialError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&grant.subject);
    params.serial_number = Some(SerialNumber::from(grant.serial));
    params.use_authority_key_identifier_extension = true;
    let now = Duration::from_millis(grant.now_ms);
    params.not_before = moment(now.saturating_sub(CLOCK_SKEW))?;
    params.not_after = moment(now.saturating_add(grant.lifetime))?;
    Ok(params)
}

fn distinguished_name(subject: &Subject) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, subject.common_name());
    name.push(DnType::OrganizationalUnitName, subject.id.clone());
    name.push(DnType::OrganizationName, subject.cluster_id.clone());
    name
}

fn moment(since_1970: Duration) -> Result<OffsetDateTime, CredentialError> {
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|e| CredentialError::crypto("set validity", e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::chain::{serial, verify_chain};
    use crate::credentials::{Owner, from_pem, to_pem};
    use crate::identity::Role;

    pub(crate) const NOW: u64 = 1_790_000_000_000;
    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    pub(crate) fn grant(role: Role, serial: u64, now_ms: u64) -> Grant {
        Grant {
            subject: Subject {
                role,
                host: "localhost".to_owned(),
                id: format!("id-{serial}"),
                cluster_id: "CID-1".to_owned(),
            },
            serial,
            now_ms,
            lifetime: YEAR,
            standing: Standing::Proven,
        }
    }

    pub(crate) struct Cluster {
        pub(crate) root: CertificateAuthority,
        pub(crate) sub: CertificateAuthority,
    }

    impl Cluster {
        pub(crate) fn new(now_ms: u64) -> Self {
            let root = CertificateAuthority::create_root(&grant(Role::Scm, 1, now_ms)).unwrap();
            let sub = root.create_sub(&grant(Role::ScmSub, 2, now_ms)).unwrap();
            Self { root, sub }
        }

        pub(crate) fn issue(&self, role: Role, serial: u64, now_ms: u64) -> Credentials {
            self.issue_as(&grant(role, serial, now_ms))
        }

        pub(crate) fn issue_as(&self, grant: &Grant) -> Credentials {
            let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            let request = KeyRequest::generate(&grant.subject, &hosts).unwrap();
            let issued = self.sub.sign_request(request.der(), grant).unwrap();
            request.into_credentials(issued).unwrap()
        }
    }

    fn verify(
        credentials: &Credentials,
        cluster: &Cluster,
        now_ms: u64,
    ) -> Result<(), CredentialError> {
        let roots = [cluster.root.credentials().certificate().clone()];
        let above = credentials.authorities();
        verify_chain(credentials.certificate(), above, &roots, now_ms)
    }

    #[test]
    fn certificates_lead_to_the_root_and_say_whose_they_are() {
        let cluster = Cluster::new(NOW);
        let om = cluster.issue(Role::Om, 3, NOW);
        verify(&om, &cluster, NOW).unwrap();
        let subject = Subject::of_certificate(om.certificate()).unwrap();
        assert_eq!(subject, grant(Role::Om, 3, NOW).subject);
        assert_eq!(om.root(), cluster.root.credentials().certificate());
        assert_eq!(serial(om.certificate()).unwrap(), "3");
    }

    #[test]
    fn strangers_and_expired_certificates_are_not_trusted() {
        let (ours, theirs) = (Cluster::new(NOW), Cluster::new(NOW));
        let stranger = theirs.issue(Role::Om, 3, NOW);
        assert!(verify(&stranger, &ours, NOW).is_err());
        let om = ours.issue(Role::Om, 3, NOW);
        let year_ms = u64::try_from(YEAR.as_millis()).unwrap();
        assert!(verify(&om, &ours, NOW + year_ms + 1000).is_err());
        assert!(verify(&om, &ours, NOW - 600_000).is_err());
    }

    #[test]
    fn a_request_cannot_ask_for_the_powers_of_an_authority() {
        let cluster = Cluster::new(NOW);
        let key = generate_key().unwrap();
        let greedy = authority_params(&grant(Role::Scm, 9, NOW)).unwrap();
        let mut asked = CertificateParams::default();
        asked.is_ca = greedy.is_ca;
        asked.key_usages = greedy.key_usages.clone();
        let request = asked.serialize_request(&key).unwrap();
        let grant = grant(Role::Datanode, 9, NOW);
        let issued = cluster.sub.sign_request(request.der(), &grant).unwrap();
        let credentials = Credentials::new(key, issued.certificate, issued.authorities).unwrap();
        assert_eq!(
            Subject::of_certificate(credentials.certificate()),
            Some(grant.subject)
        );
        assert!(CertificateAuthority::from_credentials(credentials).is_err());
    }

    #[test]
    fn what_a_plain_server_signed_is_not_trusted() {
        let cluster = Cluster::new(NOW);
        let rogue = CertificateAuthority {
            credentials: cluster.issue(Role::Datanode, 4, NOW),
        };
        let request = KeyRequest::generate(&grant(Role::Om, 5, NOW).subject, &[]).unwrap();
        let issued = rogue
            .sign_request(request.der(), &grant(Role::Om, 5, NOW))
            .unwrap();
        let roots = [cluster.root.credentials().certificate().clone()];
        let outcome = verify_chain(&issued.certificate, &issued.authorities, &roots, NOW);
        assert!(matches!(outcome, Err(CredentialError::Untrusted { .. })));
    }

    #[test]
    fn files_lie_as_documented_and_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (root_dir, sub_dir) = (dir.path().join("ca"), dir.path().join("sub-ca"));
        let cluster = Cluster::new(NOW);
        cluster
            .root
            .credentials()
            .save(&root_dir, Owner::Root)
            .unwrap();
        cluster
            .sub
            .credentials()
            .save(&sub_dir, Owner::Other)
            .unwrap();
        assert!(root_dir.join("certs/certificate.crt").exists());
        assert!(sub_dir.join("certs/2.crt").exists());
        assert!(sub_dir.join("certs/CA-1.crt").exists());
        let private = sub_dir.join("keys/private.pem");
        let mode = std::fs::metadata(&private).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let public = std::fs::read_to_string(sub_dir.join("keys/public.pem")).unwrap();
        assert!(public.contains("PUBLIC KEY"));
        let loaded = Credentials::load(&sub_dir).unwrap().unwrap();
        let again = Cluster {
            root: CertificateAuthority::from_credentials(
                Credentials::load(&root_dir).unwrap().unwrap(),
            )
            .unwrap(),
            sub: CertificateAuthority::from_credentials(loaded).unwrap(),
        };
        verify(&again.issue(Role::Om, 3, NOW), &cluster, NOW).unwrap();
        assert!(
            Credentials::load(&dir.path().join("none"))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_crash_while_credentials_are_renewed_leaves_the_old_ones_or_the_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::new(NOW);
        let old = cluster.issue(Role::Om, 3, NOW);
        old.save(dir.path(), Owner::Other).unwrap();
        let key = std::fs::read(dir.path().join("keys/private.pem")).unwrap();
        let new = cluster.issue(Role::Om, 4, NOW + 1000);
        new.save(dir.path(), Owner::Other).unwrap();
        let loaded = || Credentials::load(dir.path()).unwrap().unwrap();
        assert_eq!(loaded().certificate(), new.certificate());
        assert!(!dir.path().join("certs/3.crt").exists(), "it is superseded");
        // All is written but the key.
        let certificate = to_pem(old.certificate());
        std::fs::write(dir.path().join("certs/3.crt"), certificate).unwrap();
        std::fs::write(dir.path().join("keys/private.pem"), key).unwrap();
        assert_eq!(loaded().certificate(), old.certificate());
        assert_eq!(loaded().lifetime().unwrap(), YEAR);
        // No certificate for the key at all.
        std::fs::remove_file(dir.path().join("certs/3.crt")).unwrap();
        let text = Credentials::load(dir.path()).unwrap_err().to_string();
        assert!(text.contains("private.pem"), "{text}");
    }

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let cluster = Cluster::new(NOW);
        let om = cluster.issue(Role::Om, 3, NOW);
        let key = generate_key().unwrap();
        let above = om.authorities().to_vec();
        assert!(Credentials::new(key, om.certificate().clone(), above).is_err());
    }

    #[test]
    fn pem_holds_the_certificate() {
        let cluster = Cluster::new(NOW);
        let certificate = cluster.root.credentials().certificate();
        assert_eq!(from_pem(&to_pem(certificate)).unwrap(), *certificate);
        assert!(from_pem("nonsense").is_err());
    }
}
