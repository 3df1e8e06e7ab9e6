//! Certificates that an operator asks for on an SCM's host: for users, and for servers to come.
//!
//! Whoever can read the authority's key may ask for anybody; the running SCM signs all the same, so
//! that the certificate is numbered and on record.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ozone_kv::blocking;
use ozone_rpc::channel::ClientIdentity;
use ozone_security::credentials::Credentials;
use ozone_security::identity::Role;
use ozone_security::live::Live;
use ozone_security::settings::{SecuritySettings, machine_name};
use ozone_security::signer::{Signer, Wanted};
use ozone_security::tls::client_config;

use crate::authority::{Authority, Terms};
use crate::error::StartError;
use crate::layout::Layout;
use crate::members::Members;
use crate::server::ScmOptions;
use crate::transport::OwnCertificate;

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFor {
    /// A user of the cluster.
    User(String),
    /// Servers that are to join, by node type: `OM`, `DATANODE`, `SCM`.
    Servers(Vec<String>),
}

/// Has the running SCM of this configuration certify somebody, for at most `valid`, and writes the
/// bundle to `file`.
pub async fn issue(
    options: &ScmOptions,
    whom: CertificateFor,
    valid: Option<Duration>,
    file: &Path,
) -> Result<(), StartError> {
    let (role, id) = match whom {
        CertificateFor::User(user) => (Role::Client, user),
        CertificateFor::Servers(kinds) => (Role::Join, kinds.join(",")),
    };
    let wanted = Wanted {
        role,
        id,
        hosts: vec![machine_name()],
        valid,
    };
    let issued = sign(options, &wanted).await?;
    let file = file.to_owned();
    let saved = blocking(move || issued.save_bundle(&file)).await;
    let saved = saved.map_err(|e| StartError::Tls(e.to_string()))?;
    saved.map_err(|e| StartError::Tls(e.to_string()))
}

async fn sign(options: &ScmOptions, wanted: &Wanted) -> Result<Credentials, StartError> {
    let tls = |error: String| StartError::Tls(error);
    let settings = SecuritySettings::from_config(&options.config)?;
    if !settings.tls {
        let text = "security is off (ozone.security.enabled): nobody needs a certificate";
        return Err(tls(text.to_owned()));
    }
    let reading = options.clone();
    let live = blocking(move || own(&reading)).await;
    let live = live.map_err(|e| tls(e.to_string()))??;
    let identity = ClientIdentity::Tls(client_config(&live).map_err(|e| tls(e.to_string()))?);
    let signer = Signer {
        scm: settings.scm,
        net: options.net.clone(),
        clock: options.clock.clone(),
        rng: options.rng.clone(),
    };
    let signed = signer.sign(wanted, identity).await;
    signed.map_err(|error| tls(error.to_string()))
}

/// Credentials of this SCM, with which it asks itself.
fn own(options: &ScmOptions) -> Result<Arc<Live>, StartError> {
    let layout = Layout::new(&options.config, &Members::find(&options.config)?)?;
    let identity = layout.identity(options.disk.as_ref())?;
    let authority = Authority::load(&layout.authority, Terms::from_config(&options.config)?)?;
    let own = OwnCertificate {
        hosts: vec![machine_name()],
        clock: options.clock.clone(),
        rng: options.rng.clone(),
    };
    own.live(authority.as_ref(), &identity)
}
