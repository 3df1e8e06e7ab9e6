//! A process's private key and certificates, and how they lie on disk.
//!
//! ```text
//! <dir>/keys/private.pem      0600
//! <dir>/keys/public.pem
//! <dir>/certs/<serial>.crt    its own certificate; certificate.crt for the root authority
//! <dir>/certs/CA-<serial>.crt those of the authorities above it; the root's serial is 1
//! ```
//!
//! The private key is written last, in one step: of several own certificates the one that was issued
//! for it counts, so that a crash while they are renewed leaves the old ones or the new ones. What is
//! handed to a person or to another machine is one file instead, a *bundle*: key, certificate and the
//! authorities above, as PEM.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::ca::{CLOCK_SKEW, Standing, UNPROVEN_USE};
use crate::chain::{order_chain, parse, serial};
use crate::identity::Subject;

/// File name of the root authority's own certificate.
const ROOT_FILE: &str = "certificate.crt";
/// Start of the file names of authorities' certificates.
const AUTHORITY_PREFIX: &str = "CA-";

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
        if !issued_for(&certificate, &key)? {
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

    /// When the certificate ends; milliseconds since 1970.
    pub fn expires_ms(&self) -> Result<u64, CredentialError> {
        let seconds = parse(&self.certificate)?.validity().not_after.timestamp();
        Ok(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
    }

    /// How long the certificate was issued for.
    pub fn lifetime(&self) -> Result<Duration, CredentialError> {
        let certificate = parse(&self.certificate)?;
        let validity = certificate.validity();
        let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Ok(Duration::from_secs(seconds).saturating_sub(CLOCK_SKEW))
    }

    /// What the certificate is worth.
    pub fn standing(&self) -> Result<Standing, CredentialError> {
        let certificate = parse(&self.certificate)?;
        let uses = certificate.extended_key_usage();
        let uses = uses.map_err(|e| CredentialError::crypto("read certificate", e))?;
        let marked = uses.is_some_and(|uses| {
            let text: Vec<_> = UNPROVEN_USE.iter().map(u64::to_string).collect();
            let marker = text.join(".");
            uses.value
                .other
                .iter()
                .any(|oid| oid.to_id_string() == marker)
        });
        Ok(if marked {
            Standing::Unproven
        } else {
            Standing::Proven
        })
    }

    /// Key, certificate and authorities as one PEM text.
    pub fn to_bundle(&self) -> String {
        let chain = std::iter::once(&self.certificate).chain(&self.authorities);
        let certificates: String = chain.map(to_pem).collect();
        self.key.serialize_pem() + &certificates
    }

    /// What [`Self::to_bundle`] gave, read from a file. Blocks.
    pub fn load_bundle(path: &Path) -> Result<Self, CredentialError> {
        let malformed = |reason: String| CredentialError::Malformed {
            path: path.to_owned(),
            reason,
        };
        let text = fs::read_to_string(path).map_err(|source| CredentialError::Io {
            path: path.to_owned(),
            source,
        })?;
        let key = KeyPair::from_pem(&text).map_err(|e| malformed(format!("private key: {e}")))?;
        let mut certificates = Vec::new();
        for found in CertificateDer::pem_slice_iter(text.as_bytes()) {
            certificates.push(found.map_err(|e| malformed(format!("certificate: {e}")))?);
        }
        if certificates.is_empty() {
            return Err(malformed("it holds no certificate".to_owned()));
        }
        let own = certificates.remove(0);
        Self::new(key, own, certificates).map_err(|error| malformed(error.to_string()))
    }

    /// Writes a bundle that its owner alone may read, whole and durable. Blocks.
    pub fn save_bundle(&self, path: &Path) -> Result<(), CredentialError> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| CredentialError::Malformed {
            path: path.to_owned(),
            reason: "this is not the name of a file".to_owned(),
        })?;
        write_file(dir, name, self.to_bundle().as_bytes(), 0o600)
    }

    /// Writes all under `dir`, durably, and removes own certificates of earlier keys. Blocks.
    pub fn save(&self, dir: &Path, owner: Owner) -> Result<(), CredentialError> {
        let (keys, certs) = (dir.join("keys"), dir.join("certs"));
        make_dir(&keys)?;
        make_dir(&certs)?;
        for authority in &self.authorities {
            let name = format!("{AUTHORITY_PREFIX}{}.crt", serial(authority)?);
            write_file(&certs, &name, to_pem(authority).as_bytes(), 0o644)?;
        }
        let own = match owner {
            Owner::Root => ROOT_FILE.to_owned(),
            Owner::Other => format!("{}.crt", serial(&self.certificate)?),
        };
        write_file(&certs, &own, to_pem(&self.certificate).as_bytes(), 0o644)?;
        let public = self.key.public_key_pem();
        write_file(&keys, "public.pem", public.as_bytes(), 0o644)?;
        // The private key last: it decides which certificate counts.
        let private = self.key.serialize_pem();
        write_file(&keys, "private.pem", private.as_bytes(), 0o600)?;
        self.remove_superseded(&certs)
    }

    fn remove_superseded(&self, certs: &Path) -> Result<(), CredentialError> {
        let (own, _) = read_certificates(certs)?;
        for (path, certificate) in own {
            if !issued_for(&certificate, &self.key)? {
                fs::remove_file(&path).map_err(|source| CredentialError::Io { path, source })?;
            }
        }
        Ok(())
    }

    /// Reads what [`Self::save`] wrote; none if there is nothing. Of several own certificates that
    /// fit the key the one that is valid longest counts. Blocks.
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
            path: private.clone(),
            reason: error.to_string(),
        })?;
        let (own, authorities) = read_certificates(&dir.join("certs"))?;
        let mut newest: Option<(i64, CertificateDer<'static>)> = None;
        for (_, certificate) in own {
            let until = parse(&certificate)?.validity().not_after.timestamp();
            let newer = newest.as_ref().is_none_or(|(best, _)| until > *best);
            if newer && issued_for(&certificate, &key)? {
                newest = Some((until, certificate));
            }
        }
        let Some((_, certificate)) = newest else {
            return Err(CredentialError::Malformed {
                path: private,
                reason: "no certificate beside it was issued for this key: remove both, and a new \
                         certificate is asked for"
                    .to_owned(),
            });
        };
        let authorities = authorities.into_iter().map(|(_, found)| found).collect();
        Self::new(key, certificate, authorities).map(Some)
    }
}

/// Whether the certificate is one for this key.
fn issued_for(certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<bool, CredentialError> {
    Ok(parse(certificate)?.public_key().raw == key.subject_public_key_info())
}

type Certificates = Vec<(PathBuf, CertificateDer<'static>)>;

/// Own certificates, then those of authorities, with their files.
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
            true => authorities.push((path.clone(), certificate)),
            false => own.push((path.clone(), certificate)),
        }
    }
    Ok((own, authorities))
}

/// A certificate as PEM.
pub fn to_pem(certificate: &CertificateDer<'_>) -> String {
    block_pem("CERTIFICATE", certificate)
}

/// Bytes as PEM.
pub(crate) fn block_pem(label: &str, content: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(content);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let body = lines.join("\n");
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// A certificate from PEM.
pub fn from_pem(text: &str) -> Result<CertificateDer<'static>, CredentialError> {
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|error| CredentialError::crypto("read certificate", format!("{error:?}")))
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
