//! What the configuration says of identity and encryption, read in one place for all processes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ozone_common::config::{Config, ConfigError, HostPort, scm_addresses};
use ozone_rpc::channel::ClientIdentity;

use crate::credentials::{CredentialError, Credentials};
use crate::live::Live;
use crate::tls::client_config;

/// The bundle that proves who a client is.
pub const CLIENT_FILE: &str = "ozone.security.client.certificate.file";
/// The bundle with which a server asks for its first certificate.
pub const JOIN_FILE: &str = "ozone.security.join.certificate.file";

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct SecuritySettings {
    /// Whether connections are mutual TLS.
    pub tls: bool,
    /// How long before its end a certificate is renewed.
    pub renew_grace: Duration,
    /// The bundle with which the first certificate is asked for.
    pub join: Option<PathBuf>,
    /// `host:port` of SCM's security service, each of them.
    pub scm: Vec<String>,
}

impl SecuritySettings {
    /// Reads the configuration.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            tls: tls_wanted(config)?,
            renew_grace: config.get_duration("hdds.x509.renew.grace.duration")?,
            join: file(config, JOIN_FILE),
            scm: scm_addresses(config, "ozone.scm.security.service.address")?,
        })
    }
}

/// Whether connections are mutual TLS: security is on, and encryption not switched off.
pub fn tls_wanted(config: &Config) -> Result<bool, ConfigError> {
    Ok(config.get_bool("ozone.security.enabled")? && config.get_bool("hdds.grpc.tls.enabled")?)
}

/// Why a client has no identity.
#[derive(Debug, thiserror::Error)]
pub enum ClientIdentityError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Security is on and nothing says who this is.
    #[error(
        "security is on (ozone.security.enabled) and {CLIENT_FILE} is not set: set it to the file \
         that `ozone admin cert client` made for you on an SCM's host"
    )]
    Missing,
    /// The file is no good.
    #[error("{CLIENT_FILE}: {0}")]
    Credentials(#[from] CredentialError),
}

/// Who a client is, and whom it trusts, as the configuration says. Blocks.
pub fn client_identity(config: &Config) -> Result<ClientIdentity, ClientIdentityError> {
    if !tls_wanted(config)? {
        return Ok(ClientIdentity::Plaintext);
    }
    let path = file(config, CLIENT_FILE).ok_or(ClientIdentityError::Missing)?;
    let live = Live::new(Credentials::load_bundle(&path)?)?;
    Ok(ClientIdentity::Tls(client_config(&live)?))
}

fn file(config: &Config, key: &str) -> Option<PathBuf> {
    let path = config.get(key).filter(|path| !path.is_empty());
    path.map(PathBuf::from)
}

/// The names and addresses that a server is reached under when it listens on these: certificates
/// are for them. Asks the resolver: blocks.
pub fn host_names<'a>(listeners: impl IntoIterator<Item = &'a HostPort>) -> Vec<String> {
    let mut hosts = BTreeSet::new();
    for listener in listeners {
        match listener.resolve() {
            Ok(address) if address.ip().is_unspecified() => {
                hosts.insert(machine_name());
            }
            Ok(address) => {
                hosts.insert(listener.host.clone());
                hosts.insert(address.ip().to_string());
            }
            Err(_) => {
                hosts.insert(listener.host.clone());
            }
        }
    }
    hosts.into_iter().filter(|host| !host.is_empty()).collect()
}

/// The name of this machine.
pub fn machine_name() -> String {
    let name = nix::unistd::gethostname().ok();
    name.and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::ca::tests::{Cluster, NOW};
    use crate::identity::Role;

    #[test]
    fn a_client_is_told_what_is_missing_and_which_file_is_no_good() {
        let plain = client_identity(&Config::default()).unwrap();
        assert!(matches!(plain, ClientIdentity::Plaintext));
        let secure = Config::from_pairs([("ozone.security.enabled", "true")]).unwrap();
        let text = client_identity(&secure).unwrap_err().to_string();
        assert!(
            text.contains(CLIENT_FILE) && text.contains("ozone admin cert"),
            "{text}"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("me.pem");
        let named = secure
            .with([(CLIENT_FILE, path.to_str().unwrap())])
            .unwrap();
        std::fs::write(&path, "nonsense").unwrap();
        let text = client_identity(&named).unwrap_err().to_string();
        assert!(text.contains("me.pem"), "{text}");
        let me = Cluster::new(NOW).issue(Role::Client, 3, NOW);
        me.save_bundle(&path).unwrap();
        assert!(matches!(
            client_identity(&named).unwrap(),
            ClientIdentity::Tls(_)
        ));
        assert_eq!(
            Credentials::load_bundle(&path).unwrap().certificate(),
            me.certificate()
        );
        let unencrypted = named.with([("hdds.grpc.tls.enabled", "false")]).unwrap();
        assert!(matches!(
            client_identity(&unencrypted).unwrap(),
            ClientIdentity::Plaintext
        ));
    }

    #[test]
    fn certificates_are_for_names_and_addresses_under_which_a_server_is_reached() {
        let hosts = |text: &str| host_names([&HostPort::parse_with(text, 1).unwrap()]);
        assert_eq!(hosts("127.0.0.1"), ["127.0.0.1"]);
        assert_eq!(hosts("0.0.0.0"), [machine_name()]);
        assert!(hosts("localhost").contains(&"localhost".to_owned()));
    }
}
