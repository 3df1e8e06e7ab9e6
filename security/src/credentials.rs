//! A process's private key and certificates, and how they lie on disk.
//!
//! ```text
//! <dir>/keys/private.pem      0600
//! <dir>/keys/public.pem
//! <dir>/certs/<serial>.crt    its own certificate; certificate.crt for the root authority
//! <dir>/certs/CA-<serial>.crt those of the authorities above it; the root's serial is 1
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::{Subject, name_text};

/// File name of the root authority's own certificate.
const ROOT_FILE: &str = "certificate.crt";
/// Start of the file names of authorities' certificates.
const AUTHORITY_PREFIX: &str = "CA-";
/// Longest chain from a certificate to its root.
const MAX_CHAIN: usize = 4;

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no key or certificate.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate, signing request or key that cannot be made or read.
    #[error("cannot {doing}: {reason}")]
    Crypto {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        reason: String,
    },
    /// A certificate that does not lead to a trusted root.
    #[error("certificate of {subject} is not trusted: {reason}")]
    Untrusted {
        /// Its subject.
        subject: String,
        /// Where the chain breaks.
        reason: String,
    },
}

impl CredentialError {
    pub(crate) fn crypto(doing: &'static str, reason: impl ToString) -> Self {
        Self::Crypto {
            doing,
            reason: reason.to_string(),
        }
    }
}

/// Whose credentials they are: decides the name of the own certificate's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The root authority.
    Root,
    /// Anyone else.
    Other,
}

/// A private key, its certificate, and the certificates of the authorities above, up to the root.
pub struct Credentials {
    pub(crate) key: KeyPair,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) authorities: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = Subject::of_certificate(&self.certificate);
        write!(f, "Credentials({subject:?})")
    }
}

impl Credentials {
    /// A key with the certificate issued for it and the authorities above that, in any order.
    pub fn new(
        key: KeyPair,
        certificate: CertificateDer<'static>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, CredentialError> {
        let fits = parse(&certificate)?.public_key().raw == key.subject_public_key_info();
        if !fits {
            return Err(CredentialError::crypto(
                "use certificate",
                "it was issued for another key",
            ));
        }
        let authorities = order_chain(&certificate, authorities)?;
        Ok(Self {
            key,
            certificate,
            authorities,
        })
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The authorities above it, the issuer first, the root last; empty for the root itself.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// The root: the last authority, or the certificate itself.
    pub fn root(&self) -> &CertificateDer<'static> {
        self.authorities.last().unwrap_or(&self.certificate)
    }

    /// The private key for TLS.
    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, CredentialError> {
        PrivateKeyDer::try_from(self.key.serialize_der())
            .map_err(|reason| CredentialError::crypto("use private key", reason))
    }

    /// Writes all under `dir`, durably. Blocks.
    pub fn save(&self, dir: &Path, owner: Owner) -> Result<(), CredentialError> {
        let (keys, certs) = (dir.join("keys"), dir.join("certs"));
        make_dir(&keys)?;
        make_dir(&certs)?;
        let private = self.key.serialize_pem();
        write_file(&keys, "private.pem", private.as_bytes(), 0o600)?;
        let public = self.key.public_key_pem();
        write_file(&keys, "public.pem", public.as_bytes(), 0o644)?;
        let own = match owner {
            Owner::Root => ROOT_FILE.to_owned(),
            Owner::Other => format!("{}.crt", serial(&self.certificate)?),
        };
        for authority in &self.authorities {
            let name = format!("{AUTHORITY_PREFIX}{}.crt", serial(authority)?);
            write_file(&certs, &name, to_pem(authority).as_bytes(), 0o644)?;
        }
        // The own certificate last: it is what makes the rest count.
        write_file(&certs, &own, to_pem(&self.certificate).as_bytes(), 0o644)
    }

    /// Reads what [`Self::save`] wrote; none if there is nothing. Of several own certificates the
    /// one that is valid longest counts. Blocks.
    pub fn load(dir: &Path) -> Result<Option<Self>, CredentialError> {
        let private = dir.join("keys/private.pem");
        let text = match fs::read_to_string(&private) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(CredentialError::Io {
                    path: private,
                    source,
                });
            }
        };
        let key = KeyPair::from_pem(&text).map_err(|error| CredentialError::Malformed {
            path: private,
            reason: error.to_string(),
        })?;
        let (own, authorities) = read_certificates(&dir.join("certs"))?;
        let mut newest: Option<(i64, CertificateDer<'static>)> = None;
        for certificate in own {
            let until = parse(&certificate)?.validity().not_after.timestamp();
            if newest.as_ref().is_none_or(|(best, _)| until > *best) {
                newest = Some((until, certificate));
            }
        }
        match newest {
            Some((_, certificate)) => Self::new(key, certificate, authorities).map(Some),
            None => Ok(None),
        }
    }
}

type Certificates = Vec<CertificateDer<'static>>;

/// Own certificates, then those of authorities.
fn read_certificates(dir: &Path) -> Result<(Certificates, Certificates), CredentialError> {
    let io = |source| CredentialError::Io {
        path: dir.to_owned(),
        source,
    };
    let (mut own, mut authorities) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| name.ends_with(".crt")) else {
            continue;
        };
        let text = fs::read(&path).map_err(|source| CredentialError::Io {
            path: path.clone(),
            source,
        })?;
        let certificate =
            CertificateDer::from_pem_slice(&text).map_err(|e| CredentialError::Malformed {
                path: path.clone(),
                reason: format!("no PEM certificate: {e}"),
            })?;
        match name.starts_with(AUTHORITY_PREFIX) {
            true => authorities.push(certificate),
            false => own.push(certificate),
        }
    }
    Ok((own, authorities))
}

/// A certificate as PEM.
pub fn to_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// A certificate from PEM.
pub fn from_pem(text: &str) -> Result<CertificateDer<'static>, CredentialError> {
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|error| CredentialError::crypto("read certificate", format!("{error:?}")))
}

/// Checks that `certificate` was issued, through `authorities` (in any order), by one of `roots`,
/// and that all of them are valid at `now_ms`.
pub fn verify_chain(
    certificate: &CertificateDer<'_>,
    authorities: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
    now_ms: u64,
) -> Result<(), CredentialError> {
    let mut current = certificate.clone().into_owned();
    for depth in 0..=MAX_CHAIN {
        let parsed = parse(&current)?;
        let untrusted = |reason: &str| CredentialError::Untrusted {
            subject: name_text(parsed.subject()),
            reason: reason.to_owned(),
        };
        let seconds = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        let validity = parsed.validity();
        if seconds < validity.not_before.timestamp() || seconds > validity.not_after.timestamp() {
            return Err(untrusted("it is not valid at this time"));
        }
        if depth > 0 && !parsed.is_ca() {
            return Err(untrusted("it issued another but is no authority"));
        }
        if roots.contains(&current) {
            return Ok(());
        }
        let above = authorities.iter().chain(roots);
        let issuer = above.into_iter().find(|issuer| issued(issuer, &parsed));
        let issuer = issuer
            .ok_or_else(|| untrusted("its issuer is unknown"))?
            .clone();
        if issuer == current {
            return Err(untrusted("it is no root of ours"));
        }
        current = issuer;
    }
    Err(CredentialError::Untrusted {
        subject: name_text(parse(&current)?.subject()),
        reason: "the chain is too long".to_owned(),
    })
}

/// Whether `issuer` signed `certificate`.
fn issued(issuer: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> bool {
    let Ok(issuer) = parse(issuer) else {
        return false;
    };
    issuer.subject() == certificate.issuer()
        && certificate
            .verify_signature(Some(issuer.public_key()))
            .is_ok()
}

/// The authorities from the issuer of `certificate` up to the root.
fn order_chain(
    certificate: &CertificateDer<'static>,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let mut chain = Vec::new();
    let mut current = certificate.clone();
    while chain.len() < MAX_CHAIN {
        let parsed = parse(&current)?;
        if parsed.subject() == parsed.issuer() {
            return Ok(chain);
        }
        let issuer = authorities.iter().find(|issuer| issued(issuer, &parsed));
        let issuer = issuer.ok_or_else(|| CredentialError::Untrusted {
            subject: name_text(parsed.subject()),
            reason: format!(
                "no certificate of its issuer {}",
                name_text(parsed.issuer())
            ),
        })?;
        chain.push(issuer.clone());
        current = issuer.clone();
    }
    Err(CredentialError::crypto("order chain", "it is too long"))
}

pub(crate) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CredentialError> {
    let parsed = X509Certificate::from_der(certificate);
    let (_, parsed) = parsed.map_err(|e| CredentialError::crypto("read certificate", e))?;
    Ok(parsed)
}

/// The serial number of a certificate, as text.
pub fn serial(certificate: &CertificateDer<'_>) -> Result<String, CredentialError> {
    Ok(parse(certificate)?.tbs_certificate.serial.to_string())
}

fn make_dir(dir: &Path) -> Result<(), CredentialError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| CredentialError::Io {
        path: dir.to_owned(),
        source,
    })
}

/// Writes a file with these permissions: whole and durable, or not at all.
fn write_file(dir: &Path, name: &str, content: &[u8], mode: u32) -> Result<(), CredentialError> {
    let (path, tmp) = (dir.join(name), dir.join(format!("{name}.tmp")));
    let written = (|| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        let mut file = options.open(&tmp)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&tmp, &path)?;
        File::open(dir)?.sync_all()
    })();
    written.map_err(|source| CredentialError::Io { path, source })
}
