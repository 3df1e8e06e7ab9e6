//! Certificates that an operator asks for on an SCM's host: for users, and for servers to come.
//!
//! Whoever can read the authority's key may ask for anybody; the running SCM signs all the same, so
//! that the certificate is numbered and on record.

use std::sync::Arc;

use ozone_kv::blocking;
use ozone_security::credentials::Credentials;
use ozone_security::settings::{SecuritySettings, machine_name};
use ozone_security::signer::{Signer, Wanted};
use ozone_security::tls::client_config;
use ozone_rpc::channel::ClientIdentity;
use ozone_security::live::Live;

use crate::authority::{Authority, Terms};
use crate::error::StartError;
use crate::layout::Layout;
use crate::members::Members;
use crate::server::ScmOptions;
use crate::transport::OwnCertificate;

/// Has the running SCM of this configuration certify somebody.
pub async fn issue(options: &ScmOptions, wanted: &Wanted) -> Result<Credentials, StartError> {
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
