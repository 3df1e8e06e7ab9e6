//! When two ends do not trust each other: said at once and in words, instead of as a connection that
//! breaks again and again.

use std::error::Error;
use std::io;

use rustls::CertificateError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Status;

/// What a TLS listener tells a caller that speaks plaintext HTTP/2.
const SPEAK_TLS: &str =
    "this server speaks TLS alone: set ozone.security.enabled=true on this side as well";
/// HTTP/2's code for that.
const INADEQUATE_SECURITY: u32 = 0xc;

/// A server that was reached, and with which no trust came about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no trust between this side and {address}: {reason}")]
pub struct TrustError {
    /// The server.
    pub address: String,
    /// What is wrong, and with which side.
    pub reason: String,
}

impl TrustError {
    /// What a failed handshake with `address` means; an I/O error that is none stays as it is.
    pub(crate) fn of_handshake(address: &str, error: io::Error) -> io::Error {
        let tls = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        let Some(tls) = tls else {
            return error;
        };
        let what = match tls {
            // A root of the same name with another key is another root.
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => "its certificate does not lead to the root certificate that this side trusts",
            rustls::Error::InvalidCertificate(_) => "its certificate is not accepted",
            rustls::Error::AlertReceived(_) => "it does not accept this side's certificate",
            rustls::Error::InvalidMessage(_) => {
                "it does not speak TLS: security is on here (ozone.security.enabled) and not there"
            }
            _ => "TLS failed",
        };
        let reason = format!("{what} ({tls})");
        let address = address.to_owned();
        io::Error::new(error.kind(), Self { address, reason })
    }

    /// The one behind a failed call, if there is one.
    pub fn of_status(status: &Status) -> Option<&Self> {
        let mut cause = status.source();
        while let Some(error) = cause {
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            let inner: Option<&Self> = inner.and_then(|inner| inner.downcast_ref());
            if inner.is_some() {
                return inner;
            }
            cause = error.source();
        }
        None
    }
}

/// Whether the other end refused to talk to this one, so that asking it again is of no use.
pub(crate) fn is_refused(status: &Status) -> bool {
    TrustError::of_status(status).is_some() || is_turned_away(status)
}

/// Whether a TLS listener has told this side to speak TLS.
fn is_turned_away(status: &Status) -> bool {
    deepest(status).is_some_and(|cause| cause.contains(SPEAK_TLS))
}

/// What is behind all causes of a failed call.
fn deepest(status: &Status) -> Option<String> {
    let mut last = None;
    let mut cause = status.source();
    while let Some(error) = cause {
        last = Some(error);
        cause = error.source();
    }
    last.map(ToString::to_string)
}

/// A failed call in words: what its status hides in its causes as well.
pub fn describe(status: &Status) -> String {
    if let Some(trust) = TrustError::of_status(status) {
        return trust.to_string();
    }
    match deepest(status) {
        Some(_) if is_turned_away(status) => SPEAK_TLS.to_owned(),
        Some(cause) if !status.message().contains(&cause) => {
            format!("{}: {cause}", status.message())
        }
        _ => status.message().to_owned(),
    }
}

/// Tells a caller that began with something else than TLS what is wrong, in HTTP/2, and waits until
/// it has gone, so that the words are not lost with the connection.
pub(crate) async fn turn_away(mut stream: ozone_common::net::BoxStream) -> io::Result<()> {
    let text = SPEAK_TLS.as_bytes();
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u32::try_from(8 + text.len()).unwrap_or(8).to_be_bytes();
    frames.extend_from_slice(&length[1..]);
    frames.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    frames.extend_from_slice(&INADEQUATE_SECURITY.to_be_bytes());
    frames.extend_from_slice(text);
    stream.write_all(&frames).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
