//! What a certificate says of its owner.
//!
//! A subject is `CN=<role>@<host>, OU=<id of the server>, O=<cluster id>`: a listener can tell a
//! datanode from an OM, and a server of this cluster from one of another.

use std::fmt;
use std::str::FromStr;

use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// What sort of process a certificate was issued to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A Storage Container Manager.
    Scm,
    /// A Storage Container Manager in its capacity as an authority.
    ScmSub,
    /// An Ozone Manager.
    Om,
    /// A datanode.
    Datanode,
    /// A gateway, mount or command-line client; the id of its subject is a user.
    Client,
    /// Somebody who may have a server certified; the id of its subject says which kinds.
    Join,
}

impl Role {
    /// What a request for a certificate calls it.
    pub fn node_type(self) -> &'static str {
        match self {
            Self::Om => "OM",
            Self::Datanode => "DATANODE",
            Self::Scm | Self::ScmSub => "SCM",
            Self::Client => "CLIENT",
            Self::Join => "JOIN",
        }
    }

    /// What a node type of a request is certified as: an SCM as an authority.
    pub fn of_node_type(node_type: &str) -> Option<Self> {
        let all = [
            Self::Om,
            Self::Datanode,
            Self::ScmSub,
            Self::Client,
            Self::Join,
        ];
        all.into_iter().find(|role| role.node_type() == node_type)
    }

    /// Whether it answers calls, and does not only make them.
    pub fn is_server(self) -> bool {
        !matches!(self, Self::Client | Self::Join)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scm => "scm",
            Self::ScmSub => "scm-sub",
            Self::Om => "om",
            Self::Datanode => "dn",
            Self::Client => "client",
            Self::Join => "join",
        })
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "scm" => Ok(Self::Scm),
            "scm-sub" => Ok(Self::ScmSub),
            "om" => Ok(Self::Om),
            "dn" => Ok(Self::Datanode),
            "client" => Ok(Self::Client),
            "join" => Ok(Self::Join),
            _ => Err(()),
        }
    }
}

/// The owner of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What it is.
    pub role: Role,
    /// The host it runs on.
    pub host: String,
    /// Its id: the uuid of its VERSION file, or the user of a client.
    pub id: String,
    /// Its cluster.
    pub cluster_id: String,
}

impl Subject {
    /// The common name.
    pub fn common_name(&self) -> String {
        format!("{}@{}", self.role, self.host)
    }

    /// The owner of a certificate of this system, given as DER; none of any other.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let name = certificate.subject();
        let common_name = only(name.iter_common_name())?;
        let (role, host) = common_name.split_once('@')?;
        Some(Self {
            role: role.parse().ok()?,
            host: host.to_owned(),
            id: only(name.iter_organizational_unit())?,
            cluster_id: only(name.iter_organization())?,
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, id, cluster) = (self.common_name(), &self.id, &self.cluster_id);
        write!(f, "CN={name},OU={id},O={cluster}")
    }
}

/// The text of an attribute that a name has exactly once.
fn only<'a>(
    mut values: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> Option<String> {
    let value = values.next()?.as_str().ok()?.to_owned();
    values.next().is_none().then_some(value)
}

/// A name as text, for messages.
pub(crate) fn name_text(name: &X509Name<'_>) -> String {
    name.to_string()
}
