//! Which certificates lead to which root.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::credentials::CredentialError;
use crate::identity::name_text;

/// Longest chain from a certificate to its root.
const MAX_CHAIN: usize = 4;

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
pub(crate) fn order_chain(
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
