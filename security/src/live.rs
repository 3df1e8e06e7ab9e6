//! The credentials that a process uses for its connections: renewed while it runs, without a
//! listener or a channel being made anew. Connections that are open stay as they are.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};

use crate::credentials::{CredentialError, Credentials};
use crate::tls::provider;

/// Credentials in use.
pub struct Live {
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    credentials: Arc<Credentials>,
    key: Arc<CertifiedKey>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({:?})", self.credentials())
    }
}

impl Live {
    /// Starts with these.
    pub fn new(credentials: Credentials) -> Result<Arc<Self>, CredentialError> {
        let current = RwLock::new(certified(credentials)?);
        Ok(Arc::new(Self { current }))
    }

    /// Uses these for all connections from now on. They must lead to the same root.
    pub fn replace(&self, credentials: Credentials) -> Result<(), CredentialError> {
        *self.current.write() = certified(credentials)?;
        Ok(())
    }

    /// What is in use.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.current.read().credentials.clone()
    }

    /// The root that everybody else has to lead to.
    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>, CredentialError> {
        let mut store = RootCertStore::empty();
        let added = store.add(self.credentials().root().clone());
        added.map_err(|e| CredentialError::crypto("trust root certificate", e))?;
        Ok(Arc::new(store))
    }

    fn key(&self) -> Arc<CertifiedKey> {
        self.current.read().key.clone()
    }
}

fn certified(credentials: Credentials) -> Result<Current, CredentialError> {
    let fail = |e: rustls::Error| CredentialError::crypto("use private key", e);
    let private = credentials.private_key()?;
    let signer = provider().key_provider.load_private_key(private);
    // Without the root, which the other end must know already.
    let above = credentials.authorities();
    let above = &above[..above.len().saturating_sub(1)];
    let chain = std::iter::once(credentials.certificate()).chain(above);
    let key = CertifiedKey::new(chain.cloned().collect(), signer.map_err(fail)?);
    Ok(Current {
        credentials: Arc::new(credentials),
        key: Arc::new(key),
    })
}

impl ResolvesServerCert for Live {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl ResolvesClientCert for Live {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
